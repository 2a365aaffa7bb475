//! What every relay store must do, whatever it is made of. `suite!` runs it all against one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::model::{Headers, Request};
use crate::store::Room;

/// How long something that must come may take, and how long it is waited for what must not come.
const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(60);

/// A store that can be closed and opened again.
struct Bench {
    folder: TempDir,
    store: Arc<dyn RelayStore>,
    clock: Clock,
    open: fn(&TempDir, &Clock) -> Arc<dyn RelayStore>,
    /// What every body is filled up to with spaces, in bytes.
    least: usize,
}

impl Bench {
    fn new(open: fn(&TempDir, &Clock) -> Arc<dyn RelayStore>, least: usize) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::real());
        let store = open(&folder, &clock);
        Self { folder, store, clock, open, least }
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = (self.open)(&self.folder, &self.clock);
    }

    async fn claim(&self, token: u8) -> Claim {
        self.store.claim(claimant(token)).await.unwrap()
    }

    async fn put(&self, channel: ChannelId, body: &str) -> i64 {
        self.store.put(channel, self.message(body)).await.unwrap()
    }

    fn message(&self, body: &str) -> Arc<Message> {
        let headers = Headers::from_iter([("X-B", "1"), ("x-b", "2")]);
        let body = Bytes::from(format!("{body:0$}", self.least));
        let (method, path) = ("POST".to_owned(), "/a?b=1".to_owned());
        let trailers = Headers::from_iter([("X-T", "3")]);
        let request = Request { method, path, headers, body, trailers };
        let id = MessageId::new(&self.clock);
        // As exact as the disk is.
        let arrived_at = Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap();
        Arc::new(Message { id, arrived_at, request })
    }

    /// The bodies of the next messages.
    async fn bodies(&self, claim: &Claim, mut after: i64, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            let stored = self.next(claim, after).await.expect("a message waits");
            after = stored.seq;
            let body = stored.message.request.body.to_vec();
            bodies.push(String::from_utf8(body).unwrap().trim_end().to_owned());
        }
        bodies
    }

    async fn next(&self, claim: &Claim, after: i64) -> Option<Stored> {
        let next = self.store.next(claim.channel, claim.epoch, after);
        timeout(PATIENCE, next).await.ok().map(Result::unwrap)
    }

    async fn nothing_comes(&self, claim: &Claim, after: i64) {
        let next = self.store.next(claim.channel, claim.epoch, after);
        if let Ok(came) = timeout(MOMENT, next).await {
            panic!("{came:?} came");
        }
    }

    /// How many bytes these bodies have.
    fn bytes(&self, bodies: &[&str]) -> u64 {
        bodies.iter().map(|body| body.len().max(self.least) as u64).sum()
    }

    fn waiting(&self) -> (u64, u64) {
        let waiting = self.store.health().waiting;
        (waiting.messages, waiting.bytes)
    }
}

fn claimant(token: u8) -> Claimant {
    Claimant { token: TokenHash([token; 32]), tenant: "team".into(), most_channels: None, has: 0 }
}

fn answer(status: u16) -> Answer {
    let body = http_body_util::Empty::new();
    let body = BoxBody::new(http_body_util::BodyExt::map_err(body, |never| match never {}));
    Response::builder().status(status).body(body).unwrap()
}

async fn the_same_token_gets_the_same_channel_for_ever(mut bench: Bench) {
    let first = bench.claim(1).await;
    let other = bench.claim(2).await;
    assert_ne!(first.channel, other.channel);
    bench.reopen().await;
    let again = bench.claim(1).await;
    assert_eq!(again.channel, first.channel);
    assert!(again.epoch > first.epoch);
}

async fn the_newest_owner_wins_and_older_ones_hear_of_it(bench: Bench) {
    let mut old = bench.claim(1).await;
    assert!(!old.displaced.has_changed().unwrap());
    let new = bench.claim(1).await;
    timeout(PATIENCE, old.displaced.changed()).await.unwrap().ok();
    let seq = bench.put(new.channel, "a").await;
    bench.nothing_comes(&old, 0).await;
    let stored = bench.next(&new, 0).await.unwrap();
    assert_eq!(stored.seq, seq);
    assert!(!bench.store.ack(old.channel, old.epoch, &stored), "an owner of old may not say so");
    bench.store.leave(old.channel, old.epoch);
    assert!(matches!(bench.store.find(new.channel).await, Found::Open { owned: true, .. }));
    assert!(bench.store.ack(new.channel, new.epoch, &stored));
    bench.store.leave(new.channel, new.epoch);
    assert!(matches!(bench.store.find(new.channel).await, Found::Open { owned: false, .. }));
}

