//! Lists: each filter by itself, then any of them together against a model without indexes.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::tempdir;

use super::texts::fill;
use super::*;
use crate::model::Contract;
use crate::store::Came;

const EVENTS: [&str; 4] = ["bot.completed", "bot.failed", "meeting.completed", "x"];
const PATTERNS: [&str; 9] =
    ["*", "bot.*", "?", "*.completed", "bot.failed", "*[b]*", "nothing", "b?t.*d", "*e*"];
const ORIGINS: [Origin; 3] = [Origin::Ingress, Origin::Replay, Origin::Trigger];
const BOTS: [&str; 2] = ["b1", "B22"];
const TEXTS: [&str; 4] = ["alpha", "Beta", "gamma%", "delta_1"];

/// A delivery of the model, with what it was recorded from.
#[derive(Clone, Debug)]
struct Row {
    event: Option<&'static str>,
    contract: Option<Contract>,
    origin: Origin,
    received: i64,
    signature: Verdict,
    /// It repeats the one at this place, when that is before it.
    replays: Option<usize>,
    /// Per attempt its status; none stands for no answer.
    attempts: Vec<Option<u16>>,
    /// Where a text stands: path, header, body or answer.
    text: Option<(&'static str, usize)>,
    /// The bot that its body is about.
    bot: Option<&'static str>,
    /// Whether body and last answer are large.
    large: bool,
    /// Whether the last attempt is recorded at the very end.
    late: bool,
}

impl Row {
    fn plain() -> Self {
        Self {
            event: None,
            contract: None,
            origin: Origin::Ingress,
            received: 0,
            signature: Verdict::Unchecked,
            replays: None,
            attempts: Vec::new(),
            text: None,
            bot: None,
            large: false,
            late: false,
        }
    }

    /// A body of this row that ends with `text`.
    fn body(&self, text: &str) -> Bytes {
        Bytes::from("\u{1F600}\0".repeat(if self.large { 8_000 } else { 1 }) + text)
    }

    fn failed(&self) -> bool {
        self.attempts.last().is_some_and(|status| status.is_none_or(|status| !(200..300).contains(&status)))
    }

    fn came_to(&self, came: Came) -> bool {
        let class = |status: &Option<u16>| status.map(|status| status / 100);
        match (came, self.attempts.last().map(class)) {
            (Came::Nothing, last) => last.is_none(),
            (Came::Acknowledged, last) => last == Some(Some(2)),
            (Came::Failed, _) => self.failed(),
            (Came::Unanswered, last) => last == Some(None),
            (Came::Status(class), last) => last == Some(Some(class)),
        }
    }

    fn text_at(&self, place: usize) -> &'static str {
        self.text.filter(|(_, at)| *at == place).map_or("", |(text, _)| text)
    }

    fn incoming(&self, clock: &Clock, ids: &[DeliveryId]) -> Incoming {
        let mut incoming = incoming(clock);
        incoming.received_at = moment(self.received);
        incoming.origin = self.origin;
        incoming.signature = self.signature;
        incoming.replay_of = self.replays.and_then(|at| ids.get(at)).cloned();
        incoming.kind.contract = self.contract;
        incoming.kind.event_type = self.event.map(|event| event.parse().unwrap());
        incoming.request.path = format!("/{}", self.text_at(0));
        incoming.request.headers.push("x-text", self.text_at(1));
        let bot = self.bot.map(|bot| format!("\"{bot}\"")).unwrap_or_default();
        incoming.request.body = self.body(&(bot + self.text_at(2)));
        incoming
    }

    fn attempts(&self) -> impl Iterator<Item = Attempt> {
        (1..).zip(&self.attempts).map(|(number, status)| match status {
            None => refused(number),
            Some(status) => {
                let mut attempt = answered(number, *status);
                if let Outcome::Answered(answer) = &mut attempt.outcome
                    && self.attempts.len() as u64 == u64::from(number)
                {
                    // What a handler says about a bot does not count.
                    answer.body = self.body(&format!("\"{}\"{}", BOTS[0], self.text_at(3)));
                }
                attempt
            }
        })
    }

