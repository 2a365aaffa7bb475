//! The relay: takes webhooks on a public host, keeps them on disk, and hands them to whoever owns their channel.
//!
//! A sender is told nothing but what is true: the handler's answer, or that its request is kept (202), or that it is to
//! try again (503). Whatever it was told 2xx for is on disk until the owner of the channel has recorded it.

mod access;
mod answers;
mod certificate;
mod coming;
mod early;
mod giving_up;
mod handing;
mod ingest;
mod metrics;
mod owner;
mod places;
mod proxies;
mod rate;
mod settings;

use std::io;
use std::mem::{Discriminant, discriminant};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::{Access, Admission};
use self::coming::Coming;
use self::metrics::{Metrics, Told};
use self::places::Places;
use self::proxies::Proxies;
pub use self::proxies::{Network, Sender};
use self::rate::{Rate, Rates};
pub use self::settings::{AccessFrom, Mode, PerAddress, PublicUrl, Settings, WhenOffline};
use crate::model::{ChannelId, Clock};
use crate::serve::{Arrived, Body, BodyReader, Identity, Listener, Peer, Tls, subscriber};
pub use crate::serve::{BadTls, Flaw, TlsFiles};
use crate::store::StoreError;
use crate::store::relay::{Key, RelayStore, SqliteRelay};
use crate::tunnel;

/// How many requests are written to disk at a time; further ones wait for a moment.
const MOST_WRITES: usize = 1024;

/// How often the file of access tokens is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long the name of a channel that was given up, and its token, are good for nothing.
const TOMBSTONE: Duration = Duration::from_hours(30 * 24);

/// How often messages that are too old are looked for, and channels that were given up long ago.
const EXPIRE_EVERY: Duration = Duration::from_mins(10);

/// How long what is under way may take to finish after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// How often one address is complained of, and trouble of one kind told.
const COMPLAINTS: Rate = Rate::per_minute(1.0);

/// How many pieces of news an observer may be behind before it misses some.
const NEWS: usize = 1024;

