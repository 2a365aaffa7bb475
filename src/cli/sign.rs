//! `mbaas-dev sign`

use clap::Args;
use serde_json::{Map, Value, json};

use super::Session;
use super::arguments::SecretArgs;
use super::report::Exit;
use crate::model::{Contract, FORMAT_VERSION};
use crate::signature::{self, SignMode};

/// Print the headers that sign a body, for the bytes as they are
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  printf '{\"event\":\"complete\"}' | mbaas-dev sign - --secret your-webhook-secret-key"
)]
pub struct SignArgs {
    /// The body: a file, or - for standard input
    #[arg(value_name = "FILE|-")]
    body: String,
    /// The contract to sign for
    #[arg(long, value_name = "CONTRACT", default_value_t = Contract::Preview)]
    contract: Contract,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

pub fn run(arguments: &SignArgs, mut session: Session) -> anyhow::Result<Exit> {
    let body = session.read(&arguments.body)?;
    let secret = arguments.secret.choose_beside(&session)?;
    let headers = signature::sign(arguments.contract, SignMode::Valid, secret.keys.default_secret(), &body)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if arguments.json {
        let fields: Map<String, Value> =
            headers.iter().map(|(name, value)| (text(name), text(value).into())).collect();
        session.output.data(&json!({ "v": FORMAT_VERSION, "headers": fields }).to_string())?;
    } else {
        for (name, value) in headers.iter() {
            session.output.data(&format!("{}: {}", text(name), text(value)))?;
        }
    }
    Ok(Exit::Done)
}
