//! Opens a tunnel: connects to the relay, proves who we are, and learns which channel is ours.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Uri};
use jiff::Timestamp;
use tokio::time::timeout;

use super::{RelayUrl, Settings};
use crate::forward::{self, Connection};
use crate::model::{ChannelId, Clock, FailureKind, Printable};
use crate::tunnel::{CHANNEL, Clocks, HAS, LISTEN_TOKEN, PUBLIC_URL, WAITING, compare_clocks};
use crate::websocket::{self, ByteStream};

/// How long connecting may take, and the relay's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of an answer that says no is shown.
const SHOWN: usize = 200;

/// A tunnel that is open.
pub struct Opened {
    /// What is read from it and written to it.
    pub stream: ByteStream<Connection>,
    /// The channel that is ours.
    pub channel: ChannelId,
    /// The URL that senders reach it by.
    pub public: String,
    /// How many deliveries wait at the relay.
    pub waiting: u64,
    /// What the relay's clock shows, where it is not the time.
    pub other_time: Option<Timestamp>,
}

/// Why a tunnel is not open.
#[derive(Debug)]
pub enum NotOpened {
    /// It may be in a moment.
    NotNow(String),
    /// Nobody takes connections there; it may be as soon as somebody does.
    Away(String),
    /// It will not be, unless somebody changes something.
    Never(Unusable),
}

/// A relay that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unusable {
    message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// Opens a tunnel; `has` is the highest number that is recorded of our channel.
pub async fn open(settings: &Settings, clock: &Clock, has: i64) -> Result<Opened, NotOpened> {
    let relay = &settings.relay;
    let connected = timeout(PATIENCE, forward::connect(relay.target())).await;
    let connection = match connected {
        Err(_elapsed) => return Err(NotOpened::Away(format!("no connection to {relay} within 10 s"))),
        Ok(Err(failure)) if failure.kind == FailureKind::Tls => {
            // It says what to do as well.
            return Err(NotOpened::Never(Unusable { message: failure.detail, hint: "" }));
        }
        Ok(Err(failure)) => return Err(NotOpened::Away(failure.detail)),
        Ok(Ok(connection)) => connection,
    };
    let url: Uri = relay.tunnel().unwrap_or_default();
    let opened = timeout(PATIENCE, websocket::open(connection, &url, head(settings, has))).await;
    match opened {
        Err(_elapsed) => Err(NotOpened::NotNow(format!("{relay} does not answer"))),
        Ok(Err(error)) => Err(refused(relay, error)),
        Ok(Ok((stream, answer))) => {
            let text = |name: &HeaderName| answer.get(name).and_then(|value| value.to_str().ok());
            let channel = text(&CHANNEL).and_then(|text| text.parse().ok());
            let public = text(&PUBLIC_URL).filter(|public| public.parse::<Uri>().is_ok());
            let (Some(channel), Some(public)) = (channel, public) else {
                return Err(NotOpened::Never(no_relay(relay, "it does not say which channel is ours")));
            };
            let waiting = text(&WAITING).and_then(|text| text.parse().ok()).unwrap_or_default();
            let other_time = match compare_clocks(&answer, clock.now()) {
                Some(Clocks::Differ(theirs)) => Some(theirs),
                Some(Clocks::Agree) | None => None,
            };
            Ok(Opened { stream, channel, public: public.to_owned(), waiting, other_time })
        }
    }
}

pub(super) fn head(settings: &Settings, has: i64) -> HeaderMap {
    let mut head = HeaderMap::new();
    let mut put = |name: HeaderName, text: &str| {
        // What cannot stand in a field was refused before.
        if let Ok(mut value) = HeaderValue::from_str(text) {
            value.set_sensitive(true);
            head.insert(name, value);
        }
    };
    put(LISTEN_TOKEN, settings.token.expose());
    put(HAS, &has.to_string());
    if let Some(access) = &settings.access {
        put(AUTHORIZATION, &format!("Bearer {}", access.expose()));
    }
    head
}

fn refused(relay: &RelayUrl, error: websocket::NotOpened) -> NotOpened {
    match error {
        websocket::NotOpened::Refused(answer) => said_no(relay, &answer),
        websocket::NotOpened::OtherProtocol => {
            NotOpened::Never(no_relay(relay, "it opens a WebSocket for something else"))
        }
        nonsense @ websocket::NotOpened::Nonsense(_) => {
            NotOpened::Never(no_relay(relay, &nonsense.to_string()))
        }
        broken @ websocket::NotOpened::Broken(_) => NotOpened::NotNow(format!("{relay}: {broken}")),
    }
}

/// What a status other than 101 means.
pub(super) fn said_no(relay: &RelayUrl, answer: &Response<Vec<u8>>) -> NotOpened {
    let status = answer.status();
    let message = serde_json::from_slice::<serde_json::Value>(answer.body());
    let message = message.ok().and_then(|body| Some(body.get("message")?.as_str()?.to_owned()));
    let message =
        message.map(|message| format!(": {}", Printable::text(&message).cut(SHOWN))).unwrap_or_default();
    match status {
        StatusCode::UNAUTHORIZED => NotOpened::Never(Unusable {
            message: format!("{relay} does not let this listen in{message}"),
            hint: "give the relay's access token with `--access-token T` or MBAAS_DEV_ACCESS_TOKEN; whoever runs \
                   the relay has it",
        }),
        StatusCode::FORBIDDEN => NotOpened::Never(Unusable {
            message: format!("{relay} gives this listen no channel{message}"),
            hint: "ask whoever runs the relay",
        }),
        StatusCode::GONE => NotOpened::Never(Unusable {
            message: format!("{relay} gives this listen no channel{message}"),
            hint: "`mbaas-dev relay release URL` has this project forget it: the next listen gets another URL",
        }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            NotOpened::NotNow(format!("{relay} answered {status}{message}"))
        }
        status if status.is_server_error() => {
            NotOpened::NotNow(format!("{relay} answered {status}{message}"))
        }
        status => NotOpened::Never(no_relay(relay, &format!("it answered {status}{message}"))),
    }
}

fn no_relay(relay: &RelayUrl, why: &str) -> Unusable {
    Unusable {
        message: format!("{relay} is no relay that can be used: {why}"),
        hint: "`--tunnel` takes the URL that `mbaas-dev relay` shows when it starts",
    }
}
