//! Clients that take their time, and more of them than there are places.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Frame;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::*;

const GOOD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

/// An answer without end.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 8192])))))
    }
}

async fn answer(mut arrived: Arrived) -> Response<Body> {
    match arrived.request.uri().path() {
        "/endless" => Response::new(Endless.boxed()),
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut arrived.request);
            TaskTracker::new().spawn(async move {
                let mut upgraded = upgraded(upgrade).await.unwrap();
                let told = format!("{} of {}", upgraded.read.len(), upgraded.read.capacity());
                upgraded.io.write_all(told.as_bytes()).await.unwrap();
            });
            let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed());
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(http::header::UPGRADE, HeaderValue::from_static("x"));
            response
        }
        _ => Response::new(Full::new(Bytes::from("good")).map_err(|never| match never {}).boxed()),
    }
}

/// Runs a test against a listener with these limits.
fn with_limits(limits: Limits, test: impl AsyncFnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        serve_and_test(Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), limits, test).await;
    });
}

async fn serve_and_test(listener: Listener, limits: Limits, test: impl AsyncFnOnce(SocketAddr)) {
    let address = listener.address();
    let serving = listener.serve_within(limits, answer, CancellationToken::new(), TaskTracker::new());
    tokio::select! {
        () = serving => panic!("it ended"),
        done = timeout(LONG, test(address)) => done.expect("what must end ends"),
    }
}

/// The same over TLS.
fn with_tls(limits: Limits, test: impl AsyncFnOnce(SocketAddr)) {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert"), key: folder.path().join("key") };
    std::fs::write(&files.certificate, made.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        serve_and_test(listener.over_tls(Tls::new(files.load().unwrap())), limits, test).await;
    });
}

fn patient() -> Limits {
    Limits { head: 2 * LONG, handshake: 2 * LONG, stall: 2 * LONG, crowded: SHORT, connections: 8 }
}

async fn connect(address: SocketAddr, begin: &[u8]) -> TcpStream {
    let mut stream = TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
    stream.write_all(begin).await.unwrap();
    stream
}

/// Reads until the other side closes or resets the connection.
async fn until_closed(stream: &mut TcpStream) {
    let mut chunk = vec![0; 65_536];
    while stream.read(&mut chunk).await.is_ok_and(|length| length > 0) {}
}

async fn is_good(address: SocketAddr) {
    let mut stream = connect(address, GOOD).await;
    let mut start = [0; 15];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
}

#[test]
fn who_does_not_send_a_head_is_let_go() {
    with_limits(Limits { head: SHORT, ..patient() }, async |address| {
        for begin in [&b""[..], b"P", b"POST / HTTP/1.1\r\nHost: a\r\nX-A", GOOD] {
            until_closed(&mut connect(address, begin).await).await;
            is_good(address).await;
        }
    });
}

#[test]
fn who_asks_and_never_reads_the_answer_is_let_go() {
    with_limits(Limits { stall: SHORT, ..patient() }, async |address| {
        let mut stream = connect(address, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // What has gathered in the meantime is still there; behind it comes the end, and not more of the answer.
        tokio::time::sleep(3 * SHORT).await;
        until_closed(&mut stream).await;
    });
}

#[test]
fn who_does_nothing_makes_place_for_who_asks() {
    with_limits(patient(), async |address| {
        // Some say nothing, some stopped in the middle of a head, some keep their connections for later.
        let mut idle = Vec::new();
        for begin in [&b""[..], b"POST / HT", GOOD].into_iter().cycle().take(100) {
            idle.push(connect(address, begin).await);
        }
        for _ in 0..20 {
            is_good(address).await;
        }
        for stream in &mut idle[..80] {
            until_closed(stream).await;
        }
    });
}

/// How a client that speaks TLS begins, and no more of it.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[test]
fn who_does_not_begin_tls_is_let_go_and_makes_place() {
    with_tls(Limits { handshake: SHORT, ..patient() }, async |address| {
        for begin in [&b""[..], b"\x16", HALF_A_HELLO, b"\x16nonsense"] {
            until_closed(&mut connect(address, begin).await).await;
        }
    });
    with_tls(patient(), async |address| {
        let mut silent = Vec::new();
        for begin in [&b""[..], HALF_A_HELLO].into_iter().cycle().take(100) {
            silent.push(connect(address, begin).await);
        }
        for stream in &mut silent[..80] {
            until_closed(stream).await;
        }
    });
}

#[test]
fn who_speaks_plain_http_where_tls_is_spoken_is_told() {
    with_tls(patient(), async |address| {
        let (mut stream, mut answer) = (connect(address, GOOD).await, String::new());
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    });
}

#[test]
fn what_becomes_of_a_connection_keeps_what_was_read_of_it_and_not_the_buffer_of_its_head() {
    with_limits(patient(), async |address| {
        let head = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        for behind in ["", "something"] {
            let mut stream = connect(address, &[head, behind.as_bytes()].concat()).await;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let told = answer.split("\r\n\r\n").nth(1);
            assert_eq!(told, Some(&format!("{0} of {0}", behind.len())[..]), "{answer}");
        }
    });
}
