//! What a person reads: one aligned line for each delivery, and below it what went wrong.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::advice::{hints, note, preview, size};
use super::paint::Paint;
use crate::model::{
    Attempt, Clock, Delivery, EventType, Kind, Meanwhile, NotForwarded, Outcome, Printable, Then, Trouble,
    Update, Verdict,
};

/// A terminal that is narrower than this gets the shorter line.
const WIDE: usize = 110;

/// How lines are written.
#[derive(Clone, Debug)]
pub struct Style {
    /// Colour or none.
    pub paint: Paint,
    /// The zone of times.
    pub zone: TimeZone,
    /// How many columns a line may have; `None` where nobody counts them.
    pub width: Option<usize>,
}

/// The times of a list, which may reach back over days, or of a stream, which does not.
#[derive(Clone, Copy)]
enum Times {
    Dated,
    OfToday,
}

/// The indentation of what stands below a delivery's line, where there is room for it.
const BELOW: &str = "              ";

impl Style {
    /// The lines for an update; none when it is of no interest by itself.
    pub fn lines(&self, update: &Update) -> Vec<String> {
        match update {
            Update::Fired(..) | Update::Received(_) => Vec::new(),
            Update::Attempted(delivery, then) => {
                let mut lines = self.delivery(delivery);
                if let Then::AgainIn(pause) = then {
                    lines.extend(self.below(&format!("tried again in {}", latency(*pause))));
                }
                lines
            }
            Update::NotForwarded(delivery) => {
                let mut lines = vec![self.line(delivery)];
                lines.extend(delivery.not_forwarded.iter().flat_map(|why| self.below(&not_forwarded(*why))));
                lines.extend(note(delivery).iter().flat_map(|note| self.below(&format!("hint: {note}"))));
                lines
            }
            Update::Held(delivery) => {
                let mut lines = vec![self.line(delivery)];
                lines.extend(self.below("held, and sent on in order"));
                lines
            }
            Update::TargetDown(target, detail, meanwhile) => {
                let mut lines =
                    vec![self.paint.bad(format!("✗ {target} is down: {}", Printable::text(detail)))];
                lines.extend(self.below(match meanwhile {
                    Meanwhile::Fails => {
                        "what comes meanwhile is recorded: `mbaas-dev replay --failed` sends it"
                    }
                    Meanwhile::Waits => "what comes meanwhile waits, and goes on in order when it is back",
                }));
                lines
            }
            Update::TargetUp(target) => vec![self.paint.good(format!("✓ {target} is back"))],
            Update::TunnelUp(public, waiting) => {
                let public = Printable::text(public);
                let mut lines = vec![self.paint.good(format!("✓ the tunnel is open: {public}"))];
                if *waiting > 0 {
                    lines.extend(self.below(&format!("what came meanwhile follows: {waiting}")));
                }
                lines
            }
            // It is tried over and over; once is enough to know.
            Update::TunnelDown(loss) if !loss.is_news => Vec::new(),
            Update::TunnelDown(loss) => {
                let mut lines = vec![self.paint.bad(format!("✗ no tunnel: {}", Printable::text(&loss.why)))];
                lines.extend(self.below(if loss.has_channel {
                    "it is opened again as soon as it can be; the relay keeps what comes meanwhile"
                } else {
                    "it is opened as soon as it can be"
                }));
                lines
            }
            Update::Trouble(trouble) => self.trouble(trouble),
        }
    }

    /// The lines for a delivery: its own, and below it what went wrong.
    pub fn delivery(&self, delivery: &Delivery) -> Vec<String> {
        let mut lines = vec![self.line(delivery)];
        lines.extend(hints(delivery, None).iter().flat_map(|hint| self.below(&format!("hint: {hint}"))));
        lines
    }

    /// The line for a delivery.
    pub fn line(&self, delivery: &Delivery) -> String {
        self.columns(delivery, Times::OfToday)
    }

