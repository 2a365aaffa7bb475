//! What a watcher of the record was told already: so that it hears everything once, over the bus or from the record.

use std::collections::BTreeMap;

use super::super::follow::updates_of;
use crate::model::{Delivery, Then, Update};
use crate::store::{Query, Reader, StoreError};

/// How many deliveries are read at a time.
const PAGE: i64 = 250;

/// How many deliveries are remembered; of older ones, an update that comes twice is told twice.
const MOST: usize = 20_000;

/// How many deliveries that are not over are looked at again when nothing says that they changed.
const MOST_OPEN: usize = 100;

/// How far a delivery has come; it only ever grows.
type Stage = u32;

const RECEIVED: Stage = 1;
const OVER: Stage = Stage::MAX;

/// What was told so far.
#[derive(Debug)]
pub struct Told {
    /// Everything up to this number was told, as far as it had come.
    up_to: i64,
    /// The deliveries that are not over, and the newest others.
    stages: BTreeMap<i64, Known>,
}

/// A page of what was not told yet.
#[derive(Debug)]
pub struct Page {
    /// What is news.
    pub news: Vec<Update>,
    /// Whether there is no more in the record.
    pub is_last: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { news: Vec::new(), is_last: true }
    }
}

#[derive(Clone, Copy, Debug)]
struct Known {
    stage: Stage,
    is_open: bool,
}

impl Told {
    /// As if everything up to `after` had been told, of which the deliveries `open` were not over.
    pub fn new(after: i64, open: impl IntoIterator<Item = i64>) -> Self {
        let open = open.into_iter().map(|number| (number, Known { stage: RECEIVED, is_open: true }));
        Self { up_to: after, stages: open.take(MOST).collect() }
    }

    /// Whether an update is news; from then on it is not any more.
    pub fn is_news(&mut self, update: &Update) -> bool {
        let Some((delivery, stage, is_open)) = stage_of(update) else { return true };
        let number = delivery.number;
        let is_news = match self.stages.get(&number) {
            Some(known) => stage > known.stage,
            None => number > self.up_to || stage > RECEIVED,
        };
        if is_news {
            self.note(number, Known { stage, is_open });
        }
        is_news
    }

    /// What of the next page of the record is news, oldest first, and what came of what was not over.
    pub fn next_page(&mut self, reader: &Reader) -> Result<Page, StoreError> {
        let last = newest(reader)?;
        let mut news = self.look_again(reader)?;
        let until = last.min(self.up_to.saturating_add(PAGE));
        if until > self.up_to {
            news.extend(self.news_of(between(reader, self.up_to, until)?));
            self.up_to = until;
            self.tidy();
        }
        Ok(Page { news, is_last: until >= last })
    }

    fn look_again(&mut self, reader: &Reader) -> Result<Vec<Update>, StoreError> {
        let open = self.stages.iter().rev().filter(|(_, known)| known.is_open);
        let mut open: Vec<i64> = open.map(|(number, _)| *number).take(MOST_OPEN).collect();
        open.reverse();
        let mut found = Vec::new();
        for number in open {
            let read = between(reader, number - 1, number)?;
            if read.is_empty() {
                self.stages.remove(&number);
            }
            found.extend(read);
        }
        Ok(self.news_of(found))
    }

    fn news_of(&mut self, deliveries: Vec<Delivery>) -> Vec<Update> {
        deliveries.into_iter().flat_map(updates_of).filter(|update| self.is_news(update)).collect()
    }