async fn many_who_claim_at_once_leave_one_owner(bench: Bench) {
    const CHANNELS: u8 = 100;
    const RACERS: usize = 50;
    let mut racers = Vec::new();
    for token in 0..CHANNELS {
        for _ in 0..RACERS {
            let store = Arc::clone(&bench.store);
            racers.push(
                tokio_util::task::TaskTracker::new()
                    .spawn(async move { store.claim(claimant(token)).await.unwrap() }),
            );
        }
    }
    let mut claims = Vec::new();
    for racer in racers {
        claims.push(racer.await.unwrap());
    }
    let channels: BTreeSet<ChannelId> = claims.iter().map(|claim| claim.channel).collect();
    assert_eq!(channels.len(), usize::from(CHANNELS));
    for channel in &channels {
        bench.put(*channel, "x").await;
    }
    let mut owners = Vec::new();
    for claim in &claims {
        let next = bench.store.next(claim.channel, claim.epoch, 0);
        if claim.displaced.has_changed().is_ok_and(|changed| !changed) {
            owners.push(claim.channel);
            timeout(PATIENCE, next).await.unwrap().unwrap();
        } else {
            // Whoever was displaced gets nothing: it would wait for ever.
            assert!(timeout(Duration::ZERO, next).await.is_err());
        }
    }
    let unique: BTreeSet<ChannelId> = owners.iter().copied().collect();
    assert_eq!((owners.len(), unique), (usize::from(CHANNELS), channels));
    println!("inputs={} violations=0", claims.len());
}

async fn a_channel_stays_with_its_tenant_who_has_so_many(bench: Bench) {
    let of =
        |token, tenant: &str| Claimant { tenant: tenant.into(), most_channels: Some(2), ..claimant(token) };
    bench.store.claim(of(1, "a")).await.unwrap();
    bench.store.claim(of(2, "a")).await.unwrap();
    assert!(matches!(bench.store.claim(of(3, "a")).await, Err(NoClaim::TooMany(2))));
    bench.store.claim(of(1, "a")).await.unwrap();
    bench.store.claim(of(3, "b")).await.unwrap();
    assert!(matches!(bench.store.claim(of(1, "b")).await, Err(NoClaim::NotTheirs)));
}

async fn what_is_given_up_is_nobody_s_any_more(mut bench: Bench) {
    let other = Claimant { tenant: "other".into(), ..claimant(1) };
    let mut claim = bench.claim(1).await;
    let kept = bench.claim(2).await;
    bench.put(claim.channel, "one").await;
    bench.put(kept.channel, "stays").await;
    let give_up = |who, discard| bench.store.give_up(who, discard);
    assert!(matches!(give_up(claimant(9), true).await, Err(NotGivenUp::Nothing)));
    assert!(matches!(give_up(other, true).await, Err(NotGivenUp::NotTheirs)));
    assert!(matches!(give_up(claimant(1), false).await, Err(NotGivenUp::Waiting(1))));
    assert!(!claim.displaced.has_changed().unwrap());
    assert_eq!(give_up(claimant(1), true).await.unwrap(), 1);
    claim.displaced.changed().await.unwrap_or_default();
    assert_eq!(*claim.displaced.borrow(), GIVEN_UP);
    assert!(matches!(give_up(claimant(1), true).await, Err(NotGivenUp::Before)));
    for _ in 0..2 {
        assert_eq!(bench.store.find(claim.channel).await, Found::GivenUp);
        assert!(matches!(bench.store.claim(claimant(1)).await, Err(NoClaim::GivenUp)));
        assert!(bench.store.put(claim.channel, bench.message("x")).await.is_err());
        let health = bench.store.health();
        assert_eq!((bench.waiting(), health.channels), ((1, bench.bytes(&["stays"])), 1));
        bench.nothing_comes(&claim, 0).await;
        bench.reopen().await;
    }
    // Its place is free at once, its name later, and its token gets another one then.
    let limited = |token| Claimant { most_channels: Some(2), ..claimant(token) };
    bench.store.claim(limited(3)).await.unwrap();
    assert_eq!(bench.store.forget_given_up(Timestamp::UNIX_EPOCH).await.unwrap(), 0);
    assert_eq!(bench.store.forget_given_up(Timestamp::MAX).await.unwrap(), 1);
    assert_eq!(bench.store.find(claim.channel).await, Found::Nothing);
    let again = bench.claim(1).await;
    assert_ne!(again.channel, claim.channel);
    let kept = bench.claim(2).await;
    assert_eq!(bench.bodies(&kept, 0, 1).await, ["stays"]);
}

