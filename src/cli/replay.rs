//! `mbaas-dev replay`

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;

use super::Session;
use super::arguments::{PatchArgs, since, whole};
use super::deliveries::diff::detail;
use super::in_vain::in_vain;
use super::report::{Exit, exit_of};
use super::roads::{self, Purpose, RoadArgs};
use super::selection::{find, selector};
use crate::json::Json;
use crate::model::{Attempt, EventFilter, Request, duration};
use crate::observers::difference::{OutcomeDifference, outcome_lines};
use crate::signature::Keyring;
use crate::sources::again::{Again, Repeat, again};
use crate::sources::compose::{self, Patch};
use crate::sources::dispatch::{Parcel, Road, Sent};
use crate::store::{Query, Reader, Recorded, Selector};

/// The most deliveries that one filter replays.
const MOST: usize = 100_000;

/// How long a handler may take: as long as most senders wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Send recorded deliveries again, oldest first, with a fresh signature so that they verify
///
/// Each becomes a delivery of its own that is linked to the one it repeats. Several filters narrow the choice.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "last", "failed", "since", "event"]))]
#[command(
    after_help = "Examples:\n  mbaas-dev replay --last\n  mbaas-dev replay 12\n  mbaas-dev replay --failed\n  \
    mbaas-dev replay --event 'meeting.*' --since 10m --to localhost:8000"
)]
pub struct ReplayArgs {
    /// Deliveries by id or number: dlv_…, 12 or '#12'
    #[arg(value_name = "ID|#N", value_parser = selector, conflicts_with_all = ["last", "failed", "since", "event"])]
    ids: Vec<Selector>,
    /// The newest N
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1",
          value_parser = whole(1..=1_000_000_u32))]
    last: Option<u32>,
    /// Those that the handler did not acknowledge, and that were not replayed since
    #[arg(long)]
    failed: bool,
    /// Those since so long ago: 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Those whose event type matches: meeting.*
    #[arg(long, value_name = "GLOB")]
    event: Option<String>,
    #[command(flatten)]
    road: RoadArgs,
    #[command(flatten)]
    patches: PatchArgs,
    /// Send the very bytes that were recorded, with the old signature
    #[arg(long, conflicts_with_all = ["set", "set_string", "unset"])]
    raw: bool,
    /// Keep the svix-id of v2 deliveries, so that to your handler it is the same message again
    #[arg(long, conflicts_with = "raw")]
    keep_id: bool,
    /// Show what the handler answered then and now: status, latency, and what is different in the body
    #[arg(long)]
    diff: bool,
    /// Print each new delivery as a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &ReplayArgs, session: &Session) -> anyhow::Result<Exit> {
    let patches = arguments.patches.patches()?;
    let chosen = choose(arguments, session)?;
    if chosen.is_empty() {
        warn_of_glob(arguments, session);
        session.output.talk("nothing to replay: no recorded delivery matches");
        return Ok(Exit::Done);
    }
    roads::runtime()?.block_on(send(arguments, &patches, &chosen, session))
}

/// Says when a glob matches no event that is known: nothing was found, and it may be mistyped.
fn warn_of_glob(arguments: &ReplayArgs, session: &Session) {
    let filter = arguments.event.as_ref().and_then(|glob| glob.parse::<EventFilter>().ok());
    for trouble in in_vain(filter.iter().map(|filter| ("--event", filter)), &session.catalogue) {
        let warning = session.output.talk_paint.odd("warning:");
        session.output.talk(&format!("{warning} {}", trouble.message));
    }
}

