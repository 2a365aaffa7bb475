//! Ports, the running `listen`, and the handler behind it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::Check;
use crate::forward;
use crate::model::{Failure, FailureKind, Place, Printable, Target};

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a port of ours is free, or taken by the running `listen`.
pub fn port(number: u16, of: &'static str, listen: Option<&Target>) -> Check {
    let name = "ports";
    let is_ours = matches!(listen.map(Target::place), Some(Place::Tcp { port, .. }) if *port == number);
    if is_ours {
        return Check::good(name, format!("{number} ({of}) is taken by the running listen"));
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, number)) {
        Ok(_) => Check::good(name, format!("{number} ({of}) is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && listen.is_some() => {
            Check::good(name, format!("{number} ({of}) is taken, while a listen of this project runs"))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::finding(
            name,
            format!("{number} ({of}) is taken by another program"),
            format!(
                "`ss -ltnp 'sport = :{number}'` (or `lsof -i :{number}`) tells which; or give another port"
            ),
        ),
        Err(error) => {
            Check::finding(name, format!("{number} ({of}) cannot be had: {error}"), "give another port")
        }
    }
}

/// Whether the running `listen` takes connections.
pub async fn listen(ingress: Option<&Target>) -> Check {
    let Some(ingress) = ingress else { return Check::good("listen", "none is running in this project") };
    match reach(ingress).await {
        Ok(()) => Check::good("listen", format!("it takes connections at {ingress}")),
        Err(failure) => Check::finding(
            "listen",
            format!("it runs, but {}", failure.detail),
            "end it (Ctrl-C in its terminal) and start it again",
        ),
    }
}

/// Whether there is a handler at `target`, also for those who mean only one of the two families of addresses.
pub async fn handler(target: &Target) -> Check {
    let name = "handler";
    let shown = Printable::text(&target.to_string()).to_string();
    let (families, written) = match target.place() {
        Place::Tcp { tls: false, host, port }
            if ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) =>
        {
            let (four, six) = (Target::local("127.0.0.1", *port), Target::local("::1", *port));
            ([reach(&four).await.is_ok(), reach(&six).await.is_ok()], host.as_str())
        }
        _ => {
            return match reach(target).await {
                Ok(()) => Check::good(name, format!("it takes connections at {shown}")),
                Err(failure) => Check::finding(
                    name,
                    Printable::text(&failure.detail).to_string(),
                    "start it, or correct --forward",
                ),
            };
        }
    };
    match (families, written) {
        ([false, false], _) => {
            Check::finding(name, format!("nobody listens at {shown}"), "start it, or correct --forward")
        }
        ([false, true], "127.0.0.1") => Check::finding(
            name,
            format!("it listens on ::1 only, and {shown} means 127.0.0.1"),
            "forward to localhost instead, which means both, or let the handler listen on 127.0.0.1",
        ),
        ([true, false], "::1") => Check::finding(
            name,
            format!("it listens on 127.0.0.1 only, and {shown} means ::1"),
            "forward to localhost instead, which means both",
        ),
        ([false, true], _) => {
            Check::good(name, format!("it takes connections at {shown}, on ::1 only: 127.0.0.1 would not do"))
        }
        _ => Check::good(name, format!("it takes connections at {shown}")),
    }
}

/// Connects, and says nothing.
async fn reach(target: &Target) -> Result<(), Failure> {
    tokio::time::timeout(PATIENCE, forward::reach(target)).await.unwrap_or_else(|_elapsed| {
        let detail = format!("there is no connection to {} within {PATIENCE:?}", target.authority());
        Err(Failure { kind: FailureKind::Timeout, detail })
    })
}
