//! The least that a recording proxy does: `recording-proxy FILE LISTEN TARGET`. Like the bare one, but it answers when the
//! request is on disk, and writes the answer down with the next request.
//!
//! What it leaves out is what `mbaas-dev` is for: it checks no signature, shows nothing, keeps no header as it was written,
//! has no limits and survives nothing. So it says what recording alone costs, by the same library with the same promises.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::record::{Answered, Job, Queue, Record};

type Handler = Client<HttpConnector, Full<Bytes>>;

/// Answers that are written with the next request.
type Later = Arc<Mutex<Vec<Answered>>>;

/// Serves until the process is ended.
///
/// # Panics
///
/// When the arguments are not a file and two addresses, or one of them cannot be used.
pub fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = PathBuf::from(arguments.next().expect("usage: recording-proxy FILE LISTEN TARGET"));
    let (listen, target) = crate::addresses(arguments);
    let queue = Record::create(&file).expect("a file to record in").start();
    crate::on_one_thread(async {
        let listener = TcpListener::bind(listen).await.expect("a free address");
        let handler: Handler = crate::pooled_client();
        let later = Later::default();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            let (handler, queue, later) = (handler.clone(), queue.clone(), Arc::clone(&later));
            let take = service_fn(move |request| {
                let (handler, queue, later) = (handler.clone(), queue.clone(), Arc::clone(&later));
                async move {
                    let (parts, body) = crate::redirect(request, target).into_parts();
                    let body = body.collect().await.expect("a whole body").to_bytes();
                    Ok::<_, Infallible>(take(parts, body, &handler, &queue, &later).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), take));
        }
    });
}

/// Records a request while the handler has it.
async fn take(
    parts: request::Parts,
    body: Bytes,
    handler: &Handler,
    queue: &Queue,
    later: &Later,
) -> Response<Full<Bytes>> {
    let (tell, told) = oneshot::channel();
    let before = std::mem::take(&mut *later.lock().unwrap_or_else(PoisonError::into_inner));
    let (path, headers) = (parts.uri.path().to_owned(), block(&parts.headers));
    queue.send(Job { before, path, headers, body: body.clone(), tell }).expect("a thread that writes");
    let answer = async {
        let answer = handler.request(Request::from_parts(parts, Full::new(body))).await;
        let (parts, body) = answer.expect("a handler that answers").into_parts();
        (parts, collect(body).await)
    };
    let ((parts, body), number) = tokio::join!(answer, told);
    let delivery = number.expect("a disk with room");
    let (status, headers) = (parts.status.as_u16(), block(&parts.headers));
    let answered = Answered { delivery, status, headers, body: body.clone() };
    later.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
    Response::from_parts(parts, Full::new(body))
}

async fn collect(body: Incoming) -> Bytes {
    body.collect().await.expect("a whole answer").to_bytes()
}

fn block(headers: &HeaderMap) -> Vec<u8> {
    let mut block = Vec::with_capacity(256);
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            block.extend_from_slice(part);
        }
    }
    block
}
