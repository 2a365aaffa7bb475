//! The words of the product, as plain data: no files, no sockets, no tasks.
//!
//! A *delivery* is one webhook request; an *attempt* is one try at handing it to a *target*; its *outcome* is an
//! answer or a failure. A *contract* is one of the ways in which Meeting BaaS sends; an *event type* is the name
//! that a user subscribes to, a *wire event* the value of `event` in the body.

mod attempt;
mod clock;
mod contract;
mod delivery;
mod event;
mod filter;
mod headers;
mod nearest;
mod printable;
mod relayed;
mod secret;
mod shape;
mod span;
mod speed;
mod target;
mod update;

pub use attempt::{Answer, Attempt, Failure, FailureKind, KEPT_ANSWER_BYTES, Outcome, SHOWN_ANSWER_BYTES};
pub use clock::{Clock, Tick};
pub use contract::Contract;
pub use delivery::{Delivery, DeliveryId, Incoming, Kind, NotForwarded, Origin, Request, Verdict};
pub use event::{BadName, EventName, EventType};
pub use filter::{BadFilter, EventFilter};
pub use headers::Headers;
pub use nearest::nearest;
pub use printable::{Printable, printable_json, printable_lines};
pub use relayed::{ChannelId, Line, NotAChannel, Relayed};
pub use secret::{Secret, is_same_secretly};
pub use shape::{FORMAT_VERSION, millis};
pub use span::{duration, span};
pub use speed::Speed;
pub use target::{BadTarget, Place, Target};
pub use update::{Meanwhile, Then, Trouble, TunnelLoss, TunnelState, TunnelStatus, Update};