/// The deliveries to replay, oldest first.
fn choose(arguments: &ReplayArgs, session: &Session) -> anyhow::Result<Vec<Selector>> {
    if !arguments.ids.is_empty() {
        // Nothing is sent when one of them is not there.
        for selector in &arguments.ids {
            find(&session.state, selector)?;
        }
        return Ok(arguments.ids.clone());
    }
    let Some(reader) = Reader::open(session.state.path())? else { return Ok(Vec::new()) };
    let query = Query {
        event: arguments.event.clone(),
        unresolved: arguments.failed,
        since: arguments.since.map(|ago| since(&session.clock, ago)),
        limit: arguments.last.map_or(MOST, |last| usize::try_from(last).unwrap_or(MOST)),
        ..Query::default()
    };
    let mut found = reader.list(&query)?;
    if arguments.failed {
        // They have not failed for good, and their handler would get them twice.
        let waiting = found.extract_if(.., |delivery| delivery.held).count();
        if waiting > 0 {
            session.output.talk(&format!(
                "{waiting} left out: a `listen --hold` sends what waits when its handler is back; `mbaas-dev replay NUMBER` \
                 sends it now"
            ));
        }
    }
    found.reverse();
    Ok(found.into_iter().map(|delivery| Selector::Number(delivery.number)).collect())
}

async fn send(
    arguments: &ReplayArgs,
    patches: &[Patch],
    chosen: &[Selector],
    session: &Session,
) -> anyhow::Result<Exit> {
    let open = arguments.road.open(session, PATIENCE)?;
    let ended = tokio::select! {
        ended = async {
            let mut exit = Exit::Done;
            for selector in chosen {
                let recorded = find(&session.state, selector)?;
                if recorded.delivery.held {
                    session.output.talk(&still_waits(recorded.delivery.number));
                }
                let then = arguments.diff.then(|| recorded.delivery.attempts.last().cloned());
                let parcel = parcel(arguments, patches, recorded, &open.secret.keys, session)?;
                let sent = open.road.send(&session.clock, parcel).await?;
                let ended = match then {
                    Some(then) => show_with_diff(then.as_deref(), &sent, &open.road, session, arguments.json)?,
                    None => roads::show(&sent, &open.road, Purpose::ToBeTaken, session, arguments.json)?,
                };
                exit = exit.max(ended);
            }
            Ok(exit)
        } => ended,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    };
    open.close().await;
    ended
}

/// What becomes of a delivery that waits when it is sent again.
fn still_waits(number: i64) -> String {
    format!(
        "note: #{number} waits for its target all the same, and is sent there when that is back, unless `mbaas-dev deliveries \
         prune --held` deletes it"
    )
}

/// Shows what came of a replay, and how that differs from what came of the delivery that it repeats.
fn show_with_diff(
    then: Option<&Attempt>,
    sent: &Sent,
    road: &Road,
    session: &Session,
    json: bool,
) -> anyhow::Result<Exit> {
    let difference = OutcomeDifference::between(then, sent.delivery.last_attempt());
    if json {
        let mut object = serde_json::to_value(&sent.delivery)?;
        object["diff"] = difference.to_value();
        session.output.data(&object.to_string())?;
        return Ok(exit_of(sent));
    }
    let exit = roads::show(sent, road, Purpose::ToBeTaken, session, false)?;
    let style = session.style();
    for line in outcome_lines(&difference, detail(session), session.output.paint) {
        session.output.data(&format!("{}{line}", style.indent()))?;
    }
    Ok(exit)
}

fn parcel(
    arguments: &ReplayArgs,
    patches: &[Patch],
    recorded: Recorded,
    keys: &Keyring,
    session: &Session,
) -> anyhow::Result<Parcel> {
    let number = recorded.delivery.number;
    let body = edited(&recorded.request, patches).with_context(|| format!("delivery #{number}"))?;
    let how = match (arguments.raw, arguments.keep_id) {
        (true, _) => Repeat::Raw,
        (false, true) => Repeat::WithItsId,
        (false, false) => Repeat::Afresh,
    };
    let Again { parcel, notes } = again(recorded, body, how, keys, &session.clock)?;
    for note in notes {
        session.output.talk(&format!("note: {note}"));
    }
    Ok(parcel)
}

/// The recorded body, to the byte, unless it is edited.
fn edited(request: &Request, patches: &[Patch]) -> anyhow::Result<Bytes> {
    if patches.is_empty() {
        return Ok(request.body.clone());
    }
    let mut body = Json::parse(&request.body).context("its body is not JSON, so --set cannot edit it")?;
    compose::edit(&mut body, patches)?;
    Ok(Bytes::from(body.to_canonical()))
}
