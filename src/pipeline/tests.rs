//! Deliveries on the whole road, with a real record and a handler on a real socket.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::bus::Subscription;
use crate::forward;
use crate::model::Clock;
use crate::store::{Reader, Recorded, Selector};

/// A road with everything that it needs, and a handler at its end.
struct World {
    folder: TempDir,
    clock: Clock,
    store: Store,
    bus: Bus,
    updates: Subscription,
    tasks: TaskTracker,
    stop: CancellationToken,
    pipeline: Pipeline,
    handler: TcpListener,
    target: Target,
}

impl World {
    async fn new(settings: &Settings) -> Self {
        Self::within(tempfile::tempdir().unwrap(), settings, None).await
    }

    async fn within(folder: TempDir, settings: &Settings, refresh: Option<Refresh>) -> Self {
        let (clock, bus, tasks, stop) =
            (Clock::real(), Bus::new(), TaskTracker::new(), CancellationToken::new());
        let store = Store::open(folder.path()).unwrap();
        let parts = Parts {
            store: store.clone(),
            // What it keeps open is nobody's task here.
            forward: Forward::new(forward::Settings::default(), clock.clone(), TaskTracker::new()),
            bus: bus.clone(),
            hold: Some(Hold::new(folder.path().to_owned(), refresh)),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let handler = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = handler.local_addr().unwrap().to_string().parse().unwrap();
        let (updates, pipeline) = (bus.subscribe(), Pipeline::new(parts, settings));
        Self { folder, clock, store, bus, updates, tasks, stop, pipeline, handler, target }
    }

    fn incoming(&self) -> Arc<Incoming> {
        Arc::new(Incoming::plain(&self.clock))
    }

    /// The next request that the handler gets, up to the end of its head.
    async fn request(&self) -> TcpStream {
        self.head().await.0
    }

    /// The same, with its head.
    async fn head(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.handler.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }

    async fn hear(&mut self, what: fn(&Update) -> bool) {
        while !what(&self.updates.recv().await.unwrap()) {}
    }

    fn recorded(&self, number: i64) -> Recorded {
        let reader = Reader::open(self.folder.path()).unwrap().unwrap();
        reader.find(&Selector::Number(number)).unwrap().unwrap()
    }
}

async fn answer(mut stream: TcpStream, status: &str) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn what_is_only_recorded_is_told_even_when_the_sender_has_left() {
    let mut world = World::new(&Settings { parallel: 1, retries: 0, hold: false }).await;
    tokio::select! {
        biased;
        _ = world.pipeline.record_only(world.incoming(), NotForwarded::NoTarget) => panic!("it has to wait for the disk"),
        () = std::future::ready(()) => {}
    }
    world.tasks.close();
    world.tasks.wait().await;
    world.bus.close();
    assert!(matches!(world.updates.recv().await, Ok(Update::Received(_))));
    assert!(matches!(world.updates.recv().await, Ok(Update::NotForwarded(_))));
}

#[tokio::test]
async fn what_waited_and_is_at_its_handler_when_we_end_has_as_long_as_all_others() {
    let world = World::new(&Settings { parallel: 1, retries: 0, hold: true }).await;
    let number = world.store.record_held(world.incoming(), world.target.clone()).await.unwrap().number;
    assert_eq!(world.pipeline.resume().await, std::slice::from_ref(&world.target));
    let request = world.request().await;
    world.stop.cancel();
    world.tasks.close();
    answer(request, "200 OK").await;
    world.tasks.wait().await;
    let delivery = world.recorded(number).delivery;
    assert!(delivery.is_acknowledged() && !delivery.held, "{delivery:?}");
}

#[tokio::test]
async fn what_waited_goes_on_with_the_headers_that_it_is_given_and_is_told_of_with_what_is_said_of_them() {
    let refresh: Refresh =
        Box::new(|_, _| Some(([(&b"X-Fresh"[..], "yes")].into_iter().collect(), "it was old".into())));
    let settings = Settings { parallel: 1, retries: 0, hold: true };
    let mut world = World::within(tempfile::tempdir().unwrap(), &settings, Some(refresh)).await;
    world.store.record_held(world.incoming(), world.target.clone()).await.unwrap();
    world.pipeline.resume().await;
    let (request, head) = world.head().await;
    assert!(head.contains("\r\nX-Fresh: yes\r\n"), "{head}");
    answer(request, "200 OK").await;
    let note = loop {
        if let Update::Attempted(delivery, _) = world.updates.recv().await.unwrap() {
            break delivery.signature_note.clone();
        }
    };
    assert_eq!(note.as_deref(), Some("it was old"));
}

#[tokio::test]
async fn what_waits_is_handed_over_once_though_two_processes_of_a_project_see_it() {
    const MANY: usize = 20;
    let settings = Settings { parallel: 1, retries: 0, hold: true };
    let one = World::new(&settings).await;
    for _ in 0..MANY {
        one.store.record_held(one.incoming(), one.target.clone()).await.unwrap();
    }
    let parts = Parts {
        store: Store::open(one.folder.path()).unwrap(),
        forward: Forward::new(forward::Settings::default(), one.clock.clone(), TaskTracker::new()),
        bus: Bus::new(),
        hold: Some(Hold::new(one.folder.path().to_owned(), None)),
        tasks: one.tasks.clone(),
        stop: one.stop.clone(),
    };
    let other = Pipeline::new(parts, &settings);
    assert_eq!(one.pipeline.resume().await.len() + other.resume().await.len(), 2);
    one.tasks.close();
    let mut requests = 0;
    let all_over = one.tasks.wait();
    let mut all_over = pin!(all_over);
    loop {
        tokio::select! {
            () = &mut all_over => break,
            request = one.request() => {
                requests += 1;
                answer(request, "200 OK").await;
            }
        }
    }
    assert_eq!(requests, MANY);
}

#[tokio::test]
async fn nothing_is_tried_again_while_forwarding_is_paused() {
    let mut world = World::new(&Settings { parallel: 1, retries: 1, hold: false }).await;
    let delivered = world.pipeline.deliver(world.incoming(), world.target.clone(), None);
    let (delivered, ()) = tokio::join!(delivered, async {
        let request = world.request().await;
        // It is as if somebody had pressed the key just now.
        world.pipeline.pause(true);
        answer(request, "500 No").await;
    });
    let number = delivered.unwrap().delivery.number;
    world.hear(|update| matches!(update, Update::Attempted(..))).await;
    let longer = retry::pause(1) + std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(longer, world.request()).await.is_err());
    world.pipeline.pause(false);
    answer(world.request().await, "200 OK").await;
    world.hear(|update| matches!(update, Update::Attempted(_, Then::Over))).await;
    assert!(world.recorded(number).delivery.is_acknowledged());
}

#[tokio::test]
async fn what_an_earlier_run_left_waits_with_the_others_while_forwarding_is_paused() {
    let world = World::new(&Settings { parallel: 1, retries: 0, hold: false }).await;
    let incoming = world.incoming();
    let left = world.store.record(Arc::clone(&incoming)).await.unwrap();
    world.pipeline.pause(true);
    let taken_up = world.pipeline.take_up(incoming, Arc::clone(&left), world.target.clone()).await.unwrap();
    assert!(taken_up.delivery.held && world.recorded(left.number).delivery.held);
    world.pipeline.pause(false);
    answer(world.request().await, "200 OK").await;
    world.stop.cancel();
    world.tasks.close();
    world.tasks.wait().await;
    let delivery = world.recorded(left.number).delivery;
    assert_eq!((delivery.attempts.len(), delivery.is_acknowledged(), delivery.held), (2, true, false));
}
