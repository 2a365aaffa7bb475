//! `mbaas-dev sign`

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Session;
use super::arguments::{HeaderStyleArg, SecretArgs, moment};
use super::report::{Exit, Usage};
use crate::contract::recognise;
use crate::model::{Contract, FORMAT_VERSION, Headers};
use crate::signature::{Signing, Stamp};

/// Print the headers that sign a body, for the bytes as they are
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  printf '{\"event\":\"complete\"}' | mbaas-dev sign - --secret your-webhook-secret-key\n  \
    mbaas-dev sign body.json --contract v2 --id msg_p5jXN8AQM9LWM0D4loKWxJek --at 2026-11-24T09:05:52Z"
)]
pub struct SignArgs {
    /// The body: a file, or - for standard input
    #[arg(value_name = "FILE|-")]
    body: String,
    /// The contract to sign for: preview, v2, v1, callback or alert [default: told by the body, else preview]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// The id of the v2 message [default: a new one]
    #[arg(long, value_name = "MSG_ID", value_parser = message_id)]
    id: Option<String>,
    /// When the v2 message is sent [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// How the headers that authenticate v2 messages are named: svix-id or webhook-id, and so on
    #[arg(long, value_name = "STYLE", value_enum, default_value_t)]
    header_style: HeaderStyleArg,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

/// An id that can stand in a header, and that a full stop does not end too early.
fn message_id(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > 256 || !text.chars().all(is_plain) {
        return Err("an id has 1 to 256 letters, digits, `_` and `-`".to_owned());
    }
    Ok(text.to_owned())
}

pub fn run(arguments: &SignArgs, mut session: Session) -> anyhow::Result<Exit> {
    let body = session.read(&arguments.body)?;
    let secret = arguments.secret.choose_beside(&session)?;
    let told = recognise(&session.catalogue.wire_names(), &Headers::new(), &body);
    let contract = arguments.contract.or(told.contract).unwrap_or(Contract::Preview);
    let is_of_v2 = arguments.id.is_some() || arguments.at.is_some();
    arguments.header_style.check(contract)?;
    if is_of_v2 && contract != Contract::V2 {
        let message = format!("a {contract} request has neither an id nor a time stamp");
        return Err(Usage::new(message, "`--contract v2` signs as Svix does").into());
    }
    let signing = Signing {
        style: arguments.header_style.into(),
        ..Signing::right(contract, secret.keys.key(contract, told.event_type.as_ref()))
    };
    let mut stamp = Stamp::new(&session.clock);
    stamp.at = arguments.at.unwrap_or(stamp.at);
    stamp.id = arguments.id.clone().unwrap_or(stamp.id);
    let headers = signing.sign(&stamp, &body)?;
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