    /// Whether a text can be found in it.
    fn has_text(&self, text: &str) -> bool {
        let (own, at) = self.text.unwrap_or(("", 0));
        let is_kept = at < 3 || self.attempts.last().is_some_and(Option::is_some);
        is_kept && own.to_lowercase().contains(&text.to_lowercase())
    }
}

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, text @ ..]) => fits(rest, text),
        ([first, rest @ ..], [c, text @ ..]) => first == c && fits(rest, text),
        _ => false,
    }
}

/// What a list should have, by trying everything on every row.
fn expected(rows: &[Row], query: &Query) -> Vec<i64> {
    let is_asked_for = |number: i64, row: &Row| {
        let at = usize::try_from(number - 1).unwrap();
        let is_replayed =
            || rows[at + 1..].iter().any(|later| later.replays == Some(at) && !later.attempts.is_empty());
        query.event.as_ref().is_none_or(|pattern| {
            pattern == "*" || row.event.is_some_and(|event| fits(pattern.as_bytes(), event.as_bytes()))
        }) && query.contract.is_none_or(|contract| row.contract == Some(contract))
            && query.origin.is_none_or(|origin| row.origin == origin)
            && (!query.failed || row.failed())
            && (!query.unresolved || row.failed() && !is_replayed())
            && query.came.is_none_or(|came| row.came_to(came))
            && query.signature.is_none_or(|verdict| row.signature == verdict)
            && query.since.is_none_or(|since| moment(row.received) >= since)
            && query.until.is_none_or(|until| moment(row.received) < until)
            && query.search.as_ref().is_none_or(|text| row.has_text(text))
            && query.bot.as_ref().is_none_or(|bot| row.bot.is_some_and(|own| own.eq_ignore_ascii_case(bot)))
            && query.before.is_none_or(|before| number < before)
            && query.after.is_none_or(|after| number > after)
    };
    let numbered = (1..).zip(rows).filter(|(number, row)| is_asked_for(*number, row));
    let mut numbers: Vec<i64> = numbered.map(|(number, _)| number).collect();
    numbers.reverse();
    numbers.into_iter().skip(query.offset).take(query.limit).collect()
}

/// Records the rows; so many of them are in the text index by then.
async fn record_rows(folder: &Path, rows: &[Row], indexed: usize) {
    let store = Store::open(folder).unwrap();
    let clock = clock(1);
    let (mut ids, mut late) = (Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        if at == indexed {
            fill(folder);
        }
        let incoming = row.incoming(&clock, &ids);
        let number = record(&store, &incoming).await;
        let mut attempts: Vec<Attempt> = row.attempts().collect();
        late.extend(attempts.pop_if(|_| row.late).map(|attempt| (number, attempt)));
        for attempt in attempts {
            record_attempt(&store, number, attempt).await;
        }
        ids.push(incoming.id);
    }
    if rows.len() <= indexed {
        fill(folder);
    }
    for (number, attempt) in late {
        record_attempt(&store, number, attempt).await;
    }
    store.close().await;
}

/// A list of everything that fits.
fn any() -> Query {
    Query { limit: usize::MAX, ..Query::default() }
}

fn rows() -> Vec<Row> {
    vec![
        Row { event: Some("bot.completed"), attempts: vec![Some(500)], ..Row::plain() },
        Row { event: Some("bot.failed"), attempts: vec![Some(500), Some(204)], received: 50, ..Row::plain() },
        Row { contract: Some(Contract::V1), attempts: vec![None], received: 10, ..Row::plain() },
        Row {
            origin: Origin::Replay,
            replays: Some(0),
            attempts: vec![Some(302)],
            received: 20,
            ..Row::plain()
        },
        Row {
            event: Some("meeting.completed"),
            text: Some(("Beta", 3)),
            attempts: vec![Some(200)],
            ..Row::plain()
        },
        Row { event: Some("bot.completed"), text: Some(("gamma%", 1)), bot: Some("b1"), ..Row::plain() },
    ]
}

