//! Gives up a channel of ours at a relay.

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, StatusCode};
use tokio::time::timeout;

use super::open::{self, NotOpened, Unusable};
use super::{RelayUrl, Settings};
use crate::forward;
use crate::tunnel::{DISCARD, PATH};

/// How long the relay may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It is given up, and so many requests that waited are gone.
    Now(u64),
    /// It was given up before.
    Before,
    /// The relay knows nothing of it.
    Unknown,
}

/// Why a channel is not given up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Kept {
    /// Requests wait in it.
    #[error("{0}: what waits would be lost with it")]
    Waiting(String),
    /// The relay is not to be reached now.
    #[error("{0}")]
    NotNow(String),
    /// It cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// Gives up the channel that our token has, and what waits in it if that is to be discarded.
pub async fn give_up(settings: &Settings, discard: bool) -> Result<GivenUp, Kept> {
    let relay = &settings.relay;
    let path = relay.target().path_for(PATH);
    let mut request =
        Request::delete(path).body(Bytes::new()).map_err(|error| Kept::NotNow(error.to_string()))?;
    *request.headers_mut() = open::head(settings, 0);
    if discard {
        request.headers_mut().insert(DISCARD, HeaderValue::from_static("1"));
    }
    let reply = match timeout(PATIENCE, forward::ask(relay.target(), request)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(failure)) => return Err(Kept::NotNow(failure.detail)),
        Err(_elapsed) => return Err(Kept::NotNow(format!("{relay} does not answer"))),
    };
    let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap_or_default();
    match (reply.status(), body["error"].as_str()) {
        (StatusCode::OK, None) if body["status"] == "given_up" => {
            Ok(GivenUp::Now(body["discarded"].as_u64().unwrap_or_default()))
        }
        (StatusCode::GONE, Some("given_up")) => Ok(GivenUp::Before),
        (StatusCode::NOT_FOUND, Some("unknown")) if body["message"] != NOTHING => Ok(GivenUp::Unknown),
        (StatusCode::CONFLICT, Some("waiting")) => {
            Err(Kept::Waiting(body["message"].as_str().unwrap_or_default().to_owned()))
        }
        (status, None) => Err(Kept::NotNow(format!("{relay} answers {status} to DELETE, as no relay does"))),
        _ => Err(not_given_up(relay, &reply.map(|body| body.to_vec()))),
    }
}

/// What a relay says of paths that lead nowhere.
const NOTHING: &str = "there is nothing here";

fn not_given_up(relay: &RelayUrl, answer: &http::Response<Vec<u8>>) -> Kept {
    match open::said_no(relay, answer) {
        NotOpened::NotNow(why) | NotOpened::Away(why) => Kept::NotNow(why),
        NotOpened::Never(unusable) => Kept::Unusable(unusable),
    }
}
