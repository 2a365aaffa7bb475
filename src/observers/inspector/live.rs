//! `GET /api/live`: a WebSocket that tells what happens, in the lines of `listen --json`, and what happened since.
//!
//! `?after=N&open=A,B` resumes: everything above delivery N, and what came of A and B meanwhile, comes first, from the
//! record. A message holds one or more lines, so that a thousand deliveries a second are not as many messages. The bus
//! may drop and does not hear of other processes, so that the record is looked at as well, once a second.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Request, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::Inspector;
use super::answer::Fault;
use super::deleted::Deleted;
use super::told::{Page, Told, newest};
use crate::bus::Subscription;
use crate::model::Update;
use crate::observers::json_lines;
use crate::store::Reader;

/// How many watch at a time; whoever comes then is refused.
pub const MOST_WATCHERS: usize = 32;

/// How often the record is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often that is where there is no bus.
const LOOK_ALONE: Duration = Duration::from_millis(250);

/// How often an idle watcher is asked whether it is there.
const PING: Duration = Duration::from_secs(15);

/// How long a watcher may take to read a message, or to answer a ping, before it is given up.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long to gather updates into one message while there are many: no eye is faster.
const GATHER: Duration = Duration::from_millis(30);

/// How many lines are gathered.
const MOST_AT_ONCE: usize = 1000;

/// How long saying good-bye may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// How long a message gets, about, in bytes.
const LONGEST: usize = 128 * 1024;

/// The longest message that is taken from a watcher, who has nothing to say.
const LONGEST_FROM_WATCHER: usize = 4 * 1024;

/// How many open deliveries a watcher may name.
const MOST_OPEN: usize = 1000;

/// The numbers that there may be: one more and one less are numbers as well.
const NUMBERS: RangeInclusive<i64> = 0..=i64::MAX - 1;

/// Where a watcher goes on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The newest delivery that it knows.
    after: Option<i64>,
    /// Those that it knows without their end, with commas between.
    #[serde(default)]
    open: String,
}

/// Takes a watcher.
pub async fn live(
    State(inspector): State<Inspector>,
    Query(resume): Query<Resume>,
    mut request: Request<axum::body::Body>,
) -> Result<Response, Fault> {
    let key = accept_key(request.headers())
        .ok_or_else(|| Fault::new(StatusCode::UPGRADE_REQUIRED, "websocket", "/api/live is a WebSocket"))?;
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Fault::new(StatusCode::UPGRADE_REQUIRED, "websocket", "use HTTP/1.1 for /api/live"))?;
    let numbers = resume.open.split(',').filter_map(|number| number.parse().ok());
    let open: Vec<i64> = numbers.filter(|number| NUMBERS.contains(number)).take(MOST_OPEN).collect();
    let place = Arc::clone(&inspector.0.watchers).try_acquire_owned().map_err(|_full| {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "watchers", "too many pages watch already: close one")
    })?;
    // From here on the bus remembers what is published; what came before is in the record.
    let updates = inspector.0.parts.bus.as_ref().map(crate::bus::Bus::subscribe);
    let folder = inspector.0.parts.folder.clone();
    let look = |reader: &Reader| Ok((newest(reader)?, Deleted::so_far(reader)?));
    let (newest, deleted) = inspector.read(look).await?.unwrap_or_default();
    let after = resume.after.map_or(newest, |after| after.clamp(*NUMBERS.start(), *NUMBERS.end()));
    let watcher = Watcher {
        told: Told::new(after, open),
        updates,
        deletions: inspector.0.deletions.subscribe(),
        folder,
        queue: VecDeque::from([inspector.ready_line(deleted.sum())]),
        deleted,
        is_behind: true,
        _place: place,
    };
    let stop = inspector.0.parts.stop.clone();
    inspector.0.parts.tasks.spawn(async move {
        // A client that asked for a WebSocket and broke off concerns nobody.
        let Ok(upgraded) = upgrade.await else { return };
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config())).await;
        watcher.run(socket, stop).await;
    });
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, key);
    Ok(response)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(LONGEST_FROM_WATCHER)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * LONGEST)
        .max_message_size(Some(LONGEST_FROM_WATCHER))
        .max_frame_size(Some(LONGEST_FROM_WATCHER))
}

/// The answer to a handshake (RFC 6455 §4.2.1); none when it is not one.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = |name, word: &str| {
        let list = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let is_one =
        lists(CONNECTION, "upgrade") && lists(UPGRADE, "websocket") && lists(SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_one && key.len() == 24)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

struct Watcher {
    told: Told,
    updates: Option<Subscription>,
    /// Says that this inspector deleted something, so that it is looked at now.
    deletions: broadcast::Receiver<()>,
    deleted: Deleted,
    folder: PathBuf,
    /// Lines on their way out.
    queue: VecDeque<String>,
    /// Whether the record may have more than was told.
    is_behind: bool,
    _place: OwnedSemaphorePermit,
}

