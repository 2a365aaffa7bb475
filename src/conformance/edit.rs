//! Bodies that handlers have to take as they come: other scripts, other sizes, what does not exist yet.

use crate::json::{Json, Path};
use crate::model::Contract;

/// What is different about a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A name in it has everything that encoders treat differently.
    Unicode,
    /// It is about 1 MiB long.
    Large,
    /// It has fields that its contract does not.
    ExtraField,
    /// It says that it is an event that does not exist.
    UnknownEvent,
}

/// How the event of a contract comes to be so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edited {
    /// How long the meeting takes, in minutes, where that decides how long the transcript is.
    pub minutes: Option<u32>,
    /// What is set, and where.
    pub sets: Vec<(Path, Json)>,
}

/// A person's name: an umlaut as two characters, joined emoji, a line separator, and what some writers escape.
const NAME: &str = "Zoe\u{308} 👩🏽\u{200d}💻 \u{2028} <Müller & Söhne> 株式会社";

/// How many minutes of talk make a MiB.
const LONG: u32 = 150;

/// A name that no event and no field has.
const NEW: &str = "something.new";

impl Edit {
    /// How it is done to the main event of a contract; `None` where it makes no sense.
    pub fn of(self, contract: Contract) -> Option<Edited> {
        let has_transcript = matches!(contract, Contract::Preview | Contract::V1);
        let is_alert = contract == Contract::Alert;
        let sets = match self {
            Self::Unicode => vec![(name_in(contract), Json::string(NAME))],
            // No alert is that long, and none has an event that could be another.
            Self::Large | Self::UnknownEvent if is_alert => return None,
            Self::Large if has_transcript => {
                return Some(Edited { minutes: Some(LONG), ..Edited::default() });
            }
            // As large as whoever made the bot wants it to be.
            Self::Large => vec![("extra.notes", Json::string(&"0123456789abcdef".repeat(65_536)))],
            Self::ExtraField if is_alert => vec![("something_new", Json::Null)],
            Self::ExtraField => {
                vec![("something_new", Json::Null), ("data.something_new", Json::string("of tomorrow"))]
            }
            Self::UnknownEvent if has_transcript => {
                vec![("event", Json::string(NEW)), ("data.event", Json::string(NEW))]
            }
            Self::UnknownEvent => vec![("event", Json::string(NEW))],
        };
        let path = |text: &str| text.parse().expect("the paths above are some");
        let sets = sets.into_iter().map(|(text, value)| (path(text), value)).collect();
        Some(Edited { minutes: None, sets })
    }
}

/// Where the main event of a contract has the name of a person, or one that a person gave.
fn name_in(contract: Contract) -> &'static str {
    match contract {
        Contract::Preview | Contract::V1 => "data.speakers[0]",
        Contract::V2 | Contract::Callback => "data.speakers[0].name",
        Contract::Alert => "alert_rule_name",
    }
}
