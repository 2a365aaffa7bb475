//! The stream beneath a connection that is HTTP no more.

use std::io;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;

use super::socket::Socket;
use super::stalling::Stalling;
use super::wire_heads::Watched;

/// The connection of a request that was answered 101.
pub struct Upgraded {
    /// The connection, without anything of HTTP around it.
    pub io: Socket,
    /// What was read of it already.
    pub read: Vec<u8>,
}

/// Waits until the answer 101 is on its way.
pub async fn upgraded(upgrade: OnUpgrade) -> io::Result<Upgraded> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = downcast::<TokioIo<Watched<Stalling<Socket>>>>(upgraded);
    let parts = parts.map_err(|_other| io::Error::other("it is not a connection of ours"))?;
    // Copied: it would keep the whole buffer of a request's head, for as long as the connection lasts.
    let read = parts.read_buf.to_vec();
    Ok(Upgraded { io: parts.io.into_inner().into_inner().into_inner(), read })
}
