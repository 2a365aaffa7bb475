//! WebSockets as streams of bytes: the handshakes of both sides, and a stream that other protocols run over.

mod byte_stream;
mod handshake;
mod lent;

pub use self::byte_stream::ByteStream;
pub use self::handshake::{NotOpened, accept, answer, open};
pub use self::lent::lend;

/// What the other side is asked to speak, and must agree to.
pub const SUBPROTOCOL: &str = "mbaas-dev.tunnel.v1";

/// Codes that a WebSocket is closed with (RFC 6455 §7.4); those from 4000 on are ours.
pub mod code {
    /// Whoever closes is going away: it stops.
    pub const AWAY: u16 = 1001;
    /// What lets the other side in is not good any more.
    pub const NOT_LET_IN: u16 = 4401;
    /// A newer connection owns the channel.
    pub const DISPLACED: u16 = 4409;
    /// The channel was given up.
    pub const GIVEN_UP: u16 = 4410;
}
