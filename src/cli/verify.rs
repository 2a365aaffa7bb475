//! `mbaas-dev verify`

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::Session;
use super::arguments::{SecretArgs, header, moment};
use super::report::{Exit, Usage, exit_of_verdict};
use super::selection::find;
use crate::contract::{authenticates, is_mask, recognise};
use crate::model::{Contract, Delivery, DeliveryId, FORMAT_VERSION, Headers, Kind, Verdict};
use crate::observers::advice::note;
use crate::signature::explain::Cause;
use crate::signature::{Claim, Effort, Explanation, Keyring, SvixKey};
use crate::store::{Recorded, Selector};

/// Check the signature of a body or of a recorded delivery
///
/// Exits 0 when it is valid and 4 when it is invalid or missing. The time stamp of a v2 message is held against the
/// time when a delivery was recorded, and against now for a body. Credentials in headers are not on disk: of such a
/// delivery only what was found on its arrival is known.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mbaas-dev verify body.json --header 'X-MeetingBaas-Signature: 8430…' --secret your-webhook-secret-key\n  \
    mbaas-dev verify '#12' --explain"
)]
pub struct VerifyArgs {
    /// The body: a file, - for standard input, or the id or '#number' of a recorded delivery
    #[arg(value_name = "FILE|-|ID|#N")]
    body: String,
    /// A header of the request; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The contract to check against: preview, v2, v1, callback or alert [default: told by the headers, or else by the body]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// When the request arrived, for the tolerance of its time stamp
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Say why it does not verify, and what to do about it
    #[arg(long)]
    explain: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

/// What is checked: a body with headers, or what was recorded.
struct Subject {
    recorded: Option<Delivery>,
    headers: Headers,
    body: Vec<u8>,
    at: Timestamp,
}

pub fn run(arguments: &VerifyArgs, mut session: Session) -> anyhow::Result<Exit> {
    let subject = subject(arguments, &mut session)?;
    let secret = arguments.secret.choose_beside(&session)?;
    let Kind { contract, event_type, .. } =
        recognise(&session.catalogue.wire_names(), &subject.headers, &subject.body);
    let contract = arguments.contract.or(contract).unwrap_or(Contract::Preview);
    let claim = Claim {
        contract: Some(contract),
        event_type: event_type.as_ref(),
        headers: &subject.headers,
        body: &subject.body,
        at: subject.at,
    };
    let found_on_arrival = subject.recorded.as_ref().filter(|_| is_masked(&subject.headers, contract));
    let verdict = match found_on_arrival {
        Some(delivery) => on_arrival(delivery, arguments, &session)?,
        None => verdict(&claim, contract, &secret.keys)?,
    };
    let why = match found_on_arrival {
        _ if !arguments.explain || verdict == Verdict::Valid => None,
        Some(delivery) => Some(Why::on_arrival(delivery)),
        None => claim.explain(&secret.keys, Effort::Thorough).map(Why::from),
    };
    if arguments.json {
        let mut object =
            json!({ "v": FORMAT_VERSION, "contract": contract.as_str(), "signature": verdict.as_str() });
        if found_on_arrival.is_some() {
            object["as_of_arrival"] = true.into();
        }
        if let Some(why) = why {
            object["causes"] = why.causes.into();
            object["explanation"] = why.sentence.into();
        }
        session.output.data(&object.to_string())?;
    } else {
        let word = verdict.as_str();
        let paint = session.output.paint;
        session.output.data(&if verdict == Verdict::Valid { paint.good(word) } else { paint.bad(word) })?;
        for line in why.iter().flat_map(|why| session.style().paragraph(&why.sentence, "")) {
            session.output.data(&line)?;
        }
    }
    Ok(exit_of_verdict(verdict))
}

/// Why it does not verify, for people and for programs.
struct Why {
    sentence: String,
    causes: Vec<&'static str>,
}

impl From<Explanation> for Why {
    fn from(explanation: Explanation) -> Self {
        let causes = explanation.causes.iter().map(Cause::name).collect();
        Self { sentence: explanation.to_string(), causes }
    }
}

impl Why {
    /// What was found out when it arrived.
    fn on_arrival(delivery: &Delivery) -> Self {
        let unknown = || "why is not known any more: what authenticates it is not on disk".to_owned();
        Self { sentence: note(delivery).unwrap_or_else(unknown), causes: Vec::new() }
    }
}

fn subject(arguments: &VerifyArgs, session: &mut Session) -> anyhow::Result<Subject> {
    let mut subject = match recorded_selector(&arguments.body) {
        Some(selector) => {
            let Recorded { delivery, request } = find(&session.state, &selector)?;
            let (headers, body) = (request.headers, request.body.to_vec());
            Subject { headers, body, at: delivery.received_at, recorded: Some(delivery) }
        }
        None => Subject {
            recorded: None,
            headers: Headers::new(),
            body: read(&arguments.body, session)?,
            at: session.clock.now(),
        },
    };
    arguments.header.iter().for_each(|(name, value)| subject.headers.push(name.clone(), value.clone()));
    subject.at = arguments.at.unwrap_or(subject.at);
    Ok(subject)
}

/// The bytes of a body. A number that is no file is meant as that of a delivery.
fn read(name: &str, session: &mut Session) -> anyhow::Result<Vec<u8>> {
    if name.parse::<u64>().is_ok() && !session.folder.join(name).exists() {
        let hint = format!(
            "a recorded delivery is named by `#` and its number, in quotes: `mbaas-dev verify '#{name}'`"
        );
        return Err(Usage::new(format!("there is no file {name}"), hint).into());
    }
    session.read(name)
}

fn verdict(claim: &Claim<'_>, contract: Contract, keys: &Keyring) -> anyhow::Result<Verdict> {
    if contract == Contract::V2 {
        SvixKey::all(&keys.key(contract, claim.event_type))?;
    }
    Ok(claim.verify(keys))
}

/// Whether what authenticates the request was not recorded, or was taken out of an export.
fn is_masked(headers: &Headers, contract: Contract) -> bool {
    let is_of_contract = |name: &[u8]| authenticates(name).is_some_and(|(of, _)| of == contract);
    headers.iter().any(|(name, value)| is_of_contract(name) && is_mask(value))
}

/// What was found when the delivery arrived, with whatever secrets were in use then.
fn on_arrival(delivery: &Delivery, arguments: &VerifyArgs, session: &Session) -> Result<Verdict, Usage> {
    let number = delivery.number;
    if arguments.secret.is_given() {
        return Err(Usage::new(
            format!(
                "#{number} cannot be checked against another secret: what it was authenticated with is not on disk"
            ),
            "without --secret, `verify` says what was found when it arrived",
        ));
    }
    session.output.talk(&format!(
        "note: what authenticates #{number} is not on disk, so this is what was found when it arrived"
    ));
    Ok(delivery.signature)
}

/// A delivery, where the text can be nothing else: a plain number is more likely a file.
fn recorded_selector(text: &str) -> Option<Selector> {
    let number = text.strip_prefix('#').and_then(|number| number.parse().ok()).map(Selector::Number);
    number.or_else(|| text.parse::<DeliveryId>().ok().map(Selector::Id))
}