#[tokio::test]
async fn each_filter_by_itself() {
    let folder = tempdir().unwrap();
    record_rows(folder.path(), &rows(), 0).await;
    let reader = reader(folder.path());
    let list = |query: Query| numbers(&reader.list(&query).unwrap());
    let nothing = Vec::<i64>::new();
    assert_eq!(list(any()), [6, 5, 4, 3, 2, 1]);
    assert_eq!(list(Query { event: Some("bot.completed".to_owned()), ..any() }), [6, 1]);
    assert_eq!(list(Query { event: Some("*".to_owned()), ..any() }), [6, 5, 4, 3, 2, 1]);
    assert_eq!(list(Query { event: Some("?*".to_owned()), ..any() }), [6, 5, 2, 1]);
    assert_eq!(list(Query { event: Some("bot.*".to_owned()), ..any() }), [6, 2, 1]);
    assert_eq!(list(Query { event: Some("bot.[cf]*".to_owned()), ..any() }), nothing);
    assert_eq!(list(Query { contract: Some(Contract::V1), ..any() }), [3]);
    assert_eq!(list(Query { origin: Some(Origin::Replay), ..any() }), [4]);
    assert_eq!(list(Query { failed: true, ..any() }), [4, 3, 1]);
    assert_eq!(list(Query { unresolved: true, ..any() }), [4, 3]);
    assert_eq!(list(Query { since: Some(moment(20)), ..any() }), [4, 2]);
    assert_eq!(list(Query { since: Some(moment(51)), ..any() }), nothing);
    assert_eq!(list(Query { search: Some("bEtA".to_owned()), ..any() }), [5]);
    assert_eq!(list(Query { search: Some("A%".to_owned()), ..any() }), [6]);
    assert_eq!(list(Query { bot: Some("b1".to_owned()), ..any() }), [6]);
    assert_eq!(list(Query { bot: Some("b1".to_owned()), search: Some("beta".to_owned()), ..any() }), nothing);
    assert_eq!(list(Query { came: Some(Came::Unanswered), ..any() }), [3]);
    assert_eq!(list(Query { came: Some(Came::Status(3)), ..any() }), [4]);
    assert_eq!(list(Query { came: Some(Came::Acknowledged), ..any() }), [5, 2]);
    assert_eq!(list(Query { signature: Some(Verdict::Valid), ..any() }), nothing);
    assert_eq!(list(Query { until: Some(moment(20)), ..any() }), [6, 5, 3, 1]);
    assert_eq!(list(Query { offset: 4, ..any() }), [2, 1]);
    assert_eq!(list(Query { before: Some(3), ..any() }), [2, 1]);
    assert_eq!(list(Query { after: Some(4), ..any() }), [6, 5]);
    assert_eq!(list(Query { after: Some(1), limit: 2, ..any() }), [6, 5]);
    assert_eq!(list(Query::default()), nothing);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let folder = tempdir().unwrap();
    let rows: Vec<Row> = (0..10).map(|i| Row { event: Some(EVENTS[i % 2]), ..Row::plain() }).collect();
    record_rows(folder.path(), &rows, 0).await;
    let reader = reader(folder.path());
    let mut query = Query { event: Some("bot.*".to_owned()), limit: 3, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = numbers(&reader.list(&query).unwrap());
        let Some(last) = page.last() else { break };
        query.before = Some(*last);
        seen.extend(page);
    }
    assert!(seen.into_iter().eq((1..=10).rev()));
}

