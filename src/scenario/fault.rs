//! The faults that can be asked for, and how they are written: `lose=20%`, `gzip`, `slow=5s`.

use std::str::FromStr;
use std::time::Duration;

use crate::model::{duration, nearest};

/// Every fault: its name, what may follow it, and what it does. Help texts and messages come from here.
pub const FAULTS: [(&str, &str, &str); 12] = [
    ("duplicate", "[=N]", "send each event N more times [1], as the same message, signed afresh"),
    ("reorder", "=N", "shuffle the events within windows of N"),
    ("lose", "=P%", "lose so many of the requests: they never reach the handler"),
    ("lose-first", "=N", "lose the first N attempts at sending each event"),
    ("delay", "=TIME", "wait so long before each request"),
    ("jitter", "=TIME", "wait up to so long more, at random"),
    ("truncate", "[=P%]", "send the first part of the body only [50%], signed as a whole"),
    ("content-type", "=TYPE", "send another Content-Type, or none with `content-type=`"),
    ("gzip", "", "compress the body after it was signed"),
    ("gzip-signed", "", "compress the body and sign what comes of that"),
    ("slow", "=TIME", "let the body take so long on its way; needs --to"),
    ("reset", "[=P%]", "break the connection off after so much of the body [50%]; needs --to"),
];

/// The most copies of an event, and the largest window of events that are shuffled.
const MOST: u32 = 1000;

/// The longest wait, in seconds.
const LONGEST: u64 = 86_400;

/// What goes wrong. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// How many more times each event is sent.
    pub duplicates: u32,
    /// How many events are shuffled at a time; 0 and 1 keep their order.
    pub window: u32,
    /// How many of the requests never arrive.
    pub loss: Share,
    /// How many attempts at sending each event are lost before one arrives.
    pub first_lost: u32,
    /// How long to wait before each request.
    pub delay: Duration,
    /// How much longer at the most, at random.
    pub jitter: Duration,
    /// How much of the body is sent, where not all is.
    pub truncate: Option<Share>,
    /// Another `Content-Type`; an empty one stands for none.
    pub content_type: Option<String>,
    /// Whether the body is compressed, after it was signed or before.
    pub gzip: Option<Signed>,
    /// How long the body takes on its way.
    pub slow: Option<Duration>,
    /// After how much of the body the connection breaks.
    pub reset: Option<Share>,
}

/// What a signature is made over, when the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The body as it was, as a sender does that signs first.
    Plain,
    /// The compressed body, which is what is sent.
    Compressed,
}

/// A share of something, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

/// A fault that there is not, or that cannot be so; a sentence that says what could.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFault(String);

impl Share {
    /// So much of a number of bytes.
    pub fn of(self, bytes: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a body, which is far smaller than 2^52 bytes"
        )]
        let part = (bytes as f64 * self.0) as usize;
        part.min(bytes)
    }

    /// Whether something with this probability happens; `chance` is drawn from 0 to 1.
    pub fn happens(self, chance: f64) -> bool {
        chance < self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
        percent
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| format!("`{}` is not a share such as `20%`", text.escape_debug()))
    }
}

impl Faults {
    /// Adds a fault as it is written; of two of one name, the later counts.
    ///
    /// # Errors
    ///
    /// There is none of that name, or it takes no such value.
    pub fn add(&mut self, text: &str) -> Result<(), BadFault> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        let about = |why: String| BadFault(format!("the fault `{}`: {why}", text.escape_debug()));
        let form = FAULTS.iter().find(|(known, ..)| *known == name).map(|(_, form, _)| *form);
        let form = form.ok_or_else(|| BadFault(unknown(name)))?;
        match (form.chars().next(), value) {
            (None, Some(_)) => return Err(about(format!("`{name}` takes no value"))),
            (Some('='), None) => return Err(about(format!("it needs a value: `{name}{form}`"))),
            _ => {}
        }
        let share = |standard: &str| value.unwrap_or(standard).parse::<Share>();
        match name {
            "duplicate" => self.duplicates = number(value.unwrap_or("1"), 1).map_err(about)?,
            "reorder" => self.window = number(value.unwrap_or_default(), 2).map_err(about)?,
            "lose" => self.loss = share("").map_err(about)?,
            "lose-first" => self.first_lost = number(value.unwrap_or_default(), 1).map_err(about)?,
            "delay" => self.delay = time(value).map_err(about)?,
            "jitter" => self.jitter = time(value).map_err(about)?,
            "truncate" => self.truncate = Some(share("50%").map_err(about)?),
            "content-type" => {
                let value = value.unwrap_or_default();
                if http::HeaderValue::from_str(value).is_err() {
                    return Err(about("the type has control characters".to_owned()));
                }
                self.content_type = Some(value.to_owned());
            }
            "gzip" => self.gzip = Some(Signed::Plain),
            "gzip-signed" => self.gzip = Some(Signed::Compressed),
            "slow" => self.slow = Some(time(value).map_err(about)?),
            _ => self.reset = Some(share("50%").map_err(about)?),
        }
        Ok(())
    }

    /// What they are called, as it is written.
    pub fn names(&self) -> Vec<String> {
        let time = |name: &str, time: Duration| (time > Duration::ZERO).then(|| format!("{name}={time:?}"));
        let share =
            |name: &str, share: Option<Share>| share.map(|share| format!("{name}={}%", share.0 * 100.0));
        let gzip = self.gzip.map(|signed| match signed {
            Signed::Plain => "gzip".to_owned(),
            Signed::Compressed => "gzip-signed".to_owned(),
        });
        let names = [
            (self.duplicates > 0).then(|| format!("duplicate={}", self.duplicates)),
            (self.window > 1).then(|| format!("reorder={}", self.window)),
            share("lose", Some(self.loss).filter(|loss| *loss > Share(0.0))),
            (self.first_lost > 0).then(|| format!("lose-first={}", self.first_lost)),
            time("delay", self.delay),
            time("jitter", self.jitter),
            share("truncate", self.truncate),
            self.content_type.as_ref().map(|content_type| format!("content-type={content_type}")),
            gzip,
            self.slow.and_then(|slow| time("slow", slow)),
            share("reset", self.reset),
        ];
        names.into_iter().flatten().collect()
    }

    /// How long to wait before a request; `chance` is drawn from 0 to 1.
    pub fn wait(&self, chance: f64) -> Duration {
        self.delay + self.jitter.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// Whether any of them needs the connection to the handler itself.
    pub fn concern_the_connection(&self) -> bool {
        self.slow.is_some() || self.reset.is_some()
    }

    /// Whether any of them draws lots.
    pub fn are_random(&self) -> bool {
        self.window > 1 || self.loss > Share(0.0) || self.jitter > Duration::ZERO
    }

    /// Whether any of them takes time that can be compressed.
    pub fn take_time(&self) -> bool {
        self.delay + self.jitter > Duration::ZERO
    }
}