async fn no_owner_of_old_has_a_say(bench: Bench) {
    const OWNERS: usize = 10;
    let mut claims = Vec::new();
    for _ in 0..OWNERS {
        claims.push(bench.claim(1).await);
    }
    let newest = claims.pop().unwrap();
    let mut waiting: Vec<Stored> = Vec::new();
    for number in 0..112 {
        bench.put(newest.channel, &number.to_string()).await;
        let after = waiting.last().map_or(0, |stored| stored.seq);
        waiting.push(bench.next(&newest, after).await.unwrap());
    }
    let (mut acks, mut taken) = (0, 0);
    for old in &claims {
        for stored in &waiting {
            taken += usize::from(bench.store.ack(old.channel, old.epoch, stored));
            acks += 1;
        }
        bench.store.leave(old.channel, old.epoch);
    }
    // Nor has one of a channel that was given up.
    let (gone, stored) = (bench.claim(2).await, waiting[0].clone());
    bench.put(gone.channel, "x").await;
    bench.store.give_up(claimant(2), true).await.unwrap();
    taken += usize::from(bench.store.ack(gone.channel, gone.epoch, &stored));
    assert_eq!((taken, bench.waiting().0), (0, waiting.len() as u64));
    println!("inputs={} violations={taken} (S18)", acks + 1);
}

async fn unknown_channels_are_not_found(bench: Bench) {
    assert_eq!(bench.store.find(ChannelId::new(&bench.clock)).await, Found::Nothing);
    assert!(bench.store.put(ChannelId::new(&bench.clock), bench.message("x")).await.is_err());
}

async fn a_message_comes_out_as_it_went_in(mut bench: Bench) {
    let claim = bench.claim(1).await;
    let message = bench.message("{\"é\": \u{1f399}}");
    let seq = bench.store.put(claim.channel, Arc::clone(&message)).await.unwrap();
    let from_memory = bench.next(&claim, 0).await.unwrap();
    bench.reopen().await;
    let claim = bench.claim(1).await;
    assert_eq!(claim.waiting, 1);
    let from_disk = bench.next(&claim, 0).await.unwrap();
    for stored in [from_memory, from_disk] {
        assert_eq!(stored.seq, seq);
        assert_eq!(stored.message.request, message.request);
        assert_eq!((stored.message.id, stored.message.arrived_at), (message.id, message.arrived_at));
    }
}