/// Something that whoever runs the relay wants to know. It says nothing of what is in requests.
#[derive(Clone, Debug)]
pub enum News {
    /// Somebody owns a channel now; so many messages wait in it.
    Opened(ChannelId, u64, Sender),
    /// Its owner is gone, and how that showed.
    Closed(ChannelId, &'static str),
    /// A channel was given up, with so many messages that waited.
    GivenUp(u64),
    /// Somebody was not let in, and why.
    Refused(Sender, &'static str),
    /// An address does something more often than it may.
    Limited(IpAddr, &'static str),
    /// A proxy at this address is not trusted, so that nobody behind it is known.
    Proxy(IpAddr),
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
    /// Newcomers refuse the certificate, or soon will.
    Flaw(Flaw),
    /// Everybody on this machine can read the key of the certificate.
    OpenKey(PathBuf),
}

/// A piece of news, and when it was told.
#[derive(Clone, Debug)]
pub struct Dated {
    /// When.
    pub at: Timestamp,
    /// What.
    pub news: News,
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
    coming: Coming,
    writes: Semaphore,
    of_channels: Rates<ChannelId>,
    of_tenants: Rates<Arc<str>>,
    of_addresses: Rates<IpAddr>,
    guesses: Rates<IpAddr>,
    complaints: Rates<IpAddr>,
    troubles: Rates<Discriminant<StoreError>>,
    proxies: Proxies,
    /// Whether somebody was told of a proxy that is not trusted.
    is_proxy_told: AtomicBool,
    metrics: Metrics,
    news: broadcast::Sender<Dated>,
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
        let proxies = Proxies(settings.trusted_proxies.clone());
        if let Some(most) = settings.most_per_address.connections {
            let proxies = proxies.clone();
            listener = listener.with_most_of_one_address(most, move |address| !proxies.is_limited(address));
        }
        let store =
            Arc::new(SqliteRelay::open(folder, Key::new(key, clock.clone()), settings.room, clock.clone())?);
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
            coming: Coming::default(),
            writes: Semaphore::new(MOST_WRITES),
            of_channels: Rates::default(),
            of_tenants: Rates::default(),
            of_addresses: Rates::default(),
            guesses: Rates::default(),
            complaints: Rates::default(),
            troubles: Rates::default(),
            proxies,
            is_proxy_told: AtomicBool::new(false),
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
    pub fn subscribe(&self) -> broadcast::Receiver<Dated> {
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
        if let Some(Peer { address, is_one_too_many: true }) = arrived.peer {
            return self.turn_away(address);
        }
        let sender = self.sender(&arrived);
        if let Err(refusal) = ingest::admit(&self, sender) {
            self.metrics.told(Told::Address);
            return *refusal;
        }
        let uri = arrived.request.uri();
        match uri.path() {
            tunnel::PATH if arrived.request.method() == Method::DELETE => {
                giving_up::give_up(&self, &arrived, sender).await
            }
            tunnel::PATH => owner::open(&self, arrived, sender).await,
            "/healthz" => self.health(),
            "/metrics" => answers::text(Metrics::TYPE, self.metrics.text(&self.store.health())),
            _ => match ingest::address(uri) {
                Some((channel, path)) => ingest::take(&self, channel, path, arrived, sender).await,
                None => ingest::nowhere(&self, sender),
            },
        }
    }

    /// Tells whoever has more connections than it may, and ends this one.
    fn turn_away(&self, address: IpAddr) -> Response<Body> {
        self.metrics.told(Told::Connections);
        self.complain_of(address, "it has more connections than --max-connections-per-address");
        let message = "this address has as many connections as it may have";
        let mut response = answers::try_again(5, "connections", message);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// Who sent a request.
    fn sender(&self, arrived: &Arrived) -> Sender {
        let speaks_tls = self.settings.tls.is_some();
        let sender = self.proxies.sender(arrived.peer, &arrived.headers, speaks_tls);
        if let Some(proxy) = sender.hidden_by
            && !self.is_proxy_told.swap(true, Ordering::Relaxed)
        {
            self.tell(News::Proxy(proxy));
        }
        sender
    }

    /// Tells of an address that asks too much, now and then.
    fn complain_of(&self, address: IpAddr, what: &'static str) {
        self.tell_now_and_then(Some(address), News::Limited(address, what));
    }

    /// Tells of something that one address may do over and over, if that is known.
    fn tell_now_and_then(&self, address: Option<IpAddr>, news: News) {
        if address.is_none_or(|address| self.complaints.take(subscriber(address), COMPLAINTS).is_ok()) {
            self.tell(news);
        }
    }

    fn health(&self) -> Response<Body> {
        let health = self.store.health();
        let (status, text) = if health.writes {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be written")
        };
        let settings = &self.settings;
        let body = json!({
            "status": text,
            "channels": health.channels,
            "connected": health.owned,
            "waiting": health.waiting.messages,
            "waiting_bytes": health.waiting.bytes,
            "bytes_on_disk": health.bytes_on_disk,
            "limits": {
                "max_body": settings.max_body,
                "max_rate": settings.most_per_second,
                "keep_seconds": settings.keep.as_secs(),
            },
        });
        answers::answer(status, &body)
    }

    /// Forgets what nobody took in time, from the start on and every now and then.
    async fn expire(self: Arc<Self>) {
        loop {
            let ago = |age: Duration| self.clock.now().checked_sub(age).unwrap_or(Timestamp::MIN);
            match self.store.expire(ago(self.settings.keep)).await {
                Ok(gone) => drop(self.metrics.expired.inc_by(gone)),
                Err(error) => self.trouble(error),
            }
            if let Err(error) = self.store.forget_given_up(ago(TOMBSTONE)).await {
                self.trouble(error);
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

    /// Tells of trouble of our own, each kind now and then: on a full disk every sender would make a line of it.
    fn trouble(&self, error: StoreError) {
        if self.troubles.take(discriminant(&error), COMPLAINTS).is_ok() {
            self.tell(News::Trouble(error));
        }
    }

    /// Tells whoever listens; nobody may.
    fn tell(&self, news: News) {
        drop(self.news.send(Dated { at: self.clock.now(), news }));
    }
}

async fn read_tokens(file: &Path) -> Result<Access, String> {
    let file = file.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let text = read.map_err(io::Error::other).flatten().map_err(|error| error.to_string())?;
    Access::parse(&text).map_err(|error| error.to_string())
}
