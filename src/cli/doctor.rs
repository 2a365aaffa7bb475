//! `mbaas-dev doctor`

use std::collections::HashSet;

use clap::{Args, FromArgMatches};
use serde_json::json;

use super::listen::ListenArgs;
use super::report::Exit;
use super::{Session, roads};
use crate::app::doctor::{self, Check, database, network, state_folder, traps};
use crate::app::state::StateError;
use crate::model::{Delivery, FORMAT_VERSION, Outcome, Printable, Target};
use crate::store::{self, Query, Reader};

/// How many of the newest deliveries are looked at.
const RECENT: usize = 200;

/// Look for what commonly goes wrong, and say what to do about it
///
/// Looks at the state folder and who may read it, the database, the ports, the running listen and its handler, the clock,
/// the files of configuration, and at what recent answers of the handler tell. Nothing is sent, and nothing is changed
/// without --repair. The exit code is 1 when something was found.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Keep a damaged record aside, and save what can be read into a new one; `listen` does so by itself
    #[arg(long)]
    repair: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &DoctorArgs, session: &Session) -> anyhow::Result<Exit> {
    let checks = roads::runtime()?.block_on(examine(session, arguments.repair));
    for check in &checks {
        session.output.data(&if arguments.json { object(check) } else { line(check, session) })?;
    }
    let is_well = checks.iter().all(|check| check.advice.is_none());
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

async fn examine(session: &Session, repair: bool) -> Vec<Check> {
    let folder = session.state.path();
    let mut checks = state_folder::state_folder(folder);
    if let Err(error @ StateError::NoSecrets { .. }) = session.state.check_secrets() {
        checks.push(Check::finding("state folder", error.to_string(), error.hint()));
    }
    if repair {
        checks.extend(mend(session));
    }
    let examined = store::examine(folder);
    checks.extend(database::database(&examined));
    // What cannot be opened was told above.
    let deliveries = if examined.is_ok() { recent(session) } else { Vec::new() };
    checks.push(doctor::clock(
        session.clock.now(),
        deliveries.iter().map(|delivery| delivery.received_at).max(),
    ));
    let listen = super::settled("listen", session);
    let wrong = || listen.as_ref().err().map(ToString::to_string);
    let settings = session.settings_error.clone().or_else(wrong);
    checks.push(doctor::configuration("mbaas-dev.toml", settings));
    let endpoints = session.endpoints().err().map(|error| error.to_string());
    checks.push(doctor::configuration("webhook_config.json", endpoints));
    let running = match session.state.running() {
        Ok(running) => running.map(|(running, ..)| running),
        // What is wrong with the secrets was told above.
        Err(StateError::NoSecrets { .. }) => None,
        Err(error) => {
            checks.push(Check::finding("state folder", error.to_string(), error.hint()));
            None
        }
    };
    let ingress: Option<Target> = running.as_ref().and_then(|running| running.ingress.parse().ok());
    // What is configured counts; where that is wrong, which was told above, the defaults.
    let listen = listen.ok();
    let port = |name: &str| listen.as_ref().and_then(|matches| matches.get_one::<u16>(name).copied());
    checks.push(network::port(port("port").unwrap_or(4400), "listen", ingress.as_ref()));
    checks.push(network::port(port("inspector_port").unwrap_or(4401), "inspector", ingress.as_ref()));
    checks.push(network::listen(ingress.as_ref()).await);
    let configured = listen.and_then(|listen| ListenArgs::from_arg_matches(&listen).ok());
    let endpoints = session.endpoints().unwrap_or_default();
    let configured = configured.map(|listen| listen.targets(&endpoints)).unwrap_or_default();
    for target in handlers(running.and_then(|running| running.forward), configured, &deliveries) {
        checks.push(network::handler(&target).await);
    }
    checks.extend(traps::traps(&deliveries));
    checks
}

/// Repairs the record, unless a `listen` is using it.
fn mend(session: &Session) -> Option<Check> {
    if matches!(session.state.running(), Ok(Some(_))) {
        let said = "nothing is repaired while a listen of this project runs";
        return Some(Check::finding("database", said, "end it (Ctrl-C in its terminal) and try again"));
    }
    database::repair(&store::repair(session.state.path(), &session.clock))
}

/// The newest deliveries.
fn recent(session: &Session) -> Vec<Delivery> {
    let query = Query { limit: RECENT, ..Query::default() };
    let reader = Reader::open(session.state.path()).ok().flatten();
    reader.and_then(|reader| reader.list(&query).ok()).unwrap_or_default()
}

/// Where the running listen forwards to, and what is configured on this machine; without either, where the newest
/// delivery got no answer, if that is on this machine. Where it got one, nobody needs to be there any more.
fn handlers(forward: Option<String>, configured: Vec<Target>, deliveries: &[Delivery]) -> Vec<Target> {
    let mut targets: Vec<Target> = forward.and_then(|forward| forward.parse().ok()).into_iter().collect();
    targets.extend(configured.into_iter().filter(Target::is_loopback));
    if targets.is_empty() {
        let newest = deliveries.iter().find_map(Delivery::last_attempt);
        let newest = newest.filter(|attempt| matches!(attempt.outcome, Outcome::Failed(_)));
        let newest = newest.and_then(|newest| newest.target.parse().ok()).filter(Target::is_loopback);
        targets.extend(newest);
    }
    let mut places = HashSet::new();
    targets.retain(|target| places.insert(target.place().clone()));
    targets
}

/// A line for people.
pub fn line(check: &Check, session: &Session) -> String {
    let paint = session.output.paint;
    let found = Printable::text(&check.found);
    let name = format!("{:<19}", check.name);
    match &check.advice {
        None => format!("{}  {name}  {found}", paint.good("ok     ")),
        Some(advice) => {
            let advice = Printable::text(advice).to_string();
            format!("{}  {name}  {found}: {}", paint.bad("finding"), paint.odd(&advice))
        }
    }
}

/// A line for programs.
pub fn object(check: &Check) -> String {
    json!({
        "v": FORMAT_VERSION,
        "check": check.name,
        "ok": check.advice.is_none(),
        "found": check.found,
        "advice": check.advice,
    })
    .to_string()
}
