//! The relay: takes webhooks on a public host, keeps them on disk, and hands them to whoever owns their channel.
//!
//! A sender is told nothing but what is true: the handler's answer, or that its request is kept (202), or that it is to
//! try again (503). Whatever it was told 2xx for is on disk until the owner of the channel has recorded it.

mod access;
mod answers;
mod certificate;
mod handing;
mod ingest;
mod metrics;
mod owner;
mod places;
mod rate;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::{Access, Admission};
use self::metrics::Metrics;
use self::places::Places;
use self::rate::Rates;
use crate::model::{ChannelId, Clock, Secret};
use crate::serve::{Arrived, Body, BodyReader, Identity, Listener, Tls};
pub use crate::serve::{BadTls, TlsFiles};
use crate::store::StoreError;
use crate::store::relay::{Key, RelayStore, SqliteRelay};
use crate::tunnel;

/// How many requests are written to disk at a time; further ones wait for a moment.
const MOST_WRITES: usize = 1024;

/// How often the file of access tokens is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often messages that are too old are looked for.
const EXPIRE_EVERY: Duration = Duration::from_mins(10);

/// How long what is under way may take to finish after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// How many pieces of news an observer may be behind before it misses some.
const NEWS: usize = 1024;

/// When a sender gets its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the handler has answered, or after 25 seconds.
    Sync,
    /// As soon as its request is on disk.
    Store,
}

/// What becomes of requests while nobody takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenOffline {
    /// They are kept.
    Queue,
    /// Their senders are told to try again.
    Reject,
}

/// How a relay works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// The certificate for TLS; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// What senders reach it by.
    pub public_url: PublicUrl,
    /// Who may open tunnels.
    pub access: AccessFrom,
    /// When senders get their answers.
    pub mode: Mode,
    /// What becomes of requests while nobody takes them.
    pub when_offline: WhenOffline,
    /// The largest body that is taken, in bytes.
    pub max_body: usize,
    /// How many messages may wait in a channel, and how many bytes their bodies may have.
    pub most_waiting: (u64, u64),
    /// How many channels there may be, of one access token.
    pub most_channels: u64,
    /// How many tunnels may be open at a time; further ones are told to come back later.
    pub most_tunnels: usize,
    /// How many requests may come a second in one channel, on average; `None` for any number.
    pub most_per_second: Option<u32>,
    /// How long a message is kept that nobody takes.
    pub keep: Duration,
}

/// Where the access tokens are.
#[derive(Clone, Debug)]
pub enum AccessFrom {
    /// These; without any, everybody may open tunnels.
    Tokens(Vec<Secret>),
    /// In a file, which is read again when it changes.
    File(PathBuf),
}

/// What senders reach a relay by: `https://hooks.example.com`, also with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// A text that is no public URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a URL such as `https://hooks.example.com`", .0.escape_debug())]
pub struct NotAPublicUrl(String);

/// Something that whoever runs the relay wants to know. It says nothing of what is in requests.
#[derive(Clone, Debug)]
pub enum News {
    /// Somebody owns a channel now; so many messages wait in it.
    Opened(ChannelId, u64),
    /// Its owner is gone, and how that showed.
    Closed(ChannelId, &'static str),
    /// Somebody was not let in.
    Refused,
    /// We could not do our part.
    Trouble(StoreError),
    /// There are other access tokens, so many.
    Tokens(usize),
    /// The file of access tokens cannot be used any more; the ones that were in it hold on.
    BadTokens(String),
    /// Newcomers are shown another certificate, which is valid until then.
    Certificate(Option<Timestamp>),
    /// The files of the certificate cannot be used any more; the one that was in them holds on.
    BadCertificate(BadTls),
    /// Everybody on this machine can read the key of the certificate.
    OpenKey(PathBuf),
}

/// A relay that is bound and has its store open.
pub struct Relay {
    listener: Listener,
    tls: Option<(TlsFiles, Tls, Identity)>,
    parts: Arc<Parts>,
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The port is not to be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no TLS with this certificate.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// The store is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The access tokens cannot be read.
    #[error("the access tokens in `{}` cannot be used: {why}", .file.display())]
    Tokens {
        /// Where they should be.
        file: PathBuf,
        /// Why not.
        why: String,
    },
}

struct Parts {
    settings: Settings,
    store: Arc<dyn RelayStore>,
    bodies: BodyReader,
    access: watch::Sender<Arc<Access>>,
    places: Arc<Places>,
    writes: Semaphore,
    of_channels: Rates<ChannelId>,
    of_tenants: Rates<Arc<str>>,
    metrics: Metrics,
    news: broadcast::Sender<News>,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Relay {
    /// Opens the store in `folder`, sealed with `key`, and binds the port; nothing is accepted yet.
    pub async fn bind(
        settings: Settings,
        folder: &Path,
        key: &[u8; 32],
        clock: Clock,
    ) -> Result<Self, RelayError> {
        let address = settings.address;
        let tls = match &settings.tls {
            Some(files) => {
                let identity = certificate::load(files).await?;
                Some((files.clone(), Tls::new(identity.clone()), identity))
            }
            None => None,
        };
        let mut listener =
            Listener::bind(address).await.map_err(|source| RelayError::Bind { address, source })?;
        if let Some((_, tls, _)) = &tls {
            listener = listener.over_tls(tls.clone());
        }
        let store = Arc::new(SqliteRelay::open(folder, Key::new(key, clock.clone()), clock.clone())?);
        let access = match &settings.access {
            AccessFrom::Tokens(tokens) => Access::of(tokens),
            AccessFrom::File(file) => {
                let failed = |why| RelayError::Tokens { file: file.clone(), why };
                read_tokens(file).await.map_err(failed)?
            }
        };
        let parts = Parts {
            bodies: BodyReader::new(settings.max_body),
            access: watch::Sender::new(Arc::new(access)),
            places: Places::new(settings.most_tunnels),
            writes: Semaphore::new(MOST_WRITES),
            of_channels: Rates::default(),
            of_tenants: Rates::default(),
            metrics: Metrics::default(),
            settings,
            store,
            news: broadcast::channel(NEWS).0,
            clock,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Ok(Self { listener, tls, parts: Arc::new(parts) })
    }

    /// The URL at which it listens.
    pub fn listening(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.listener.address())
    }

    /// Until when its certificate is valid, if it has one.
    pub fn certified_until(&self) -> Option<Timestamp> {
        self.tls.as_ref().and_then(|(_, _, identity)| identity.valid_until)
    }

    /// Hears what happens from now on; ends when `run` has ended.
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.parts.news.subscribe()
    }

