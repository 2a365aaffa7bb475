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

use crate::contract::wire_event;
use crate::model::{Secret, Target, Verdict};
use crate::serve::{Arrived, Body, Listener};
use crate::signature::preview;

/// The path of the handler, as on the Webhooks API page.
const PATH: &str = "/webhooks/meetingbaas";

/// Where a completed meeting has the URL of its recording, which this handler would fetch.
pub const RECORDING: &str = "data.mp4";

/// The largest body that it takes, in bytes.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// A handler that is bound to a free port.
pub struct DemoHandler {
    listener: Listener,
    secret: Secret,
}

impl DemoHandler {
    /// Binds a free port of this machine.
    pub async fn bind(secret: Secret) -> io::Result<Self> {
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        Ok(Self { listener, secret })
    }

    /// Where its webhooks go.
    pub fn target(&self) -> Target {
        let url = format!("http://{}{PATH}", self.listener.address());
        url.parse().expect("an address and a plain path are a target")
    }

    /// Serves until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken, tasks: TaskTracker) {
        let secret = self.secret;
        self.listener.serve(move |arrived| handle(arrived, secret.clone()), stop, tasks).await;
    }
}

async fn handle(arrived: Arrived, secret: Secret) -> Response<Body> {
    let Arrived { request, headers, .. } = arrived;
    if request.uri().path() != PATH {
        return answer(StatusCode::NOT_FOUND, &json!({ "error": "webhooks go to /webhooks/meetingbaas" }));
    }
    let Ok(body) = Limited::new(request.into_body(), LARGEST_BODY).collect().await else {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "too large" }));
    };
    let body = body.to_bytes();
    let values = headers.get_all(preview::HEADER).map(AsRef::as_ref);
    if preview::verify(&[secret], values, &body) != Verdict::Valid {
        return answer(StatusCode::UNAUTHORIZED, &json!({ "error": "Invalid signature" }));
    }
    let event = wire_event(&body);
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
