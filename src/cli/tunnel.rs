//! What `listen` is told of its tunnel, and what it says of it.

use clap::{Args, ValueEnum};

use super::Session;
use super::output::Output;
use super::report::Usage;
use crate::app::listen::Gate;
use crate::model::{Printable, Secret};
use crate::sources::resign::Resign;
use crate::sources::tunnel::{RelayUrl, Settings};
use crate::tunnel::can_be_sent;

#[derive(Debug, Args)]
#[command(next_help_heading = "From the internet")]
pub struct TunnelArgs {
    /// Take what comes to a public URL as well: the URL of a relay (`mbaas-dev relay`), wss://hooks.example.com
    #[arg(long, value_name = "URL", env = "MBAAS_DEV_TUNNEL", hide_env_values = true)]
    tunnel: Option<RelayUrl>,
    /// What the relay lets its users in with
    #[arg(long, value_name = "TOKEN", env = "MBAAS_DEV_ACCESS_TOKEN", hide_env_values = true)]
    access_token: Option<Secret>,
    /// When a v2 event that verified when it came, and then waited at the relay or with --hold, is signed anew for the
    /// handler, with your secret
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ResignArg::Late)]
    resign: ResignArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ResignArg {
    /// When its signature is too old by now: handlers allow five minutes
    Late,
    /// Never: the handler gets what was sent
    Never,
    /// Always
    Always,
}

impl TunnelArgs {
    /// When what comes through it is signed anew.
    pub fn resign(&self) -> Resign {
        match self.resign {
            ResignArg::Late => Resign::Late,
            ResignArg::Never => Resign::Never,
            ResignArg::Always => Resign::Always,
        }
    }

    /// The tunnel that is asked for, with what the state folder has for that relay.
    pub fn settings(&self, session: &Session) -> anyhow::Result<Option<Settings>> {
        let Some(relay) = &self.tunnel else { return Ok(None) };
        check_access(&self.access_token)?;
        let (token, channel) = session.state.tunnel(&relay.to_string(), &session.clock)?;
        let (relay, access) = (relay.clone(), self.access_token.clone());
        Ok(Some(Settings { relay, access, token, channel }))
    }
}

/// Refuses an access token that cannot be sent: the relay would say that there was none.
pub fn check_access<'a>(tokens: impl IntoIterator<Item = &'a Secret>) -> Result<(), Usage> {
    if tokens.into_iter().all(|token| can_be_sent(token.expose())) {
        return Ok(());
    }
    let message =
        "an access token cannot be sent: it may have ASCII characters only, and no space at its ends";
    Err(Usage::new(message, "`openssl rand -hex 32` makes one that can"))
}

/// Says what senders on the internet reach it by, or why they do not yet.
pub fn greet(output: &Output, gate: Option<&Result<Gate, String>>) {
    match gate {
        None => {}
        Some(Ok(gate)) => {
            let public = Printable::text(&gate.public).to_string();
            output.talk(&format!("  public      {}", output.talk_paint.good(&public)));
            if gate.waiting > 0 {
                output.talk(&format!("  waiting     {} that came meanwhile", gate.waiting));
            }
        }
        Some(Err(why)) => {
            output.talk(&format!("  public      not yet: {}; it is tried on", Printable::text(why)));
        }
    }
}