    /// Serves until `stop` is cancelled; then senders who wait are told that their requests are kept.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, tls, parts } = self;
        parts.tasks.spawn(Arc::clone(&parts).expire());
        if let AccessFrom::File(file) = &parts.settings.access {
            parts.tasks.spawn(Arc::clone(&parts).watch_tokens(file.clone()));
        }
        if let Some((files, tls, first)) = tls {
            parts.tasks.spawn(certificate::watch(Arc::clone(&parts), files, tls, first));
        }
        let serving = Arc::clone(&parts);
        let service = move |arrived| Arc::clone(&serving).receive(arrived);
        let until = stop.clone();
        let tasks = parts.tasks.clone();
        tokio::join!(listener.serve(service, until, tasks), async {
            stop.cancelled().await;
            parts.stop.cancel();
        });
        parts.tasks.close();
        // Whoever is not ready by now is cut off; what was acknowledged is on disk.
        drop(tokio::time::timeout(GRACE, parts.tasks.wait()).await);
        parts.store.close().await;
    }
}

impl Parts {
    async fn receive(self: Arc<Self>, arrived: Arrived) -> Response<Body> {
        let uri = arrived.request.uri();
        match uri.path() {
            tunnel::PATH => owner::open(&self, arrived).await,
            "/healthz" => self.health(),
            "/metrics" => answers::text(Metrics::TYPE, self.metrics.text(&self.store.health())),
            _ => match ingest::address(uri) {
                Some((channel, path)) => ingest::take(&self, channel, path, arrived).await,
                None => answers::report(StatusCode::NOT_FOUND, "unknown", "there is nothing here"),
            },
        }
    }

    fn health(&self) -> Response<Body> {
        let health = self.store.health();
        let (status, text) = if health.writes {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be written")
        };
        let body = json!({
            "status": text,
            "channels": health.channels,
            "connected": health.owned,
            "waiting": health.waiting.messages,
            "waiting_bytes": health.waiting.bytes,
            "bytes_on_disk": health.bytes_on_disk,
        });
        answers::answer(status, &body)
    }

    /// Forgets what nobody took in time, from the start on and every now and then.
    async fn expire(self: Arc<Self>) {
        loop {
            let before = self.clock.now().checked_sub(self.settings.keep);
            if let Ok(before) = before {
                match self.store.expire(before).await {
                    Ok(gone) => drop(self.metrics.expired.inc_by(gone)),
                    Err(error) => self.tell(News::Trouble(error)),
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(EXPIRE_EVERY) => {}
            }
        }
    }

    /// Takes other access tokens when there are others in the file. While it cannot be used, the last ones hold.
    async fn watch_tokens(self: Arc<Self>, file: PathBuf) {
        let mut last = Ok(Arc::clone(&self.access.borrow()));
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = read_tokens(&file).await.map(Arc::new);
            if now == last {
                continue;
            }
            match &now {
                Ok(access) => {
                    self.access.send_replace(Arc::clone(access));
                    self.tell(News::Tokens(access.count()));
                }
                Err(why) => self.tell(News::BadTokens(why.clone())),
            }
            last = now;
        }
    }

    /// Whom an access token lets in.
    fn admit(&self, given: Option<&str>) -> Option<Admission> {
        self.access.borrow().admit(given).cloned()
    }

    /// Tells whoever listens; nobody may.
    fn tell(&self, news: News) {
        drop(self.news.send(news));
    }
}

async fn read_tokens(file: &Path) -> Result<Access, String> {
    let file = file.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let text = read.map_err(io::Error::other).flatten().map_err(|error| error.to_string())?;
    Access::parse(&text).map_err(|error| error.to_string())
}

impl PublicUrl {
    /// The URL of a channel.
    pub fn of(&self, channel: &ChannelId) -> String {
        format!("{}/in/{channel}/", self.0)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = NotAPublicUrl;

    fn from_str(text: &str) -> Result<Self, NotAPublicUrl> {
        let bad = || NotAPublicUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_error| bad())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host =
            uri.authority().is_some_and(|place| !place.host().is_empty() && !place.as_str().contains('@'));
        if !is_http || !has_host || text.contains(['?', '#']) {
            return Err(bad());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_one_that_senders_can_use() {
        let channel: ChannelId = "00112233445566778899aabbccddeeff".parse().unwrap();
        for (text, url) in [
            ("https://a.b", "https://a.b/in/00112233445566778899aabbccddeeff/"),
            ("http://a.b:8080/relay/", "http://a.b:8080/relay/in/00112233445566778899aabbccddeeff/"),
        ] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().of(&channel), url);
        }
        for text in
            ["", "a.b", "/x", "ftp://a.b", "https://", "https://u@a.b", "https://a.b/?x=1", "wss://a.b"]
        {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
