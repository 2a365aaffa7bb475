//! Connections to targets, kept for the next request for a moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio_util::task::TaskTracker;

use super::dial::{Connection, Dialer, Probe, Trust};
use super::exact_head::{ExactHead, NextHead};
use super::manner::Outgoing;
use crate::model::{Clock, Failure, FailureKind, Place, Target, Tick};

/// For how long an idle connection is used again; it is closed when another one is given back. Handlers close theirs after two seconds (gunicorn) or five (Node,
/// uvicorn), and a request must never race with that.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// How many idle connections are kept for one target.
const MOST_IDLE: usize = 256;

/// The largest head of an answer that is read, in bytes.
const ANSWER_BUFFER: usize = 256 * 1024;

/// An open connection, for one request at a time.
pub struct Lease {
    /// Sends a request.
    pub sender: SendRequest<Outgoing>,
    /// Where the head of that request goes.
    pub head: NextHead,
    /// Whether it has served a request before.
    pub reused: bool,
    /// Asks whether it is still good.
    probe: Option<Probe>,
}

/// A cloneable handle to the connections.
#[derive(Clone)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
    dialer: Dialer,
    tasks: TaskTracker,
    clock: Clock,
}

/// The connections to each address, of which there are few; each with the time since when it is idle, the newest last.
type Idle = Vec<(Place, VecDeque<(Lease, Tick)>)>;

impl Pool {
    /// An empty pool; the tasks that drive its connections belong to `tasks`.
    pub fn new(trust: Trust, clock: Clock, tasks: TaskTracker) -> Self {
        Self { idle: Arc::default(), dialer: Dialer::new(trust), tasks, clock }
    }

    /// A connection to `target`: the one used last, when it is still good, or a new one.
    pub async fn lease(&self, target: &Target) -> Result<Lease, Failure> {
        while let Some((mut lease, since)) = self.pop(target) {
            let quiet = lease.probe.as_ref().is_none_or(Probe::is_quiet);
            if since.elapsed() < IDLE_TIME && quiet && lease.sender.ready().await.is_ok() {
                return Ok(lease);
            }
        }
        self.open(target).await
    }

    /// A new connection to `target`.
    pub async fn open(&self, target: &Target) -> Result<Lease, Failure> {
        // In a box: most requests find a connection, and would carry the room for this along.
        Box::pin(async { self.begin(target, self.dialer.dial(target).await?).await }).await
    }

    /// A new connection to `target` that is reset, not closed, when it ends.
    pub async fn open_to_be_reset(&self, target: &Target) -> Result<Lease, Failure> {
        let lease = async {
            let connection = self.dialer.dial(target).await?;
            connection.reset_at_the_end();
            self.begin(target, connection).await
        };
        Box::pin(lease).await
    }

    async fn begin(&self, target: &Target, connection: Connection) -> Result<Lease, Failure> {
        let probe = connection.probe();
        let (io, head) = ExactHead::new(connection);
        let handshake = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(ANSWER_BUFFER)
            .handshake::<_, Outgoing>(TokioIo::new(io))
            .await;
        let (sender, connection) = handshake.map_err(|error| Failure {
            kind: FailureKind::Protocol,
            detail: format!("no HTTP with {}: {error}", target.authority()),
        })?;
        // Its error reaches whoever waits for the answer, through the sender.
        self.tasks.spawn(async move { drop(connection.await) });
        Ok(Lease { sender, head, reused: false, probe })
    }

    /// Whether a connection can be opened; it is closed at once.
    pub async fn is_reachable(&self, target: &Target) -> bool {
        self.dialer.dial(target).await.is_ok()
    }

    /// Gives a connection back, once the answer was read to its end.
    pub fn give_back(&self, target: &Target, lease: Lease) {
        let now = self.clock.tick();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = match idle.iter_mut().find(|(place, _)| place == target.place()) {
            Some((_, connections)) => connections,
            None => &mut idle.push_mut((target.place().clone(), VecDeque::new())).1,
        };
        if connections.len() >= MOST_IDLE {
            connections.pop_front();
        }
        connections.push_back((Lease { reused: true, ..lease }, now));
        // Those that nobody took in time are closed here, whichever place they lead to.
        for (_, connections) in &mut *idle {
            while connections.front().is_some_and(|(_, since)| since.elapsed() >= IDLE_TIME) {
                connections.pop_front();
            }
        }
    }

    fn pop(&self, target: &Target) -> Option<(Lease, Tick)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter_mut().find(|(place, _)| place == target.place())?.1.pop_back()
    }
}
