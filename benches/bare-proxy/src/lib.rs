//! A reverse proxy on hyper and its pooled client that records nothing, on one thread: `bare-proxy LISTEN TARGET`.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Serves until the process is ended.
///
/// # Panics
///
/// When the arguments are not two addresses, or the first cannot be listened on.
pub fn main() {
    let arguments: Vec<SocketAddr> =
        std::env::args().skip(1).map(|text| text.parse().expect("an address")).collect();
    let [listen, target] = arguments[..] else { panic!("usage: bare-proxy LISTEN TARGET") };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(serve(listen, target));
}

async fn serve(listen: SocketAddr, target: SocketAddr) {
    let listener = TcpListener::bind(listen).await.expect("a free address");
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector);
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).ok();
        let client = client.clone();
        let forward = service_fn(move |request| client.request(redirect(request, target)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), forward));
    }
}

fn redirect(mut request: Request<Incoming>, target: SocketAddr) -> Request<Incoming> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder()
        .scheme("http")
        .authority(target.to_string())
        .path_and_query(path)
        .build()
        .expect("its parts were parsed before");
    request.headers_mut().remove(http::header::HOST);
    request
}
