//! `mbaas-dev verify`

use clap::Args;
use serde_json::json;

use super::Session;
use super::arguments::{SecretArgs, header};
use super::report::{Exit, Usage, exit_of_verdict};
use super::selection::find;
use crate::contract::recognise;
use crate::fixture::Catalogue;
use crate::model::{Contract, DeliveryId, FORMAT_VERSION, Headers, Verdict};
use crate::signature;
use crate::store::Selector;

/// Check the signature of a body or of a recorded delivery
///
/// Exits 0 when it is valid and 4 when it is invalid or missing.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mbaas-dev verify body.json --header 'X-MeetingBaas-Signature: 8430…' --secret your-webhook-secret-key"
)]
pub struct VerifyArgs {
    /// The body: a file, - for standard input, or the id or '#number' of a recorded delivery
    #[arg(value_name = "FILE|-|ID|#N")]
    body: String,
    /// A header of the request; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The contract to check against [default: told by the headers]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

pub fn run(arguments: &VerifyArgs, mut session: Session) -> anyhow::Result<Exit> {
    let recorded = match recorded_selector(&arguments.body) {
        None => None,
        Some(selector) => Some(find(&session.state, &selector)?),
    };
    let (mut headers, body) = match recorded {
        Some(recorded) => (recorded.request.headers, recorded.request.body.to_vec()),
        None => (Headers::new(), session.read(&arguments.body)?),
    };
    arguments.header.iter().for_each(|(name, value)| headers.push(name.clone(), value.clone()));
    let secret = arguments.secret.choose_beside(&session)?;
    let told = recognise(&Catalogue::embedded().wire_names(), &headers, &body);
    let contract = arguments.contract.or(told.contract).unwrap_or(Contract::Preview);
    let key = secret.keys.secret(told.event_type.as_ref());
    let verdict = signature::verify(Some(contract), key, &headers, &body);
    if verdict == Verdict::Unchecked {
        return Err(Usage::new(format!("checking a {contract} request is not supported"), "").into());
    }
    if arguments.json {
        let object =
            json!({ "v": FORMAT_VERSION, "contract": contract.as_str(), "signature": verdict.as_str() });
        session.output.data(&object.to_string())?;
    } else {
        let word = verdict.as_str();
        let paint = session.output.paint;
        session.output.data(&if verdict == Verdict::Valid { paint.good(word) } else { paint.bad(word) })?;
    }
    Ok(exit_of_verdict(verdict))
}

/// A delivery, where the text can be nothing else: a plain number is more likely a file.
fn recorded_selector(text: &str) -> Option<Selector> {
    let number = text.strip_prefix('#').and_then(|number| number.parse().ok()).map(Selector::Number);
    number.or_else(|| text.parse::<DeliveryId>().ok().map(Selector::Id))
}
