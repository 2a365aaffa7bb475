//! The inspector: every delivery on a local web page, and the same for programs over REST and a WebSocket.
//!
//! It listens on loopback only. [`guard`] decides who is answered; `routes` lists what there is to ask for; the objects
//! are those of the command line. The page is a few files in `page/`, which are part of the binary.

mod actions;
mod answer;
mod bots;
mod catalogue;
mod check;
mod deleted;
mod deliveries;
mod export;
mod guard;
mod live;
mod page;
mod question;
mod routes;
mod stats;
mod told;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::IntoResponse;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http_body_util::{BodyExt, Full};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use self::answer::Fault;
use self::guard::{Guard, Pass};
use super::json_lines;
use crate::bus::Bus;
use crate::contract::WireNames;
use crate::fixture::Artifacts;
use crate::forward::Forward;
use crate::model::{Clock, Secret, Target, TunnelStatus};
use crate::pipeline::Pipeline;
use crate::serve::{Arrived, Body};
use crate::signature::Keyring;
use crate::store::{Reader, StoreError};

/// Where it listens unless it is told otherwise.
pub const PORT: u16 = 4401;

/// How many exports are made at a time.
const MOST_EXPORTS: usize = 1;

/// A `listen` that requests of the page go through.
#[derive(Clone, Debug)]
pub struct Through {
    /// The URL of its ingress, as it shows it.
    pub url: String,
    /// The same, to send to.
    pub ingress: Target,
    /// What our own requests prove themselves with there.
    pub token: Secret,
    /// What it signs and verifies with.
    pub keys: Keyring,
    /// Where it forwards to.
    pub targets: Vec<Target>,
    /// Where the files of meetings can be fetched.
    pub artifacts: Artifacts,
    /// The URL of the server that has them.
    pub artifact_server: Option<String>,
}

/// What an inspector is made of.
pub struct Parts {
    /// The state folder, where the record is.
    pub folder: PathBuf,
    /// What time it is.
    pub clock: Clock,
    /// The event type behind each wire event.
    pub names: WireNames,
    /// Looks up an environment variable, for templates of fixtures.
    pub environment: fn(&str) -> Option<String>,
    /// Says which `listen` runs now: the one that this is part of, or another process.
    pub through: Box<dyn Fn() -> Option<Through> + Send + Sync>,
    /// Asks the ingress of that `listen`.
    pub forward: Forward,
    /// The road to other targets.
    pub pipeline: Pipeline,
    /// What is signed with where no `listen` runs.
    pub keys: Keyring,
    /// Further targets that requests may go to.
    pub targets: Vec<Target>,
    /// Whether requests may go anywhere.
    pub any_target: bool,
    /// Where updates come from; none where other processes make them.
    pub bus: Option<Bus>,
    /// What the tunnel of that `listen` is like; none where it has none, or is another process.
    pub tunnel: Option<watch::Receiver<TunnelStatus>>,
    /// What owns the connections.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

/// A cloneable handle to an inspector.
#[derive(Clone)]
pub struct Inspector(Arc<Inner>);

struct Inner {
    parts: Parts,
    port: u16,
    guard: Guard,
    watchers: Arc<Semaphore>,
    /// Each is made in memory.
    exports: Arc<Semaphore>,
    /// Nudges those who watch when something was deleted.
    deletions: broadcast::Sender<()>,
}

/// What every answer says to the browser: show nothing but this, tell nobody.
const HEADERS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Scripts of ours alone, and the one style sheet that stands in the page.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src {}; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        page::style_source(),
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

impl Inspector {
    /// An inspector that answers on `port` to whoever has `token`.
    pub fn new(parts: Parts, port: u16, token: Secret) -> Self {
        let guard = Guard::new(port, token);
        let watchers = Arc::new(Semaphore::new(live::MOST_WATCHERS));
        let exports = Arc::new(Semaphore::new(MOST_EXPORTS));
        let deletions = broadcast::channel(1).0;
        Self(Arc::new(Inner { parts, port, guard, watchers, exports, deletions }))
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        url(self.0.port)
    }

    /// An address that lets a browser in, once: for its command line. The one before is void.
    pub fn url_once(&self) -> String {
        let once = new_token(&self.0.parts.clock);
        let url = format!("{}/?token={}", self.url(), once.expose());
        self.0.guard.let_in_once(once);
        url
    }

    /// Answers every request to it.
    pub fn service(&self) -> impl Fn(Arrived) -> Answering + Clone + Send + Sync + 'static {
        let routes = routes::routes(self.clone());
        let this = self.clone();
        move |arrived| Box::pin(this.clone().answer(routes.clone(), arrived))
    }

    async fn answer(self, mut routes: Router, arrived: Arrived) -> http::Response<Body> {
        let (parts, body) = arrived.request.into_parts();
        let is_api = parts.uri.path().starts_with("/api/");
        let response = match self.0.guard.check(&parts) {
            Err(refusal) if is_api => Fault::from(refusal).into_response(),
            Err(refusal) => page::refusal(refusal),
            Ok(Pass::LetIn) => page::let_in(&self.0.guard.cookie()),
            Ok(Pass::Granted) => {
                let request = http::Request::from_parts(parts, axum::body::Body::new(body));
                routes.call(request).await.unwrap_or_else(|never| match never {})
            }
        };
        let (mut parts, body) = response.into_parts();
        // Answers are made as a whole; this copies nothing.
        let mut bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if is_api && answer::is_of_router(&parts) {
            bytes = answer::said_as_fault(&mut parts, &bytes);
        }
        for (name, value) in HEADERS {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
        parts.headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
        // The files of the page say themselves how long they may be kept.
        parts.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        http::Response::from_parts(parts, Full::new(bytes).map_err(|never| match never {}).boxed())
    }

    /// Reads the record, on a thread that may block; none when there is no record yet.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let folder = self.0.parts.folder.clone();
        let look = move || Reader::open(&folder)?.as_ref().map(look).transpose();
        // It fails only when the runtime is shutting down.
        tokio::task::spawn_blocking(look).await.unwrap_or(Ok(None))
    }

    /// The line that a watcher gets first; so many deliveries were deleted by then.
    fn ready_line(&self, gone: i64) -> String {
        let through = (self.0.parts.through)();
        let through = through.as_ref();
        let artifacts = through.and_then(|through| through.artifact_server.as_deref());
        let public = self.tunnel().and_then(|tunnel| tunnel.public);
        let ingress = through.map(|through| through.url.as_str());
        json_lines::ready_to_watch(ingress, &self.url(), public.as_deref(), artifacts, gone)
    }

    /// What the tunnel is like at this moment.
    fn tunnel(&self) -> Option<TunnelStatus> {
        self.0.parts.tunnel.as_ref().map(|tunnel| tunnel.borrow().clone())
    }
}

/// An answer under way.
pub type Answering = std::pin::Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

/// Where an inspector on `port` is asked.
pub fn url(port: u16) -> String {
    format!("http://{}", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A token of 192 bits, in as many letters as fit beside an address on a line.
pub fn new_token(clock: &Clock) -> Secret {
    use base64::Engine as _;
    Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(clock.random_bytes::<24>()))
}
