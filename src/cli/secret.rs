//! `mbaas-dev secret`

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::arguments::SecretArgs;
use super::env_file::EnvVariable;
use super::report::Exit;
use crate::app::secret::SecretSource;
use crate::model::{Contract, FORMAT_VERSION};
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
            if session.state.running()?.is_some() {
                session.output.talk("note: the running listen keeps its secret until it is started again");
            }
            let secret = match contract {
                Some(contract) => session.state.renew_contract_secret(*contract, &session.clock)?,
                None => session.state.renew_project_secret(&session.clock)?,
            };
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
