//! Takes requests from senders: each is on disk before its sender is told 2xx, and before anybody else hears of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use tokio::time::timeout;

use super::answers::{kept, report, try_again};
use super::{Mode, News, Parts, WhenOffline};
use crate::model::{ChannelId, Request};
use crate::serve::{Arrived, Body, NoBody, ReadBody, discard};
use crate::store::relay::{Call, Found, Message, MessageId};
use crate::tunnel;

/// How long a sender waits for the handler's answer: those of Meeting BaaS give up after 30 seconds.
const ANSWER_TIME: Duration = Duration::from_secs(25);

/// The channel that a request is for, and its path there.
pub fn address(uri: &Uri) -> Option<(ChannelId, String)> {
    let rest = uri.path().strip_prefix("/in/")?;
    let (channel, path) = rest.split_once('/').unwrap_or((rest, ""));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some((channel.parse().ok()?, format!("/{path}{query}")))
}

/// Takes one request for a channel; the answer is for its sender.
pub async fn take(relay: &Parts, channel: ChannelId, path: String, arrived: Arrived) -> Response<Body> {
    let Arrived { request, mut headers } = arrived;
    let (parts, mut body) = request.into_parts();
    if !matches!(parts.method, Method::POST | Method::PUT) {
        let mut response =
            report(StatusCode::METHOD_NOT_ALLOWED, "method", "a webhook is sent with POST or PUT");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT"));
        return response;
    }
    let Found::Open { owned, waiting, .. } = relay.store.find(channel).await else {
        return report(StatusCode::NOT_FOUND, "unknown", "there is nothing here");
    };
    let settings = &relay.settings;
    if !owned && settings.when_offline == WhenOffline::Reject {
        return try_again(30, "offline", "nobody takes what comes for this channel at the moment");
    }
    let (messages, bytes) = settings.most_waiting;
    if waiting.messages >= messages || waiting.bytes >= bytes {
        return try_again(30, "full", "as much waits in this channel as may wait");
    }
    let body = match relay.bodies.read(&mut body).await {
        Ok(ReadBody { is_complete: false, .. }) => {
            return report(StatusCode::BAD_REQUEST, "body", "the body ended before it was complete");
        }
        Ok(body) => body,
        Err(refusal) => {
            // Whoever asks first is told before it sends anything.
            if refusal == NoBody::TooLarge && headers.get("expect").is_none() {
                discard(body).await;
            }
            return refused(refusal, relay.bodies.limit());
        }
    };
    headers.drop_hop_by_hop();
    headers.retain(|name, _| !tunnel::is_ours(name));
    let request = Request {
        method: parts.method.to_string(),
        path,
        headers,
        body: body.bytes,
        trailers: body.trailers,
    };
    let id = MessageId::new(&relay.clock);
    let message = Arc::new(Message { id, arrived_at: relay.clock.now(), request });
    // Before it is put: its answer may come at once.
    let call = (settings.mode == Mode::Sync && owned).then(|| relay.store.call(id));
    if let Err(error) = relay.store.put(channel, message).await {
        relay.tell(News::Trouble(error));
        return try_again(5, "store", "it cannot be kept at the moment");
    }
    let Some(Call { answer, hang_up: _until_the_end }) = call else {
        return kept(if owned {
            "it is handed over now"
        } else {
            "it is handed over as soon as somebody takes it"
        });
    };
    let answer = tokio::select! {
        answer = timeout(ANSWER_TIME, answer) => answer,
        () = relay.stop.cancelled() => return kept("the relay stops; it is handed over later"),
    };
    match answer {
        Ok(Ok(answer)) => answer,
        _ => kept("the handler has not answered yet"),
    }
}

fn refused(refusal: NoBody, limit: usize) -> Response<Body> {
    match refusal {
        NoBody::TooLarge => {
            let message = format!("a body has at most {limit} bytes here");
            report(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message)
        }
        NoBody::TooSlow => report(StatusCode::REQUEST_TIMEOUT, "body", "the body came too slowly"),
        NoBody::Crowded => try_again(5, "crowded", "there is no room for so many large bodies at a time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_the_part_behind_in_and_nothing_but_a_channel_is_one() {
        let id = "00112233445566778899aabbccddeeff";
        let of =
            |path: &str| address(&path.parse().unwrap()).map(|(channel, path)| (channel.to_string(), path));
        for (rest, path) in [
            ("", "/"),
            ("/", "/"),
            ("?a=1", "/?a=1"),
            ("/hooks/x?y=%20", "/hooks/x?y=%20"),
            ("//evil.example/", "//evil.example/"),
            ("/../x", "/../x"),
        ] {
            assert_eq!(of(&format!("/in/{id}{rest}")), Some((id.to_owned(), path.to_owned())));
        }
        let hostile =
            ["/in/", "/in/..", "/in//x", "/in/*", "/in/%00", "/IN/x", "/", "/in", "/in/0011", "/in/$JS.API"];
        for path in hostile {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(of(&format!("/in/{}", id.to_uppercase())), None);
        assert_eq!(of(&format!("/in/{id}0")), None);
        println!("inputs={} violations=0", hostile.len() + 8);
    }
}
