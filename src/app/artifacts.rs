//! The artifact server: the files of meetings that the URLs in events lead to, for as long as these work.
//!
//! What it answers is what S3 answers to signed URLs, XML and all, so that handlers meet the same as in production. It
//! binds loopback only and holds nothing: each file is made when it is asked for.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_RANGE, RANGE,
};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::contract::presigned::{self, Denial};
use crate::fixture::{ArtifactFile, Artifacts, artifact_file};
use crate::model::{Clock, Secret};
use crate::serve::{Arrived, Body, Listener};

/// The header with which S3 names a request.
const REQUEST_ID: &str = "x-amz-request-id";

/// A server that is bound to a free port of this machine.
pub struct ArtifactServer {
    listener: Listener,
    key: Secret,
    clock: Clock,
}

/// An error of S3: status, code, message, and what else its XML has.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    more: Vec<(&'static str, String)>,
}

impl ArtifactServer {
    /// Where it listens: a port that the system chooses, on this machine only.
    pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

    /// Binds a port. Only what is signed with `key` is served.
    pub async fn bind(key: Secret, clock: Clock) -> io::Result<Self> {
        Ok(Self { listener: Listener::bind(Self::ADDRESS).await?, key, clock })
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Where files can be fetched; for `lifetime` seconds, whatever a fixture says of that.
    pub fn artifacts(&self, lifetime: Option<u32>) -> Artifacts {
        Artifacts::at(self.url(), self.key.clone(), lifetime)
    }

    /// Serves until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken, tasks: TaskTracker) {
        let Self { listener, key, clock } = self;
        listener.serve(move |arrived| answer(arrived, key.clone(), clock.clone()), stop, tasks).await;
    }
}

async fn answer(arrived: Arrived, key: Secret, clock: Clock) -> Response<Body> {
    let (id, now) = (request_id(&clock), clock.now());
    let (method, uri) = (arrived.request.method().clone(), arrived.request.uri().clone());
    let found = if [Method::GET, Method::HEAD].contains(&method) {
        find(uri.path().to_owned(), uri.query().unwrap_or_default(), &key, now).await
    } else {
        Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            vec![("Method", method.to_string())],
        ))
    };
    let field = |name: HeaderName| Some(arrived.request.headers().get(name)?.to_str().unwrap_or_default());
    let mut response = match found.and_then(|file| serve(file, field(RANGE), field(IF_RANGE))) {
        Ok(response) => response,
        Err(refusal) => refusal.answer(&id),
    };
    if method == Method::HEAD {
        // hyper keeps the length that the body would have.
        let length = response.body().size_hint().exact().unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Full::default();
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
    }
    response.map(|body| body.map_err(|never| match never {}).boxed())
}

/// The file that a URL leads to, when it works.
async fn find(path: String, query: &str, key: &Secret, now: Timestamp) -> Result<ArtifactFile, Refusal> {
    let made = presigned::check(key, &path, query, now).map_err(|denial| Refusal::denied(denial, now))?;
    let no_file = Refusal::new(
        StatusCode::NOT_FOUND,
        "NoSuchKey",
        "The specified key does not exist.",
        vec![("Key", path.trim_start_matches('/').to_owned())],
    );
    // What was said in eight hours takes a moment to make up.
    let file = tokio::task::spawn_blocking(move || artifact_file(&path, made)).await;
    file.ok().flatten().ok_or(no_file)
}

/// The file, or the part of it that `range` asks for. Who has the beginning of a file and wants the rest says of which one
/// with `only_of`, and gets all of any other.
fn serve(
    file: ArtifactFile,
    range: Option<&str>,
    only_of: Option<&str>,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let bytes = Bytes::from(file.bytes);
    let length = bytes.len();
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
    let range = range.filter(|_| only_of.is_none_or(|wanted| wanted == tag));
    let part = range.and_then(|range| part(range, length)).transpose()?;
    let mut response = Response::new(Full::new(bytes.slice(part.clone().unwrap_or(0..length))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    if let Some(Range { start, end }) = part
        && let Ok(range) = HeaderValue::try_from(format!("bytes {start}-{}/{length}", end - 1))
    {
        headers.insert(CONTENT_RANGE, range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The part that `Range` asks for; `None` when it is to be ignored, as everything but one range of bytes is.
fn part(range: &str, length: usize) -> Option<Result<Range<usize>, Refusal>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.parse::<usize>();
    let wanted = match (first, last) {
        ("", last) => length.saturating_sub(number(last).ok()?)..length,
        (first, "") => number(first).ok()?..length,
        (first, last) => {
            let (first, last) = (number(first).ok()?, number(last).ok()?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if wanted.start < wanted.end {
        Ok(wanted)
    } else {
        let more = vec![("RangeRequested", range.to_owned()), ("ActualObjectSize", length.to_string())];
        let message = "The requested range is not satisfiable";
        Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message, more))
    })
}

impl Refusal {
    fn new(
        status: StatusCode,
        code: &'static str,
        message: &'static str,
        more: Vec<(&'static str, String)>,
    ) -> Self {
        Self { status, code, message, more }
    }

    fn denied(denial: Denial, now: Timestamp) -> Self {
        let (code, message, more) = match denial {
            Denial::Unsigned => ("AccessDenied", "Access Denied", Vec::new()),
            Denial::Mismatch => (
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and \
                 signing method.",
                Vec::new(),
            ),
            Denial::Expired { lifetime, end } => {
                let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let more = vec![
                    ("X-Amz-Expires", lifetime.to_string()),
                    ("Expires", time(end)),
                    ("ServerTime", time(now)),
                ];
                ("AccessDenied", "Request has expired", more)
            }
        };
        Self::new(StatusCode::FORBIDDEN, code, message, more)
    }

    fn answer(self, id: &str) -> Response<Full<Bytes>> {
        let mut elements = vec![("Code", self.code.to_owned()), ("Message", self.message.to_owned())];
        elements.extend(self.more);
        elements.push(("RequestId", id.to_owned()));
        let inside: String =
            elements.iter().map(|(name, text)| format!("<{name}>{}</{name}>", escaped(text))).collect();
        let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{inside}</Error>");
        let mut response = Response::new(Full::new(Bytes::from(xml)));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// A text for XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Sixteen characters, as S3's are.
fn request_id(clock: &Clock) -> String {
    hex::encode_upper(clock.random_bytes::<8>())
}
