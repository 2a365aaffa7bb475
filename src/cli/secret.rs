//! `mbaas-dev secret`

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::arguments::SecretArgs;
use super::env_file::EnvVariable;
use super::report::Exit;
use crate::app::secret::SecretSource;
use crate::model::FORMAT_VERSION;

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
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Generate another secret for this project, keep it and print it
    New {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: &SecretCommand, session: &Session) -> anyhow::Result<Exit> {
    let (secret, source, json) = match command {
        SecretCommand::Show { json, write_env, secret } => {
            let chosen = secret.choose_beside(session)?;
            if let Some(variable) = write_env {
                let path = variable.write(&session.folder, chosen.keys.default_secret().expose())?;
                session.output.talk(&format!("written to {}", path.display()));
                return Ok(Exit::Done);
            }
            (chosen.keys.default_secret().clone(), chosen.source, *json)
        }
        SecretCommand::New { json } => {
            if session.state.running()?.is_some() {
                session.output.talk("note: the running listen keeps its secret until it is started again");
            }
            (session.state.renew_project_secret(&session.clock)?, SecretSource::Project, *json)
        }
    };
    if json {
        let object = json!({ "v": FORMAT_VERSION, "secret": secret.expose(), "source": source.to_string() });
        session.output.data(&object.to_string())?;
    } else {
        session.output.data(secret.expose())?;
    }
    Ok(Exit::Done)
}
