//! What `listen` shows: a line for each delivery, on a thread of its own, and the sums at the end.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio_util::sync::CancellationToken;

use super::Session;
use super::output::{Output, Volume};
use crate::bus::Subscription;
use crate::model::Update;
use crate::observers::difference::Detail;
use crate::observers::firings::Firings;
use crate::observers::follow::follow;
use crate::observers::goal::{Goal, Reached};
use crate::observers::json_lines;
use crate::observers::tally::Tally;
use crate::observers::terminal::Style;

/// What is shown of the deliveries, and summed up at the end.
#[derive(Clone)]
pub struct Screen {
    output: Output,
    style: Style,
    json: bool,
    stop: CancellationToken,
    seen: Arc<Mutex<Seen>>,
    /// Whether only failures are shown.
    failures_only: Arc<AtomicBool>,
}

/// What the deliveries so far amount to.
#[derive(Default)]
struct Seen {
    tally: Tally,
    goal: Goal,
    reached: Option<Reached>,
    /// Why nothing can be shown any more.
    unprinted: Option<io::Error>,
}

impl Seen {
    /// Counts an update; whether what was waited for has come with it.
    fn count(&mut self, update: &Update) -> bool {
        self.tally.count(update);
        if self.reached.is_some() {
            return false;
        }
        self.reached = self.goal.count(update);
        self.reached.is_some()
    }
}

impl Screen {
    /// Shows deliveries on the session's output; cancels `stop` when nobody reads that any more.
    pub(super) fn new(session: &Session, json: bool, goal: Goal, stop: CancellationToken) -> Self {
        let style = session.style();
        let seen = Arc::new(Mutex::new(Seen { goal, ..Seen::default() }));
        let failures_only = Arc::default();
        Self { output: session.output.clone(), style, json, stop, seen, failures_only }
    }

    /// Shows only failures from now on, or everything again; whether it is only failures.
    pub fn toggle_failures_only(&self) -> bool {
        !self.failures_only.fetch_xor(true, Ordering::Relaxed)
    }

    /// Follows the updates on a thread of its own: a terminal that stands still delays nobody but it.
    pub fn watch(&self, updates: Subscription, folder: &Path) -> io::Result<thread::JoinHandle<()>> {
        let (output, style, json) = (self.output.clone(), self.style.clone(), self.json);
        let detail = if output.volume >= Volume::Verbose { Detail::Whole } else { Detail::Glance };
        let (stop, seen, folder) = (self.stop.clone(), Arc::clone(&self.seen), folder.to_owned());
        let failures_only = Arc::clone(&self.failures_only);
        thread::Builder::new().name("screen".to_owned()).spawn(move || {
            let mut firings = Firings::default();
            follow(updates, &folder, |updates| {
                let mut text = String::new();
                let mut reached = false;
                for update in updates {
                    let since = firings.compare(update, &folder);
                    reached |= seen.lock().unwrap_or_else(PoisonError::into_inner).count(update);
                    if failures_only.load(Ordering::Relaxed) && !update.is_of_failure() {
                        continue;
                    }
                    let lines = if json {
                        json_lines::lines(update, since.as_ref())
                    } else {
                        let below = since.map(|since| since.lines(detail, style.paint)).unwrap_or_default();
                        let below = below.iter().map(|line| format!("{}{line}", style.indent()));
                        style.lines(update).into_iter().chain(below).collect()
                    };
                    for line in lines {
                        text += &line;
                        text.push('\n');
                    }
                }
                let printed = if text.is_empty() { Ok(()) } else { output.write_data(text.as_bytes()) };
                let goes_on = printed.is_ok();
                seen.lock().unwrap_or_else(PoisonError::into_inner).unprinted = printed.err();
                if reached || !goes_on {
                    stop.cancel();
                }
                if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        })
    }

    /// Whether what was waited for has come.
    pub fn reached(&self) -> Option<Reached> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).reached
    }

    /// Prints the sums; fails when something could not be shown.
    pub fn sum_up(&self, output: &Output) -> anyhow::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let unprinted = seen.unprinted.take();
        if !self.json {
            output.talk("");
            output.talk(&seen.tally.sentence());
            seen.tally.hint().iter().for_each(|hint| output.talk(hint));
        } else if unprinted.is_none() {
            output.data(&serde_json::to_string(&seen.tally.summary())?)?;
        }
        unprinted.map_or(Ok(()), |error| Err(error.into()))
    }
}