fn unknown(name: &str) -> String {
    let names = FAULTS.map(|(name, ..)| name);
    let hint = match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    format!("there is no fault `{}`; {hint}", name.escape_debug())
}

fn number(text: &str, least: u32) -> Result<u32, String> {
    let number: Option<u32> = text.parse().ok();
    number
        .filter(|number| (least..=MOST).contains(number))
        .ok_or_else(|| format!("`{}` is not a number from {least} to {MOST}", text.escape_debug()))
}

fn time(text: Option<&str>) -> Result<Duration, String> {
    let time = duration(text.unwrap_or_default())?;
    if time > Duration::from_secs(LONGEST) {
        return Err("nothing takes longer than a day".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(texts: &[&str]) -> Result<Faults, String> {
        let mut faults = Faults::default();
        for text in texts {
            faults.add(text).map_err(|error| error.to_string())?;
        }
        Ok(faults)
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        let all =
            ["duplicate", "reorder=5", "lose=20%", "delay=1s", "jitter = 500ms", "truncate", "gzip-signed"];
        let rest = ["lose-first=3", "content-type=text/plain; a=b", "slow=5", "reset=25%"];
        let read = faults(&[&all[..], &rest].concat()).unwrap();
        let expected = Faults {
            duplicates: 1,
            window: 5,
            loss: Share(0.2),
            first_lost: 3,
            delay: Duration::from_secs(1),
            jitter: Duration::from_millis(500),
            truncate: Some(Share(0.5)),
            content_type: Some("text/plain; a=b".to_owned()),
            gzip: Some(Signed::Compressed),
            slow: Some(Duration::from_secs(5)),
            reset: Some(Share(0.25)),
        };
        assert_eq!(read, expected);
        let mut again = Faults::default();
        read.names().iter().for_each(|name| again.add(name).unwrap());
        assert_eq!(again, read, "{:?}", read.names());
        assert_eq!(read.wait(0.5), Duration::from_millis(1250));
        assert!(read.concern_the_connection() && read.are_random() && read.take_time());
        let none = Faults::default();
        assert!(!none.concern_the_connection() && !none.are_random() && !none.take_time());
        assert_eq!(faults(&["gzip", "duplicate=3", "duplicate=2"]).unwrap().duplicates, 2);
    }

    #[test]
    fn every_fault_that_is_listed_can_be_asked_for() {
        for (name, form, _) in FAULTS {
            let value = if form.contains("TIME") {
                "=3s"
            } else if form.contains('%') {
                "=30%"
            } else if form.contains('N') {
                "=3"
            } else {
                form
            };
            let read = faults(&[&format!("{name}{value}")]);
            assert_ne!(read, Ok(Faults::default()), "{name}{value} does nothing");
            assert!(read.is_ok(), "{read:?}");
            assert_eq!(form.starts_with('='), faults(&[name]).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_fault_is_said_with_what_would_be_one() {
        for (text, message) in [
            ("gzp", "there is no fault `gzp`; did you mean `gzip`?"),
            (
                "x=1",
                "there is no fault `x`; there are duplicate, reorder, lose, lose-first, delay, jitter, truncate, content-type, gzip, gzip-signed, slow, reset",
            ),
            ("gzip=9", "the fault `gzip=9`: `gzip` takes no value"),
            ("lose", "the fault `lose`: it needs a value: `lose=P%`"),
            ("lose=120%", "the fault `lose=120%`: `120%` is not a share such as `20%`"),
            ("lose=NaN", "the fault `lose=NaN`: `NaN` is not a share such as `20%`"),
            ("reorder=1", "the fault `reorder=1`: `1` is not a number from 2 to 1000"),
            ("duplicate=0", "the fault `duplicate=0`: `0` is not a number from 1 to 1000"),
            ("slow=soon", "the fault `slow=soon`: `soon` is not a duration such as `30s`, `10m` or `1h 30m`"),
            ("delay=48h", "the fault `delay=48h`: nothing takes longer than a day"),
            ("content-type=a\u{7}b", "the fault `content-type=a\\u{7}b`: the type has control characters"),
        ] {
            assert_eq!(faults(&[text]), Err(message.to_owned()));
        }
    }
}
