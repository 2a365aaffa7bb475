//! `mbaas-dev relay doctor`

use clap::Args;

use crate::app::doctor::relay;
use crate::cli::report::Exit;
use crate::cli::tunnel::check_access;
use crate::cli::{Session, doctor, roads};
use crate::model::Secret;
use crate::sources::tunnel::RelayUrl;

/// Look at a relay from outside, and say what is wrong with it or with the web server before it
///
/// Connects as a `listen` would: certificate, clock, store, limits, a tunnel, a signed request to the public URL and its answer
/// back, a body as large as may be. The channel that it gets for this is given up again. The exit code is 1 when something
/// was found, and 6 when no `listen` could have a tunnel.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The URL of the relay, as for `listen --tunnel`
    #[arg(value_name = "URL", env = "MBAAS_DEV_TUNNEL", hide_env_values = true)]
    relay: RelayUrl,
    /// What the relay lets its users in with
    #[arg(long, value_name = "TOKEN", env = "MBAAS_DEV_ACCESS_TOKEN", hide_env_values = true)]
    access_token: Option<Secret>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: DoctorArgs, session: &Session) -> anyhow::Result<Exit> {
    let DoctorArgs { relay: url, access_token, json } = arguments;
    check_access(&access_token)?;
    let examined = roads::runtime()?.block_on(relay::examine(&url, access_token, &session.clock));
    for check in &examined.checks {
        let line = if json { doctor::object(check) } else { doctor::line(check, session) };
        session.output.data(&line)?;
    }
    let is_well = examined.checks.iter().all(|check| check.advice.is_none());
    Ok(match (examined.is_usable, is_well) {
        (false, _) => Exit::Relay,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    })
}
