//! A reverse proxy on hyper and its pooled client that records nothing, on one thread: `bare-proxy LISTEN TARGET`.

mod record;
pub mod recording;

use std::net::SocketAddr;

use hyper::body::{Body, Incoming};
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
    let (listen, target) = addresses(std::env::args().skip(1));
    on_one_thread(serve(listen, target));
}

/// Where to listen, and the handler.
fn addresses(arguments: impl Iterator<Item = String>) -> (SocketAddr, SocketAddr) {
    let addresses: Vec<SocketAddr> = arguments.map(|text| text.parse().expect("an address")).collect();
    let [listen, target] = addresses[..] else { panic!("usage: … LISTEN TARGET") };
    (listen, target)
}

fn on_one_thread(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work);
}

fn pooled_client<B: Body<Data: Send> + Send>() -> Client<HttpConnector, B> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector)
}

async fn serve(listen: SocketAddr, target: SocketAddr) {
    let listener = TcpListener::bind(listen).await.expect("a free address");
    let client: Client<HttpConnector, Incoming> = pooled_client();
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
