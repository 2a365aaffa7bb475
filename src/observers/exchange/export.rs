//! Recorded deliveries as one text for other programs, made piece by piece: the whole record may be larger than the memory.

use super::{har, line};
use crate::model::{Printable, Target};
use crate::observers::{request_text, terminal};
use crate::store::Recorded;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line with everything.
    Ndjson,
    /// HAR 1.2.
    Har,
    /// curl commands.
    Curl,
}

/// The next pieces of an export.
#[derive(Debug)]
pub struct Export {
    format: Format,
    /// Where curl commands send to.
    target: Target,
    is_first: bool,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ndjson, Self::Har, Self::Curl];

    /// Its name, as it stands on the command line and in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Har => "har",
            Self::Curl => "curl",
        }
    }

    /// What the names of such files end with.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Har => "har",
            Self::Curl => "sh",
        }
    }
}

impl Export {
    /// An export in that format, with curl commands that send to `target`.
    pub fn new(format: Format, target: Target) -> Self {
        Self { format, target, is_first: true }
    }

    /// What comes first.
    pub fn start(&self) -> &'static str {
        if self.format == Format::Har { har::START } else { "" }
    }

    /// A delivery, as it is given: it is for the caller to take out what must not leave the machine.
    pub fn piece(&mut self, recorded: &Recorded) -> serde_json::Result<Vec<u8>> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        Ok(match self.format {
            Format::Ndjson => format!("{}\n", line(recorded)?).into_bytes(),
            Format::Har => {
                let entries: Vec<String> =
                    har::entries(recorded).into_iter().map(|entry| entry.to_string()).collect();
                let before = if is_first { "" } else { har::BETWEEN };
                format!("{before}{}", entries.join(har::BETWEEN)).into_bytes()
            }
            Format::Curl => {
                let delivery = &recorded.delivery;
                let title = format!("#{} {}", delivery.number, terminal::name(delivery));
                let before = if is_first { "" } else { "\n" };
                let mut piece = format!("{before}# {}\n", Printable::text(&title)).into_bytes();
                piece.extend(request_text::curl(&self.target, &recorded.request));
                piece
            }
        })
    }

    /// What comes last.
    pub fn end(&self) -> &'static str {
        if self.format == Format::Har { har::END } else { "" }
    }
}