    fn note(&mut self, number: i64, known: Known) {
        self.stages.insert(number, known);
        // Numbers mostly come in their order: the record need not be asked for those.
        while self.stages.contains_key(&(self.up_to + 1)) {
            self.up_to += 1;
        }
        if self.stages.len() > MOST {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        while self.stages.len() > MOST {
            let over = self.stages.iter().find(|(_, known)| !known.is_open).map(|(number, _)| *number);
            let oldest = self.stages.keys().next().copied();
            let Some(number) = over.or(oldest) else { return };
            self.stages.remove(&number);
        }
    }
}

/// The number of the newest delivery.
pub fn newest(reader: &Reader) -> Result<i64, StoreError> {
    let newest = reader.list(&Query { limit: 1, ..Query::default() })?;
    Ok(newest.first().map_or(0, |delivery| delivery.number))
}

/// The deliveries with numbers above `after` and up to `until`, oldest first.
fn between(reader: &Reader, after: i64, until: i64) -> Result<Vec<Delivery>, StoreError> {
    let limit = usize::try_from(until.saturating_sub(after)).unwrap_or_default();
    let query = Query { after: Some(after), before: Some(until + 1), limit, ..Query::default() };
    let mut deliveries = reader.list(&query)?;
    deliveries.reverse();
    Ok(deliveries)
}

/// The delivery that an update is about, how far that has come, and whether more may come of it.
fn stage_of(update: &Update) -> Option<(&Delivery, Stage, bool)> {
    let tries = |delivery: &Delivery| 2 * Stage::try_from(delivery.attempts.len()).unwrap_or(Stage::MAX / 4);
    match update {
        Update::Received(delivery) => Some((delivery, RECEIVED, true)),
        Update::Attempted(delivery, then) => Some((delivery, tries(delivery) + 1, *then != Then::Over)),
        Update::Held(delivery) => Some((delivery, tries(delivery) + 2, true)),
        Update::NotForwarded(delivery) => Some((delivery, OVER, false)),
        Update::Fired(..)
        | Update::TargetDown(..)
        | Update::TargetUp(_)
        | Update::TunnelUp(..)
        | Update::TunnelDown(_)
        | Update::Trouble(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Answer, Attempt, Clock, Headers, Incoming, Outcome};
    use crate::store::{Imported, Importer};

    fn clock() -> Clock {
        Clock::fixed("2026-11-24T02:18:24Z".parse().unwrap(), 1)
    }

    fn imported(clock: &Clock, has_attempt: bool) -> Imported {
        let answer = Answer { status: 200, headers: Headers::new(), body: Bytes::new(), cut: false };
        let attempt = Attempt {
            number: 1,
            target: "http://localhost/".to_owned(),
            started_at: clock.now(),
            duration: Duration::ZERO,
            outcome: Outcome::Answered(answer),
        };
        Imported {
            incoming: Incoming::plain(clock),
            attempts: has_attempt.then_some(attempt).into_iter().collect(),
        }
    }

    /// What happens, in any order: the next delivery is recorded, the bus tells an update of it, the record is read.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Record { has_attempt: bool },
        Tell { number: usize, is_end: bool },
        Look,
    }

    fn a_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<bool>().prop_map(|has_attempt| Step::Record { has_attempt }),
            (0..12_usize, any::<bool>()).prop_map(|(number, is_end)| Step::Tell { number, is_end }),
            Just(Step::Look),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn everything_is_told_once_whatever_the_bus_drops(steps in proptest::collection::vec(a_step(), 1..40)) {
            let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
            let mut importer = Importer::open(folder.path()).unwrap();
            let reader = Reader::open(folder.path()).unwrap().unwrap();
            let mut told = Told::new(0, []);
            let mut recorded: Vec<Imported> = Vec::new();
            let mut heard: HashMap<(i64, Stage), usize> = HashMap::new();
            let mut hear = |update: &Update| {
                let (delivery, stage, _) = stage_of(update).unwrap();
                *heard.entry((delivery.number, stage)).or_default() += 1;
            };
            for step in steps.into_iter().chain([Step::Look]) {
                match step {
                    Step::Record { has_attempt } => {
                        let one = imported(&clock, has_attempt);
                        importer.add(std::slice::from_ref(&one)).unwrap();
                        recorded.push(one);
                    }
                    Step::Tell { number, is_end } => {
                        let Some(one) = recorded.get(number) else { continue };
                        let number = i64::try_from(number).unwrap() + 1;
                        let delivery = Delivery::recorded(&one.incoming, number);
                        let update = if is_end && !one.attempts.is_empty() {
                            let attempts = one.attempts.iter().cloned().map(std::sync::Arc::new).collect();
                            Update::Attempted(std::sync::Arc::new(Delivery { attempts, ..delivery }), Then::Over)
                        } else {
                            Update::Received(std::sync::Arc::new(delivery))
                        };
                        if told.is_news(&update) {
                            hear(&update);
                        }
                    }
                    Step::Look => {
                        let page = told.next_page(&reader).unwrap();
                        prop_assert!(page.is_last);
                        page.news.iter().for_each(&mut hear);
                    }
                }
            }
            for (number, one) in (1..).zip(&recorded) {
                let ends = heard.get(&(number, 3)).copied().unwrap_or_default();
                let comings = heard.get(&(number, RECEIVED)).copied().unwrap_or_default();
                prop_assert_eq!(ends, one.attempts.len(), "the end of {}", number);
                // Whose end is heard first has come.
                prop_assert!(comings == 1 || (comings == 0 && ends == 1), "the coming of {}", number);
            }
        }
    }

    #[test]
    fn whoever_resumes_gets_what_came_since_in_pages_and_the_end_of_what_was_open() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
        let all: Vec<Imported> = (0..1000).map(|_| imported(&clock, true)).collect();
        Importer::open(folder.path()).unwrap().add(&all).unwrap();
        let reader = Reader::open(folder.path()).unwrap().unwrap();
        let mut told = Told::new(400, [7, 2000]);
        let mut numbers = Vec::new();
        loop {
            let page = told.next_page(&reader).unwrap();
            assert!(page.news.len() <= 2 * 250 + 2);
            numbers.extend(page.news.iter().filter_map(|update| match update {
                Update::Attempted(delivery, _) => Some(delivery.number),
                _ => None,
            }));
            if page.is_last {
                break;
            }
        }
        assert!(numbers.into_iter().eq([7].into_iter().chain(401..=1000)));
    }
}