    /// A line of a list, which may reach back over days.
    pub fn dated_line(&self, delivery: &Delivery) -> String {
        self.columns(delivery, Times::Dated)
    }

    /// The line for a step of a scenario: its place, its time, its event, and what became of it.
    pub fn step(
        &self,
        (number, of): (usize, usize),
        at: Duration,
        title: &str,
        delivery: Option<&Delivery>,
    ) -> String {
        let place = self.paint.faint(format!(
            "{number:>3}/{of:<3} {:>4}:{:02}",
            at.as_secs() / 60,
            at.as_secs() % 60
        ));
        let title = self.paint.strong(format!("{:<40}", Printable::text(title).to_string()));
        let Some(delivery) = delivery else {
            return format!("{place}  {title}  {}", self.paint.odd("lost on the way"));
        };
        let attempt = over(delivery);
        let latency = attempt.map(|attempt| latency(attempt.duration)).unwrap_or_default();
        let line = format!("{place}  {title}  {} {latency:>8}", self.status(delivery, 7));
        if self.is_narrow() {
            line
        } else {
            self.with_answer(&format!("{line}  #{:<5}", delivery.number), attempt)
        }
    }

    /// The line for a request that was lost on its way, of which there is no delivery.
    pub fn lost(&self, kind: &Kind, clock: &Clock) -> String {
        let now = clock.now().to_zoned_datetime(self.zone.clone());
        let format = if self.is_narrow() { "%H:%M:%S" } else { "%H:%M:%S%.3f" };
        let time = self.paint.faint(now.strftime(format).to_string());
        let name = kind.event_type.as_ref().map_or("event", EventType::as_str);
        let gap = if self.is_narrow() { " " } else { "  " };
        format!(
            "{time}{gap}{}{gap}{}",
            self.paint.strong(format!("{name:<23}")),
            self.paint.odd("lost on the way")
        )
    }

    /// Text that stands below a line: indented, and wrapped at words.
    pub fn below(&self, text: &str) -> Vec<String> {
        self.paragraph(text, self.indent())
    }

    /// Text with that indentation, wrapped at words.
    pub fn paragraph(&self, text: &str, indent: &str) -> Vec<String> {
        let width = self.width.map_or(usize::MAX, |width| width.saturating_sub(indent.len()).max(20));
        // What stands between backticks is for pasting: it is not taken apart at its hyphens.
        let options = textwrap::Options::new(width)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .break_words(false);
        textwrap::wrap(text, options)
            .iter()
            .map(|line| format!("{indent}{}", self.paint.odd(&**line)))
            .collect()
    }

