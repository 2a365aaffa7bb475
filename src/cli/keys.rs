//! What the keys of `listen` do.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::inspector;
use super::keyboard::Keyboard;
use super::output::Output;
use super::screen::Screen;
use crate::model::{Clock, Printable};
use crate::observers::inspector::Inspector;
use crate::pipeline::Pipeline;
use crate::signature::Keyring;
use crate::sources::again::{Again, Repeat, again};
use crate::sources::dispatch::Road;
use crate::store::{Query, Reader, Recorded, Selector, StoreError};

/// What the line of the greeting says.
pub const SHORT: &str = "r replay, o open, f failures, p pause, c clear, q quit, ? help";

/// What `?` says.
const HELP: &str = "  r   replay the last delivery, signed afresh
  o   open the inspector in the browser
  f   show only what failed, or everything again
  p   pause forwarding, or go on: what comes meanwhile waits in the record, and
      its sender gets 202
  c   clear the screen
  q   quit, as Ctrl-C does
  ?   this";

/// What clears a terminal, with what was scrolled out of sight.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J\x1b[3J";

/// What the keys reach.
pub struct Keys {
    /// The keys; none when standard input is no terminal.
    pub keyboard: Option<Keyboard>,
    /// Where things are said.
    pub output: Output,
    /// What is shown.
    pub screen: Screen,
    /// What forwards.
    pub pipeline: Pipeline,
    /// The inspector, if there is one.
    pub inspector: Option<Inspector>,
    /// The way of what is replayed.
    pub road: Arc<Road>,
    /// What it is signed with.
    pub signing: Keyring,
    /// What time it is.
    pub clock: Clock,
    /// The state folder, where the record is.
    pub folder: PathBuf,
    /// What owns the replays under way.
    pub tasks: TaskTracker,
}

impl Keys {
    /// Does what is typed, until it is `q`.
    pub async fn obey(&mut self) {
        while let Some(key) = self.next().await {
            match key {
                'r' => self.replay(),
                'o' => self.open(),
                'f' => {
                    let only = self.screen.toggle_failures_only();
                    self.say(if only {
                        "only failures from here on; f shows everything"
                    } else {
                        "everything again"
                    });
                }
                'p' => {
                    let paused = !self.pipeline.is_paused();
                    self.pipeline.pause(paused);
                    self.say(if paused {
                        "paused: what comes is recorded and waits; p sends it on, in order"
                    } else {
                        "forwarding goes on"
                    });
                }
                'c' if self.output.is_dumb => self.say("this terminal cannot be cleared: TERM is dumb"),
                // The screen notices by itself when nobody reads any more.
                'c' => drop(self.output.write_data(CLEAR)),
                'q' => return,
                '?' | 'h' => self.output.complain(HELP),
                _ => {}
            }
        }
        pending::<()>().await;
    }

    async fn next(&mut self) -> Option<char> {
        self.keyboard.as_mut()?.next().await
    }

    fn open(&self) {
        match &self.inspector {
            Some(inspector) => inspector::open(inspector, &self.output),
            None => self.say("there is no inspector: start `listen` without --no-inspector"),
        }
    }

    /// Sends the last delivery again; what comes of it is shown as everything is.
    fn replay(&self) {
        let (folder, keys, clock) = (self.folder.clone(), self.signing.clone(), self.clock.clone());
        let (road, output) = (Arc::clone(&self.road), self.output.clone());
        self.tasks.spawn(async move {
            let found = tokio::task::spawn_blocking(move || newest(&folder)).await;
            let done = match found {
                Ok(Ok(Some(recorded))) => {
                    let body = recorded.request.body.clone();
                    match again(recorded, body, Repeat::Afresh, &keys, &clock) {
                        Ok(Again { parcel, .. }) => {
                            road.send(&clock, parcel).await.map(drop).map_err(|e| e.to_string())
                        }
                        Err(error) => Err(error.to_string()),
                    }
                }
                Ok(Ok(None)) => Err("nothing was recorded so far".to_owned()),
                Ok(Err(error)) => Err(error.to_string()),
                // The program is ending.
                Err(_) => Ok(()),
            };
            if let Err(reason) = done {
                output.complain(&format!("cannot replay: {}", Printable::text(&reason)));
            }
        });
    }

    fn say(&self, text: &str) {
        self.output.complain(&self.output.talk_paint.faint(text));
    }
}

/// The delivery that was recorded last.
fn newest(folder: &std::path::Path) -> Result<Option<Recorded>, StoreError> {
    let Some(reader) = Reader::open(folder)? else { return Ok(None) };
    match reader.list(&Query { limit: 1, ..Query::default() })?.first() {
        Some(newest) => reader.find(&Selector::Number(newest.number)),
        None => Ok(None),
    }
}
