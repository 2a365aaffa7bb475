//! `mbaas-dev scenario record`

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;

use super::super::Session;
use super::super::report::{Exit, Usage};
use super::super::selection::{FilterArgs, find, selector};
use super::super::writing::write_out;
use super::events;
use crate::json::Json;
use crate::model::Contract;
use crate::scenario::{RecordedEvent, write};
use crate::sources::compose::message_id;
use crate::store::{Reader, Recorded, Selector};

/// The most deliveries that become one scenario.
const MOST: usize = 10_000;

/// Make a scenario of recorded deliveries
///
/// Their pauses stay, their ids and times are made afresh each time it is played, and the same id stays the same
/// throughout. Of what was sent several times under one id, the first is taken. Where a delivery is not JSON, or of no
/// known contract, it is left out and named.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mbaas-dev scenario record --bot 4f1e2d3c-… -o story.toml\n  \
    mbaas-dev scenario record --since 1h --contract v2 --scrub -o story.toml")]
pub struct RecordArgs {
    /// Deliveries by id or number: dlv_…, 12 or '#12'
    #[arg(value_name = "ID|#N", value_parser = selector,
          conflicts_with_all = ["bot", "event", "contract", "origin", "failed", "since", "search"])]
    ids: Vec<Selector>,
    /// Those about the bot of that id
    #[arg(long, value_name = "BOT_ID", conflicts_with = "search")]
    bot: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Put fakes in the place of names, addresses, links and all other words
    #[arg(long)]
    scrub: bool,
    /// The file to write, for its owner only [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(arguments: &RecordArgs, session: &Session) -> anyhow::Result<Exit> {
    let mut recorded = Vec::new();
    for selector in choose(arguments, session)? {
        recorded.push(find(&session.state, &selector)?);
    }
    let mut told = HashSet::new();
    let mut taken = Vec::new();
    for Recorded { delivery, request } in recorded {
        let number = delivery.number;
        let event = delivery.kind.contract.zip(Json::parse(&request.body).ok());
        let Some((contract, body)) = event.filter(|(_, body)| body.as_object().is_some()) else {
            session.output.talk(&format!("note: #{number} is left out: not JSON, or of no known contract"));
            continue;
        };
        if arguments.bot.as_ref().is_some_and(|bot| !is_about(&body, bot)) {
            continue;
        }
        if let Some(id) = message_id(&request).filter(|_| contract == Contract::V2)
            && !told.insert(id)
        {
            session.output.talk(&format!("note: #{number} is left out: its message came before"));
            continue;
        }
        taken.push(RecordedEvent { contract, at: delivery.received_at, body });
    }
    let Some(first) = taken.first() else {
        return Err(Usage::new(
            "no recorded delivery matches",
            "`mbaas-dev deliveries list` shows what there is",
        )
        .into());
    };
    let count = events(taken.len());
    let meaning = format!("{count} as recorded on {}", first.at.strftime("%Y-%m-%d"));
    let toml = write(&meaning, taken, arguments.scrub);
    write_out(session, arguments.output.as_deref(), &toml, &count)?;
    Ok(Exit::Done)
}

/// The deliveries, oldest first.
fn choose(arguments: &RecordArgs, session: &Session) -> anyhow::Result<Vec<Selector>> {
    if !arguments.ids.is_empty() {
        return Ok(arguments.ids.clone());
    }
    let Some(reader) = Reader::open(session.state.path())? else { return Ok(Vec::new()) };
    let filter = match &arguments.bot {
        Some(bot) => arguments.filter.searching(bot),
        None => arguments.filter.clone(),
    };
    let mut numbers = filter.numbers(&reader, MOST, &session.clock)?;
    numbers.reverse();
    Ok(numbers.into_iter().map(Selector::Number).collect())
}

fn is_about(body: &Json, bot: &str) -> bool {
    let id = body.get("data").and_then(|data| data.get("bot_id")).and_then(Json::as_str);
    id.is_some_and(|id| id.eq_ignore_ascii_case(bot))
}