    /// The indentation of what stands below a delivery's line.
    pub fn indent(&self) -> &'static str {
        if self.is_narrow() { &BELOW[..9] } else { BELOW }
    }

    fn is_narrow(&self) -> bool {
        self.width.is_some_and(|width| width < WIDE)
    }

    fn columns(&self, delivery: &Delivery, times: Times) -> String {
        let attempt = over(delivery);
        let received = delivery.received_at.to_zoned_datetime(self.zone.clone());
        let format = match (times, self.is_narrow()) {
            (Times::Dated, false) => "%Y-%m-%d %H:%M:%S",
            (Times::Dated, true) => "%d %H:%M:%S",
            (Times::OfToday, false) => "%H:%M:%S%.3f",
            (Times::OfToday, true) => "%H:%M:%S",
        };
        let time = self.paint.faint(received.strftime(format).to_string());
        let number = format!("#{}", delivery.number);
        let latency = attempt.map(|attempt| latency(attempt.duration)).unwrap_or_default();
        let size = size(delivery.body_bytes);
        let line = if self.is_narrow() {
            let (name, status) = (self.name(delivery, 23), self.status(delivery, 7));
            let signature = self.signature(delivery.signature, 7);
            format!("{time} {name} {number:<5} {status} {latency:>8} {signature} {size:>8}")
        } else {
            let (name, status) = (self.name(delivery, 23), self.status(delivery, 8));
            let signature = self.signature(delivery.signature, 9);
            let origin = delivery.origin.as_str();
            format!(
                "{time}  {name}  {number:<6}  {origin:<8}  {status}  {latency:>9}  {signature}  {size:>9}"
            )
        };
        self.with_answer(&line, attempt)
    }

    /// The line with a glance at the answer, as far as there is room for it.
    fn with_answer(&self, line: &str, attempt: Option<&Attempt>) -> String {
        let answer = match attempt.map(|attempt| &attempt.outcome) {
            Some(Outcome::Answered(answer)) => preview(answer).unwrap_or_default(),
            _ => String::new(),
        };
        let used = || textwrap::core::display_width(line) + 2;
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(used()));
        if answer.is_empty() || room < 8 {
            return line.trim_end().to_owned();
        }
        format!("{line}  {}", self.paint.faint(Printable::text(&answer).cut(room)))
    }

    fn name(&self, delivery: &Delivery, width: usize) -> String {
        self.paint.strong(format!("{:<width$}", name(delivery)))
    }

    fn status(&self, delivery: &Delivery, width: usize) -> String {
        match over(delivery).map(|attempt| &attempt.outcome) {
            Some(outcome @ Outcome::Answered(answer)) if outcome.is_acknowledged() => {
                self.paint.good(format!("{:<width$}", answer.status))
            }
            Some(Outcome::Answered(answer)) => self.paint.bad(format!("{:<width$}", answer.status)),
            Some(Outcome::Failed(failure)) => self.paint.bad(format!("{:<width$}", failure.kind.as_str())),
            None if delivery.held => self.paint.odd(format!("{:<width$}", "held")),
            None => self.paint.faint(format!("{:<width$}", "-")),
        }
    }

    fn signature(&self, verdict: Verdict, width: usize) -> String {
        let word = format!("{:<width$}", verdict.as_str());
        match verdict {
            Verdict::Valid => self.paint.good(&word),
            Verdict::Invalid | Verdict::Missing => self.paint.odd(&word),
            Verdict::Unchecked => self.paint.faint(&word),
        }
    }

    fn trouble(&self, trouble: &Trouble) -> Vec<String> {
        let message = format!("error: {}", Printable::text(&trouble.message));
        let mut lines = vec![self.paint.bad(&message)];
        if !trouble.hint.is_empty() {
            lines.extend(self.below(&format!("hint: {}", Printable::text(&trouble.hint))));
        }
        lines
    }
}

/// Why a delivery was not forwarded, for people.
pub fn not_forwarded(why: NotForwarded) -> String {
    let reason = match why {
        NotForwarded::Unverified => "its signature is not valid (--verify strict)",
        NotForwarded::Filtered => "nothing subscribes to this event type",
        NotForwarded::Disabled => "its endpoint is disabled, or names no handler on this machine",
        NotForwarded::NoTarget => "there is no target (--forward)",
        NotForwarded::Incomplete => "its sender broke off before the body was complete",
        NotForwarded::TooLarge => "its body is larger than --max-body, and it is recorded without it",
    };
    format!("not forwarded: {reason}")
}

/// The attempt that a delivery ended with. What waits is not over: that its target was away at first is told with the target.
fn over(delivery: &Delivery) -> Option<&Attempt> {
    delivery.last_attempt().filter(|_| !delivery.held)
}

/// What a delivery is called: its event type, or else its method and path.
pub fn name(delivery: &Delivery) -> String {
    match delivery.kind.event_type.as_ref().map(EventType::as_str) {
        Some(event_type) => event_type.to_owned(),
        None => format!(
            "{} {}",
            Printable::text(&delivery.method).cut(8),
            Printable::text(&delivery.path).cut(14)
        ),
    }
}

/// A duration for people.
pub fn latency(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 1000.0 { format!("{millis:.1} ms") } else { format!("{:.2} s", millis / 1000.0) }
}
