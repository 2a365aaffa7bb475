//! The handler of `demo`: what a developer would write first, verifying every webhook before it is believed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::contract::{WireNames, recognise};
use crate::model::{Clock, Target, Verdict};
use crate::serve::{Arrived, Body, Listener};
use crate::signature::{Claim, Keyring};

/// The path of the handler, as on the Webhooks API page.
const PATH: &str = "/webhooks/meetingbaas";

/// Where a completed meeting has the URL of its recording, which this handler would fetch.
pub const RECORDING: &str = "data.mp4";

/// The largest body that it takes, in bytes.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// A handler that is bound to a free port.
pub struct DemoHandler {
    listener: Listener,
    verifier: Verifier,
}

/// What it believes: what is signed as its contract has it.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The secrets.
    pub keys: Keyring,
    /// The event type behind each wire event.
    pub names: WireNames,
    /// The time, beside which signatures may be too old.
    pub clock: Clock,
}

impl DemoHandler {
    /// Binds a free port of this machine.
    pub async fn bind(verifier: Verifier) -> io::Result<Self> {
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        Ok(Self { listener, verifier })
    }

    /// Where its webhooks go.
    pub fn target(&self) -> Target {
        let url = format!("http://{}{PATH}", self.listener.address());
        url.parse().expect("an address and a plain path are a target")
    }

    /// Serves until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken, tasks: TaskTracker) {
        let verifier = self.verifier;
        self.listener.serve(move |arrived| handle(arrived, verifier.clone()), stop, tasks).await;
    }
}

async fn handle(arrived: Arrived, verifier: Verifier) -> Response<Body> {
    let Arrived { request, headers, .. } = arrived;
    if request.uri().path() != PATH {
        return answer(StatusCode::NOT_FOUND, &json!({ "error": "webhooks go to /webhooks/meetingbaas" }));
    }
    let Ok(body) = Limited::new(request.into_body(), LARGEST_BODY).collect().await else {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "too large" }));
    };
    let body = body.to_bytes();
    let kind = recognise(&verifier.names, &headers, &body);
    let claim = Claim {
        contract: kind.contract,
        event_type: kind.event_type.as_ref(),
        headers: &headers,
        body: &body,
        at: verifier.clock.now(),
    };
    if claim.verify(&verifier.keys) != Verdict::Valid {
        return answer(StatusCode::UNAUTHORIZED, &json!({ "error": "Invalid signature" }));
    }
    let event = kind.wire_event;
    if event.as_deref() == Some("complete") && !has_recording(&body) {
        let message = format!("{RECORDING} has to be the URL of the recording, which this handler fetches");
        return answer(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({ "error": "no recording", "message": message }),
        );
    }
    answer(StatusCode::OK, &json!({ "status": "success", "event": event }))
}

fn has_recording(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["data"]["mp4"].as_str().is_some_and(|url| url.starts_with("http"))
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
