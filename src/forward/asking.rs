//! Asks a relay one thing over a connection of its own, and reads the answer whole.

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::{connect, failure};
use crate::model::{Failure, FailureKind, Target};

/// How much of an answer is read, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Sends a request, whose URI is a path, and waits for the answer, however long that takes.
pub async fn ask(relay: &Target, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
    let connection = connect(relay).await?;
    let failed = |error: hyper::Error| failure(relay, &error);
    let (mut sender, driving) = http1::handshake(TokioIo::new(connection)).await.map_err(failed)?;
    let mut request = request.map(Full::new);
    if let Ok(host) = HeaderValue::from_str(relay.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    let asking = async {
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let read = Limited::new(body, LONGEST).collect().await.map_err(|error| Failure {
            kind: FailureKind::Reset,
            detail: format!("the answer of {} broke off: {error}", relay.authority()),
        })?;
        Ok(Response::from_parts(parts, read.to_bytes()))
    };
    tokio::pin!(asking, driving);
    let mut is_driven = true;
    loop {
        tokio::select! {
            biased;
            response = asking.as_mut() => return response,
            // What is wrong with the connection is told to whoever asks.
            _ended = driving.as_mut(), if is_driven => is_driven = false,
        }
    }
}