#[tokio::test]
async fn a_pattern_that_fits_very_many_event_types_works_too() {
    let folder = tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = clock(1);
    for i in 0..40 {
        let mut one = incoming(&clock);
        one.kind.event_type = Some(format!("custom.{i}").parse().unwrap());
        record(&store, &one).await;
    }
    let query = Query { event: Some("custom.*".to_owned()), ..any() };
    assert_eq!(reader(folder.path()).list(&query).unwrap().len(), 40);
    assert_eq!(reader(folder.path()).list(&Query { limit: 2, ..query }).unwrap().len(), 2);
}

fn a_row() -> impl Strategy<Value = Row> {
    let status = select(vec![None, Some(100), Some(200), Some(299), Some(300), Some(500)]);
    (
        option::of(select(&EVENTS[..])),
        option::of(select(&Contract::ALL[..2])),
        select(&ORIGINS[..]),
        0..10_i64,
        select(vec![Verdict::Valid, Verdict::Missing]),
        option::of(0..8_usize),
        vec(status, 0..3),
        option::of((select(&TEXTS[..]), 0..4_usize)),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.4),
        option::of(select(&BOTS[..])),
    )
        .prop_map(
            |(event, contract, origin, received, signature, replays, attempts, text, large, late, bot)| Row {
                event,
                contract,
                origin,
                received,
                signature,
                replays,
                attempts,
                text,
                bot,
                large,
                late,
            },
        )
}

fn a_query() -> impl Strategy<Value = Query> {
    let text = select(vec!["ALPHA", "eta", "A%", "a_1", "mma%", "nothing"]);
    let came = select(vec![
        Came::Acknowledged,
        Came::Failed,
        Came::Unanswered,
        Came::Nothing,
        Came::Status(1),
        Came::Status(2),
        Came::Status(5),
    ]);
    let newer = (
        option::weighted(0.3, came),
        option::weighted(0.2, select(vec![Verdict::Valid, Verdict::Missing])),
        option::weighted(0.2, 0..11_i64),
        select(vec![0, 0, 0, 1, 5]),
        option::weighted(0.2, select(vec!["b1", "b", "b22"])),
    );
    (
        option::of(select(&PATTERNS[..])),
        option::weighted(0.3, select(&Contract::ALL[..2])),
        option::weighted(0.3, select(&ORIGINS[..])),
        proptest::bool::weighted(0.3),
        proptest::bool::weighted(0.3),
        option::weighted(0.3, 0..11_i64),
        option::weighted(0.5, text),
        option::weighted(0.3, -1..14_i64),
        option::weighted(0.3, -1..14_i64),
        select(vec![0, 1, 3, usize::MAX]),
        newer,
    )
        .prop_map(
            |(event, contract, origin, failed, unresolved, since, search, before, after, limit, newer)| {
                Query {
                    event: event.map(str::to_owned),
                    contract,
                    origin,
                    failed,
                    unresolved,
                    since: since.map(moment),
                    search: search.map(str::to_owned),
                    before,
                    after,
                    limit,
                    came: newer.0,
                    signature: newer.1,
                    until: newer.2.map(moment),
                    offset: newer.3,
                    bot: newer.4.map(str::to_owned),
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_list_has_what_trying_everything_on_every_row_finds(
        mut rows in vec(a_row(), 0..12),
        queries in vec(a_query(), 40),
        indexed in 0..14_usize,
    ) {
        for (at, row) in rows.iter_mut().enumerate() {
            row.replays = row.replays.filter(|replayed| *replayed < at);
        }
        let folder = tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(record_rows(folder.path(), &rows, indexed));
        let reader = reader(folder.path());
        for query in queries {
            let found = numbers(&reader.list(&query).unwrap());
            prop_assert_eq!(found, expected(&rows, &query), "{:?}", query);
            if query.search.is_none() && query.bot.is_none() {
                let all = Query { limit: usize::MAX, offset: 0, ..query.clone() };
                let fit = u64::try_from(expected(&rows, &all).len()).unwrap();
                prop_assert_eq!(reader.count(&query).unwrap(), fit, "{:?}", query);
            }
        }
    }
}