async fn what_came_before_and_after_the_owner_comes_in_order(bench: Bench) {
    let claim = bench.claim(1).await;
    bench.store.leave(claim.channel, claim.epoch);
    let mut last = 0;
    for number in 0..150 {
        last = bench.put(claim.channel, &number.to_string()).await;
    }
    let claim = bench.claim(1).await;
    // What is behind that number did not wait, whatever clocks say.
    assert_eq!((claim.waiting, claim.last), (150, last));
    let first = bench.bodies(&claim, 0, 10).await;
    for number in 150..300 {
        bench.put(claim.channel, &number.to_string()).await;
    }
    let all = bench.bodies(&claim, 0, 300).await;
    assert_eq!(all, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(first, all[..10]);
}

async fn a_reader_waits_for_what_comes(bench: Bench) {
    let claim = bench.claim(1).await;
    bench.nothing_comes(&claim, 0).await;
    let (store, reader) = (Arc::clone(&bench.store), claim.clone());
    let read = tokio_util::task::TaskTracker::new().spawn(async move {
        let (mut after, mut seqs) = (0, Vec::new());
        while seqs.len() < 200 {
            after = store.next(reader.channel, reader.epoch, after).await.unwrap().seq;
            seqs.push(after);
        }
        seqs
    });
    let mut put = Vec::new();
    for number in 0..200 {
        put.push(bench.put(claim.channel, &number.to_string()).await);
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(timeout(PATIENCE, read).await.unwrap().unwrap(), put);
}

async fn channels_do_not_mix(bench: Bench) {
    let claims = [bench.claim(1).await, bench.claim(2).await, bench.claim(3).await];
    for number in 0..60 {
        bench.put(claims[number % 3].channel, &number.to_string()).await;
    }
    for (index, claim) in claims.iter().enumerate() {
        let expected: Vec<String> = (0..20).map(|number| (number * 3 + index).to_string()).collect();
        assert_eq!(bench.bodies(claim, 0, 20).await, expected);
    }
}

async fn what_is_delivered_is_forgotten_for_good_and_the_rest_stays(mut bench: Bench) {
    let claim = bench.claim(1).await;
    let mut all = Vec::new();
    for number in 0..90 {
        let seq = bench.put(claim.channel, &number.to_string()).await;
        all.push(bench.next(&claim, all.last().map_or(0, |stored: &Stored| stored.seq)).await.unwrap());
        assert_eq!(all.last().unwrap().seq, seq);
    }
    for stored in all.iter().filter(|stored| stored.seq % 3 != 0) {
        assert!(bench.store.ack(claim.channel, claim.epoch, stored));
        assert!(bench.store.ack(claim.channel, claim.epoch, stored), "twice is once");
    }
    let left: Vec<String> =
        (0..90).filter(|number| all[*number].seq % 3 == 0).map(|number| number.to_string()).collect();
    assert_eq!(bench.bodies(&claim, 0, left.len()).await, left);
    bench.reopen().await;
    assert_eq!(bench.waiting().0, left.len() as u64);
    let claim = bench.claim(1).await;
    assert_eq!(bench.bodies(&claim, 0, left.len()).await, left);
    bench.nothing_comes(&claim, all[89].seq).await;
}

async fn numbers_are_never_given_twice(mut bench: Bench) {
    let claim = bench.claim(1).await;
    let seq = bench.put(claim.channel, "a").await;
    let stored = bench.next(&claim, 0).await.unwrap();
    bench.store.ack(claim.channel, claim.epoch, &stored);
    bench.reopen().await;
    let claim = bench.claim(1).await;
    assert!(bench.put(claim.channel, "b").await > seq);
    let ahead = Claimant { has: 5_000, ..claimant(1) };
    let claim = bench.store.claim(ahead).await.unwrap();
    assert!(bench.put(claim.channel, "c").await > 5_000, "somebody has more than an old backup knows of");
    assert_eq!(bench.bodies(&claim, 0, 2).await, ["b", "c"]);
}

async fn a_rewind_gives_what_waits_still(bench: Bench) {
    let claim = bench.claim(1).await;
    for number in 0..5 {
        bench.put(claim.channel, &number.to_string()).await;
    }
    assert_eq!(bench.bodies(&claim, 0, 5).await, ["0", "1", "2", "3", "4"]);
    let first = bench.next(&claim, 0).await.unwrap();
    assert_eq!(bench.bodies(&claim, first.seq, 4).await, ["1", "2", "3", "4"]);
    bench.put(claim.channel, "5").await;
    assert_eq!(bench.bodies(&claim, 0, 6).await, ["0", "1", "2", "3", "4", "5"]);
}

async fn an_answer_reaches_who_waits_for_it(bench: Bench) {
    let (asked, other) = (MessageId::new(&bench.clock), MessageId::new(&bench.clock));
    let call = bench.store.call(asked);
    bench.store.answer(other, answer(500));
    bench.store.answer(asked, answer(207));
    bench.store.answer(asked, answer(500));
    assert_eq!(call.answer.await.unwrap().status(), 207);
    let given_up = bench.store.call(other);
    drop(given_up.hang_up);
    bench.store.answer(other, answer(200));
    assert!(given_up.answer.await.is_err());
}

async fn what_is_too_old_goes_and_nothing_else(bench: Bench) {
    let claim = bench.claim(1).await;
    for number in 0..700 {
        bench.put(claim.channel, &number.to_string()).await;
    }
    let in_flight = bench.next(&claim, 0).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let now = bench.clock.now();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let young = bench.put(claim.channel, "young").await;
    assert_eq!(bench.store.expire(now).await.unwrap(), 700);
    assert_eq!(bench.waiting(), (1, bench.bytes(&["young"])));
    assert_eq!(bench.next(&claim, 0).await.unwrap().seq, young);
    assert!(bench.store.ack(claim.channel, claim.epoch, &in_flight), "it was on its way");
    assert_eq!(bench.waiting(), (1, bench.bytes(&["young"])));
    assert_eq!(bench.store.expire(now).await.unwrap(), 0);
}

async fn what_waits_is_counted(mut bench: Bench) {
    let (one, other) = (bench.claim(1).await, bench.claim(2).await);
    bench.put(one.channel, "four").await;
    bench.put(one.channel, "seven..").await;
    bench.put(other.channel, "x").await;
    for _ in 0..2 {
        let waiting = |found| match found {
            Found::Open { waiting, .. } => (waiting.messages, waiting.bytes),
            Found::Nothing | Found::GivenUp => panic!("it is gone"),
        };
        let [of_one, of_other] = [bench.bytes(&["four", "seven.."]), bench.bytes(&["x"])];
        assert_eq!(waiting(bench.store.find(one.channel).await), (2, of_one));
        assert_eq!(waiting(bench.store.find(other.channel).await), (1, of_other));
        let health = bench.store.health();
        assert_eq!((bench.waiting(), health.channels, health.writes), ((3, of_one + of_other), 2, true));
        assert!(health.bytes_on_disk > 0);
        bench.reopen().await;
    }
}

async fn large_ones_come_out_too(bench: Bench) {
    let claim = bench.claim(1).await;
    let bodies: Vec<String> = (1..=6)
        .map(|number| char::from(b'a' + number).to_string().repeat(usize::from(number) << 20))
        .collect();
    bench.store.leave(claim.channel, claim.epoch);
    for body in &bodies {
        bench.put(claim.channel, body).await;
    }
    let claim = bench.claim(1).await;
    assert!(bench.bodies(&claim, 0, 6).await == bodies);
}

async fn nothing_works_after_the_end(bench: Bench) {
    let claim = bench.claim(1).await;
    bench.store.close().await;
    bench.store.close().await;
    assert!(bench.store.put(claim.channel, bench.message("x")).await.is_err());
    assert!(bench.store.claim(claimant(2)).await.is_err());
}

/// Makes tests of each function, with stores that `$open` opens: one with bodies as small as can be, one with large ones.
macro_rules! suite {
    ($open:expr => $($test:ident)+) => {
        suite!(small 0, $open => $($test)+);
        suite!(large 40_000, $open => $($test)+);
    };
    ($size:ident $least:literal, $open:expr => $($test:ident)+) => {
        mod $size {
            use super::super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::super::$test(super::super::Bench::new($open, $least)).await;
                }
            )+
        }
    };
}

mod sqlite {
    suite! {
        |folder, clock| {
            let key = Key::new(&[3; 32], clock.clone());
            Arc::new(SqliteRelay::open(folder.path(), key, Room::ALL, clock.clone()).unwrap())
        } =>
        the_same_token_gets_the_same_channel_for_ever
        the_newest_owner_wins_and_older_ones_hear_of_it
        many_who_claim_at_once_leave_one_owner
        a_channel_stays_with_its_tenant_who_has_so_many
        what_is_given_up_is_nobody_s_any_more
        no_owner_of_old_has_a_say
        unknown_channels_are_not_found
        a_message_comes_out_as_it_went_in
        what_came_before_and_after_the_owner_comes_in_order
        a_reader_waits_for_what_comes
        channels_do_not_mix
        what_is_delivered_is_forgotten_for_good_and_the_rest_stays
        numbers_are_never_given_twice
        a_rewind_gives_what_waits_still
        an_answer_reaches_who_waits_for_it
        what_is_too_old_goes_and_nothing_else
        what_waits_is_counted
        large_ones_come_out_too
        nothing_works_after_the_end
    }
}
