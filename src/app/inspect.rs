//! The inspector's listener: on loopback, on its usual port or, where that is taken, on any.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listen::ListenError;
use super::state::InspectorToken;
use crate::model::Secret;
use crate::observers::inspector::{self, Inspector, PORT, Parts};
use crate::serve::Listener;

/// An inspector that is bound.
pub struct Inspecting {
    listener: Listener,
    inspector: Inspector,
    token: Secret,
}

impl Inspecting {
    /// Binds `port`, or, without one, the usual port or any that is free.
    pub async fn bind(port: Option<u16>, parts: Parts) -> Result<Self, ListenError> {
        let listener = listener(port).await?;
        let token = inspector::new_token(&parts.clock);
        let inspector = Inspector::new(parts, listener.address().port(), token.clone());
        Ok(Self { listener, inspector, token })
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        self.inspector.url()
    }

    /// The address that lets a browser in.
    pub fn entrance(&self) -> String {
        format!("{}/?token={}", self.url(), self.token.expose())
    }

    /// A handle to it.
    pub fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// What scripts need to ask it.
    pub fn token(&self) -> InspectorToken {
        InspectorToken { url: self.url(), token: self.token.clone() }
    }

    /// Serves until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken, tasks: TaskTracker) {
        self.listener.serve(self.inspector.service(), stop, tasks).await;
    }
}

async fn listener(port: Option<u16>) -> Result<Listener, ListenError> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let usual = address(port.unwrap_or(PORT));
    let bound = match Listener::bind(usual).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && port.is_none() => {
            Listener::bind(address(0)).await
        }
        bound => bound,
    };
    bound.map_err(|source| ListenError::Bind { address: usual, source })
}
