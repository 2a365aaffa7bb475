//! `mbaas-dev secret`

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::arguments::SecretArgs;
use super::env_file::EnvVariable;
use super::report::Exit;
use crate::app::secret::SecretSource;
use crate::model::{Contract, FORMAT_VERSION, Secret};
use crate::signature::SvixKey;

/// The secret that events are signed with
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Print the secret in use, and nothing else, for scripts
    Show {
        /// Print a JSON object that also says where the secret comes from
        #[arg(long)]
        json: bool,
        /// Write it into a file instead, as this variable: .env.local:WEBHOOK_SECRET; that one line is put in or
        /// replaced
        #[arg(long, value_name = "FILE:VARIABLE", conflicts_with = "json")]
        write_env: Option<EnvVariable>,
        /// The secret of this contract, which may have its own: preview, v2, v1, callback or alert
        #[arg(long, value_name = "CONTRACT")]
        contract: Option<Contract>,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Generate another secret for this project, keep it and print it
    New {
        /// Generate one for this contract alone: `whsec_…` for v2, hexadecimal digits for the others
        #[arg(long, value_name = "CONTRACT")]
        contract: Option<Contract>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Where the secret is from that counts before one that was generated, for a new `listen`. What cannot be read is told
/// when it is used.
fn stronger(contract: Option<Contract>, generated: &Secret, session: &Session) -> Option<String> {
    let keys = SecretArgs::default().choose(session).ok()?.keys;
    let key = contract.map_or_else(|| keys.general().clone(), |contract| keys.key(contract, None));
    let is_in_use = key.secrets.iter().any(|used| used.is(generated.expose().as_bytes()));
    (!is_in_use).then_some(key.origin)
}

pub fn run(command: &SecretCommand, session: &Session) -> anyhow::Result<Exit> {
    let (secret, source, json) = match command {
        SecretCommand::Show { json, write_env, contract, secret } => {
            let chosen = secret.choose_beside(session)?;
            let key = match contract {
                Some(contract) => chosen.keys.key(*contract, None),
                None => chosen.keys.general().clone(),
            };
            if *contract == Some(Contract::V2) {
                // Nobody could verify with another one.
                SvixKey::all(&key)?;
            }
            if let Some(variable) = write_env {
                let path = variable.write(&session.folder, key.secret().expose())?;
                session.output.talk(&format!("written to {}", path.display()));
                return Ok(Exit::Done);
            }
            (key.secret().clone(), key.origin, *json)
        }
        SecretCommand::New { contract, json } => {
            let secret = match contract {
                Some(contract) => session.state.renew_contract_secret(*contract, &session.clock)?,
                None => session.state.renew_project_secret(&session.clock)?,
            };
            if let Some(origin) = stronger(*contract, &secret, session) {
                session.output.talk(&format!("note: this one is not in use: {origin} counts before it"));
            } else if session.state.running()?.is_some() {
                session.output.talk("note: the running listen keeps its secret until it is started again");
            }
            (secret, SecretSource::Project.to_string(), *json)
        }
    };
    if json {
        let object = json!({ "v": FORMAT_VERSION, "secret": secret.expose(), "source": source });
        session.output.data(&object.to_string())?;
    } else {
        session.output.data(secret.expose())?;
    }
    Ok(Exit::Done)
}
