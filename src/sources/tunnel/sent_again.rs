//! What a relay sends again is answered, whatever became of it: nothing holds its channel up for good.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lane::Lanes;
use crate::bus::Bus;
use crate::contract::WireNames;
use crate::forward::{self, Forward};
use crate::model::{ChannelId, Clock, Headers, Incoming, Line, Relayed, Secret};
use crate::pipeline::{self, Pipeline};
use crate::serve::{Client, ask_through, serve_through};
use crate::signature::{Key, Keyring};
use crate::sources::ingress::{Ingress, Settings, Verify};
use crate::sources::resign::Resign;
use crate::sources::routing::{Router, Routes};
use crate::store::{Limits, Pruner, Reader, Store};
use crate::tunnel::{DELIVERY, Passing};

/// How long it may take until something is taken that is sent again and again.
const LONGEST: Duration = Duration::from_secs(10);

/// A `listen` without a handler, and a relay's side of its tunnels.
struct Ours {
    lanes: Lanes,
    channel: ChannelId,
    clock: Clock,
    tasks: TaskTracker,
}

impl Ours {
    async fn new(folder: &Path) -> Self {
        let clock = Clock::fixed(Timestamp::from_second(1_780_000_000).unwrap(), 1);
        let (bus, tasks) = (Bus::new(), TaskTracker::new());
        let parts = pipeline::Parts {
            store: Store::open(folder).unwrap(),
            forward: Forward::new(forward::Settings::default(), clock.clone(), tasks.clone()),
            bus: bus.clone(),
            hold: None,
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
        };
        let pipeline = Pipeline::new(parts, &pipeline::Settings { parallel: 8, retries: 0, hold: false });
        let settings = Settings {
            verify: Verify::Off,
            keys: Keyring::new(Key::new(Secret::new("secret"), "a test")),
            resign: Resign::Never,
            token: Secret::new("token"),
            max_body: 1000,
        };
        let router = Router::new(Routes::default(), pipeline);
        let ingress = Ingress::new(settings, WireNames::default(), router, bus.clone(), clock.clone());
        let lanes = Lanes::new(ingress, folder.into(), bus).await.unwrap();
        Self { lanes, channel: ChannelId::new(&clock), clock, tasks }
    }

    /// Opens a tunnel.
    async fn tunnel(&self) -> Client {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let lane = self.lanes.open(self.channel, self.lanes.recorded_up_to(self.channel).await.unwrap());
        let service = move |arrived| lane.clone().receive(arrived);
        self.tasks.spawn(serve_through(near, service, CancellationToken::new(), self.tasks.clone()));
        let (client, connection) = ask_through(far).await.unwrap();
        self.tasks.spawn(connection);
        client
    }

    /// One that came through a tunnel, for the record.
    fn recorded(&self, seq: i64) -> Incoming {
        let relayed = Relayed {
            channel: self.channel,
            seq,
            after: seq - 1,
            arrived_at: self.clock.now(),
            late: false,
            line: Line::new(seq - 1),
            sent_on_with: None,
        };
        Incoming { relayed: Some(relayed), ..Incoming::plain(&self.clock) }
    }

    fn request(&self, seq: i64, after: i64) -> Request<()> {
        let mut request = Request::post("http://relay/").body(()).unwrap();
        let passing = Passing { seq, after, arrived_at: self.clock.now(), late: false };
        *request.headers_mut() = passing.announce(&Headers::new());
        request
    }

    /// Hands one over as a relay does, again and again: by which id it was known in the end.
    async fn hand_over(&self, client: &Client, seq: i64, after: i64) -> String {
        let again = async {
            loop {
                let mut client = client.clone().ready().await.unwrap();
                let (response, mut body) = client.send_request(self.request(seq, after), false).unwrap();
                body.send_data(Bytes::from("{}"), true).unwrap();
                let response = response.await.unwrap();
                if let Some(id) = response.headers().get(DELIVERY) {
                    return id.to_str().unwrap().to_owned();
                }
            }
        };
        timeout(LONGEST, again).await.unwrap_or_else(|_| panic!("{seq} is never taken"))
    }
}

#[tokio::test]
async fn what_a_tunnel_of_before_was_still_recording_is_known_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Ours::new(folder.path()).await;
    let (before, next) = (ours.tunnel().await, ours.tunnel().await);
    let mut known = Vec::new();
    for seq in 1..=20 {
        known.push(ours.hand_over(&before, seq, seq - 1).await);
    }
    let again: Vec<String> = join_all((1..=20).map(|seq| ours.hand_over(&next, seq, seq - 1))).await;
    assert_eq!(again, known);
    let fresh = ours.hand_over(&next, 21, 20).await;
    assert!(!known.contains(&fresh));
}

#[tokio::test]
async fn what_comes_twice_at_a_time_is_recorded_once_and_answered_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Ours::new(folder.path()).await;
    let tunnel = ours.tunnel().await;
    for seq in 1..=20 {
        let (one, other) =
            tokio::join!(ours.hand_over(&tunnel, seq, seq - 1), ours.hand_over(&tunnel, seq, seq - 1));
        assert_eq!(one, other);
    }
    let reader = Reader::open(folder.path()).unwrap().unwrap();
    assert_eq!(reader.last_number().unwrap(), 20);
}

#[tokio::test]
async fn what_was_recorded_and_deleted_since_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Ours::new(folder.path()).await;
    let tunnel = ours.tunnel().await;
    for seq in 1..=4 {
        ours.hand_over(&tunnel, seq, seq - 1).await;
    }
    let mut pruner = Pruner::open(folder.path(), ours.clock.clone()).unwrap().unwrap();
    let limits = Limits { keep: Some(1), ..Limits::default() };
    assert_eq!(pruner.prune(&limits, Duration::ZERO, || true).unwrap().gone(), 3);
    assert_eq!(ours.hand_over(&tunnel, 2, 0).await, "deleted");
    assert_eq!(ours.hand_over(&ours.tunnel().await, 3, 0).await, "deleted");
}

/// As when what became of it could not be recorded.
#[tokio::test]
async fn what_has_no_outcome_in_this_run_holds_up_nobody_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut ours = Ours::new(folder.path()).await;
    ours.lanes.patience = Duration::from_millis(10);
    let recorded = ours.recorded(1);
    let known = recorded.id.to_string();
    Store::open(folder.path()).unwrap().record(Arc::new(recorded)).await.unwrap();
    let tunnel = ours.tunnel().await;
    assert_eq!(ours.hand_over(&tunnel, 1, 0).await, known);
    assert_ne!(ours.hand_over(&tunnel, 2, 1).await, known);
}

/// The first time, its body never comes to an end.
#[tokio::test]
async fn what_an_earlier_run_left_is_taken_up_although_the_first_try_breaks_off() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Ours::new(folder.path()).await;
    let left = ours.recorded(1);
    let known = left.id.to_string();
    Store::open(folder.path()).unwrap().record(Arc::new(left)).await.unwrap();

    let ours = Ours { channel: ours.channel, ..Ours::new(folder.path()).await };
    let tunnel = ours.tunnel().await;
    let (first, _endless) = tunnel.clone().send_request(ours.request(1, 0), false).unwrap();
    let again = ours.hand_over(&tunnel, 1, 0);
    tokio::select! {
        biased;
        _ = first => panic!("its body is not over"),
        id = again => assert_eq!(id, known),
    }
}