/// The other end is gone, or has to go.
struct Gone;

impl Watcher {
    async fn run(mut self, socket: WebSocketStream<TokioIo<Upgraded>>, stop: CancellationToken) {
        let (mut sink, mut stream) = socket.split();
        let mut look = interval(if self.updates.is_some() { LOOK } else { LOOK_ALONE });
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping = interval_at(Instant::now() + PING, PING);
        let mut heard_of = Instant::now();
        let mut told_at = Instant::now();
        loop {
            while let Some(message) = self.message() {
                told_at = Instant::now();
                let sent = timeout(PATIENCE, sink.send(Message::Text(message))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            let went_on = tokio::select! {
                () = stop.cancelled() => {
                    let reason = Utf8Bytes::from_static("mbaas-dev ends");
                    let bye = Message::Close(Some(CloseFrame { code: CloseCode::Away, reason }));
                    // Whoever does not listen any more need not hear it.
                    drop(timeout(FAREWELL, sink.send(bye)).await);
                    return;
                }
                () = std::future::ready(()), if self.is_behind => self.look().await,
                said = stream.next() => match said {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
                    Some(Ok(_)) => {
                        heard_of = Instant::now();
                        Ok(())
                    }
                },
                _ = ping.tick() => {
                    let asked = timeout(PATIENCE, sink.send(Message::Ping(Bytes::new()))).await;
                    let is_there = heard_of.elapsed() < PATIENCE && matches!(asked, Ok(Ok(())));
                    if is_there { Ok(()) } else { Err(Gone) }
                }
                // What came before comes first.
                heard = hear(&mut self.updates), if !self.is_behind => self.take(heard, told_at).await,
                deleted = self.deletions.recv() => match deleted {
                    Ok(()) | Err(RecvError::Lagged(_)) => {
                        self.is_behind = true;
                        Ok(())
                    }
                    Err(RecvError::Closed) => Err(Gone),
                },
                _ = look.tick() => {
                    self.is_behind = true;
                    Ok(())
                }
            };
            if went_on.is_err() {
                return;
            }
        }
    }

    /// Takes what the bus says, and what else it has said by then.
    async fn take(&mut self, heard: Result<Update, RecvError>, told_at: Instant) -> Result<(), Gone> {
        match heard {
            Ok(update) => self.tell(&update),
            Err(RecvError::Lagged(_)) => self.is_behind = true,
            Err(RecvError::Closed) => return Err(Gone),
        }
        tokio::time::sleep_until(told_at + GATHER).await;
        while self.queue.len() < MOST_AT_ONCE
            && let Some(updates) = &mut self.updates
        {
            match updates.try_recv() {
                Some(Ok(update)) => self.tell(&update),
                Some(Err(RecvError::Lagged(_))) => self.is_behind = true,
                // Hearing that it is closed is for the next round.
                Some(Err(RecvError::Closed)) | None => break,
            }
        }
        Ok(())
    }

    fn tell(&mut self, update: &Update) {
        if self.told.is_news(update) {
            self.queue.extend(json_lines::lines(update, None));
        }
    }

    /// Reads a page of what the record has beyond what was told.
    async fn look(&mut self) -> Result<(), Gone> {
        let mut told = std::mem::replace(&mut self.told, Told::new(0, []));
        let mut deleted = std::mem::take(&mut self.deleted);
        let folder = self.folder.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let news = Reader::open(&folder).and_then(|reader| match reader {
                Some(reader) => Ok((told.next_page(&reader)?, deleted.since(&reader)?)),
                None => Ok((Page::default(), None)),
            });
            (told, deleted, news)
        });
        // It fails only when the runtime is shutting down.
        let (told, deleted, news) = looked.await.map_err(|_ended| Gone)?;
        (self.told, self.deleted) = (told, deleted);
        // What cannot be read now is tried again at the next look.
        let (Page { news, is_last }, gone) = news.unwrap_or_default();
        self.queue.extend(gone);
        self.is_behind = !is_last;
        self.queue.extend(news.iter().flat_map(|update| json_lines::lines(update, None)));
        Ok(())
    }

    /// What is waiting, as one message.
    fn message(&mut self) -> Option<Utf8Bytes> {
        let mut text = self.queue.pop_front()?;
        while text.len() < LONGEST
            && let Some(line) = self.queue.pop_front()
        {
            text.push('\n');
            text += &line;
        }
        Some(text.into())
    }
}

async fn hear(updates: &mut Option<Subscription>) -> Result<Update, RecvError> {
    match updates {
        Some(updates) => updates.recv().await,
        None => std::future::pending().await,
    }
}
