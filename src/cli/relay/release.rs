//! `mbaas-dev relay release`

use clap::Args;
use serde_json::json;

use crate::cli::report::{Exit, Usage};
use crate::cli::tunnel::check_access;
use crate::cli::{Session, roads};
use crate::model::{FORMAT_VERSION, Secret};
use crate::sources::tunnel::{self, GivenUp, RelayUrl, Settings};

/// Give up the public URL that this project has at a relay, for good
///
/// Whoever still sends there is answered 410; nobody gets that URL again. The next `listen --tunnel` gets another one.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The URL of the relay [default: the one relay that this project has a URL at]
    #[arg(value_name = "URL", env = "MBAAS_DEV_TUNNEL", hide_env_values = true)]
    relay: Option<RelayUrl>,
    /// What the relay lets its users in with
    #[arg(long, value_name = "TOKEN", env = "MBAAS_DEV_ACCESS_TOKEN", hide_env_values = true)]
    access_token: Option<Secret>,
    /// Also when requests wait there that no listen has taken: they are lost
    #[arg(long)]
    discard: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: ReleaseArgs, session: &Session) -> anyhow::Result<Exit> {
    check_access(&arguments.access_token)?;
    let known = session.state.relays()?;
    let gave_one = known.iter().filter_map(|(relay, has_channel)| has_channel.then_some(relay.as_str()));
    let relay = match (arguments.relay, &gave_one.collect::<Vec<_>>()[..]) {
        (Some(relay), _) => relay,
        (None, [only]) => only.parse()?,
        (None, []) => return Err(nothing("this project has no URL at any relay").into()),
        (None, several) => {
            let message = format!("this project has a URL at several relays: {}", several.join(", "));
            return Err(Usage::new(message, "say which one").into());
        }
    };
    let name = relay.to_string();
    let given_up = match known.get(&name) {
        None => return Err(nothing(format!("this project has no URL at {name}")).into()),
        Some(false) => None,
        Some(true) => {
            let (token, channel) = session.state.tunnel(&name, &session.clock)?;
            let settings = Settings { relay, access: arguments.access_token, token, channel };
            Some(roads::runtime()?.block_on(tunnel::give_up(&settings, arguments.discard))?)
        }
    };
    session.state.forget_tunnel(&name)?;
    let (said, discarded) = match given_up {
        None => (format!("{name} never gave this project a URL; it is forgotten here, and was not asked"), 0),
        Some(GivenUp::Now(0)) => (format!("the URL at {name} is given up"), 0),
        Some(GivenUp::Now(lost)) => {
            (format!("the URL at {name} is given up, and with it requests that waited: {lost}"), lost)
        }
        Some(GivenUp::Before) => {
            (format!("the URL at {name} was given up before; it is forgotten here as well"), 0)
        }
        Some(GivenUp::Unknown) => {
            (format!("{name} knows of no URL of this project; it is forgotten here as well"), 0)
        }
    };
    if arguments.json {
        let is_now = matches!(given_up, Some(GivenUp::Now(_)));
        let line = json!({ "v": FORMAT_VERSION, "relay": name, "given_up": is_now, "discarded": discarded });
        session.output.data(&line.to_string())?;
    } else {
        session.output.talk(&said);
    }
    Ok(Exit::Done)
}

fn nothing(message: impl Into<String>) -> Usage {
    Usage::new(message, "`--data-dir` names the state folder of the listen that has it")
}
