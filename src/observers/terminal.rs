//! What a person reads: one aligned line for each delivery, and below it what went wrong.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::advice::{advice, preview, size};
use super::paint::Paint;
use crate::model::{
    Attempt, Delivery, EventType, NotForwarded, Outcome, Printable, Trouble, Update, Verdict,
};

/// How lines are written.
#[derive(Clone, Debug)]
pub struct Style {
    /// Colour or none.
    pub paint: Paint,
    /// The zone of times.
    pub zone: TimeZone,
}

/// The indentation of what stands below a delivery's line.
const BELOW: &str = "              ";

impl Style {
    /// The lines for an update; none when it is of no interest by itself.
    pub fn lines(&self, update: &Update) -> Vec<String> {
        match update {
            Update::Received(_) => Vec::new(),
            Update::Attempted(delivery) => self.delivery(delivery),
            Update::NotForwarded(delivery, why) => {
                let reason = match why {
                    NotForwarded::Unverified => "not forwarded: its signature is not valid (--verify strict)",
                    NotForwarded::Filtered => "not forwarded: nothing subscribes to this event type",
                    NotForwarded::Disabled => {
                        "not forwarded: its endpoint is disabled, or names no handler on this machine"
                    }
                    NotForwarded::NoTarget => "not forwarded: there is no target",
                };
                vec![self.line(delivery, None), self.below(reason)]
            }
            Update::Trouble(trouble) => self.trouble(trouble),
        }
    }

    /// The lines for a delivery: its own, and below it what went wrong.
    pub fn delivery(&self, delivery: &Delivery) -> Vec<String> {
        let mut lines = vec![self.line(delivery, delivery.last_attempt())];
        if let Some(advice) = advice(delivery) {
            lines.push(self.below(&format!("hint: {advice}")));
        }
        lines
    }

    /// A line of a list, which may reach back over days.
    pub fn dated_line(&self, delivery: &Delivery) -> String {
        self.columns(delivery, delivery.last_attempt(), "%Y-%m-%d %H:%M:%S")
    }

    fn line(&self, delivery: &Delivery, attempt: Option<&Attempt>) -> String {
        self.columns(delivery, attempt, "%H:%M:%S%.3f")
    }

    fn columns(&self, delivery: &Delivery, attempt: Option<&Attempt>, time_format: &str) -> String {
        let time =
            delivery.received_at.to_zoned_datetime(self.zone.clone()).strftime(time_format).to_string();
        let (status, good) = match attempt.map(|attempt| &attempt.outcome) {
            Some(outcome @ Outcome::Answered(answer)) => {
                (answer.status.to_string(), Some(outcome.is_acknowledged()))
            }
            Some(Outcome::Failed(failure)) => (failure.kind.as_str().to_owned(), Some(false)),
            None => ("-".to_owned(), None),
        };
        let status = format!("{status:<8}");
        let status = match good {
            Some(true) => self.paint.good(&status),
            Some(false) => self.paint.bad(&status),
            None => self.paint.faint(&status),
        };
        let latency = attempt.map(|attempt| latency(attempt.duration)).unwrap_or_default();
        let signature = format!("{:<9}", delivery.signature.as_str());
        let signature = match delivery.signature {
            Verdict::Valid => self.paint.good(&signature),
            Verdict::Invalid | Verdict::Missing => self.paint.odd(&signature),
            Verdict::Unchecked => self.paint.faint(&signature),
        };
        let answer = match attempt.map(|attempt| &attempt.outcome) {
            Some(Outcome::Answered(answer)) => preview(answer).unwrap_or_default(),
            _ => String::new(),
        };
        let line = format!(
            "{}  {}  {:<6}  {:<8}  {status}  {latency:>9}  {signature}  {:>9}  {}",
            self.paint.faint(&time),
            self.paint.strong(&format!("{:<23}", name(delivery))),
            format!("#{}", delivery.number),
            delivery.origin.as_str(),
            size(delivery.body_bytes),
            self.paint.faint(&answer),
        );
        line.trim_end().to_owned()
    }

    fn trouble(&self, trouble: &Trouble) -> Vec<String> {
        let message = format!("error: {}", Printable::text(&trouble.message));
        let mut lines = vec![self.paint.bad(&message)];
        if !trouble.hint.is_empty() {
            lines.push(self.below(&format!("hint: {}", Printable::text(&trouble.hint))));
        }
        lines
    }

    fn below(&self, text: &str) -> String {
        format!("{BELOW}{}", self.paint.odd(text))
    }
}

/// What a delivery is called: its event type, or else its method and path.
pub fn name(delivery: &Delivery) -> String {
    match delivery.kind.event_type.as_ref().map(EventType::as_str) {
        Some(event_type) => event_type.to_owned(),
        None => format!("{} {}", Printable::text(&delivery.method), Printable::text(&delivery.path).cut(18)),
    }
}

/// A duration for people.
pub fn latency(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 1000.0 { format!("{millis:.1} ms") } else { format!("{:.2} s", millis / 1000.0) }
}
