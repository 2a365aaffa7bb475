//! `mbaas-dev deliveries timeline`

use std::time::Duration;

use clap::Args;

use crate::cli::Session;
use crate::cli::report::{Exit, Usage};
use crate::cli::selection::{FilterArgs, find};
use crate::observers::timeline::Timeline;
use crate::store::{Reader, Selector};

/// The most deliveries that are looked at.
const MOST: usize = 10_000;

/// Show one bot's life: its deliveries in the order in which they happened, and what is odd about it
///
/// Odd is: no final event, two of them, or something after it; one that is completed before its recording succeeded; a message
/// that came again; what came after something that happened later; what was not acknowledged; and long silences. What does not
/// say when it happened stands between those between which it arrived. The exit code is 0 all the same.
#[derive(Debug, Args)]
pub struct TimelineArgs {
    /// The id of the bot
    #[arg(value_name = "BOT_ID")]
    bot: String,
    /// Print a JSON object, the same as the inspector's
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &TimelineArgs, session: &Session) -> anyhow::Result<Exit> {
    let (output, style) = (&session.output, session.style());
    let (timeline, is_whole) = timeline(&arguments.bot, session)?;
    let entries: Vec<_> = timeline.entries().collect();
    let Some((begun, ..)) = entries.first() else {
        let message = format!("no recorded delivery is about the bot `{}`", arguments.bot.escape_debug());
        return Err(
            Usage::new(message, "`mbaas-dev deliveries list --search BOT_ID` looks for it anywhere").into()
        );
    };
    if arguments.json {
        output.data(&timeline.object(is_whole).to_string())?;
        return Ok(Exit::Done);
    }
    for (number, (at, title, delivery)) in (1..).zip(&entries) {
        let since = Duration::try_from(at.duration_since(*begun)).unwrap_or_default();
        output.data(&style.step((number, entries.len()), since, title, Some(delivery)))?;
    }
    output.data("")?;
    if timeline.oddities().len() == 0 {
        output.data("nothing odd")?;
    }
    for oddity in timeline.oddities() {
        for line in style.paragraph(&format!("odd: {oddity}"), "") {
            output.data(&line)?;
        }
    }
    if !is_whole {
        output.talk(&format!("only the newest {MOST} deliveries were looked at"));
    }
    Ok(Exit::Done)
}

/// What was recorded about a bot, and whether all of it was looked at.
fn timeline(bot: &str, session: &Session) -> anyhow::Result<(Timeline, bool)> {
    let numbers = match Reader::open(session.state.path())? {
        Some(reader) => FilterArgs::default().searching(bot).numbers(&reader, MOST, &session.clock)?,
        None => Vec::new(),
    };
    let is_whole = numbers.len() < MOST;
    let find = |number| find(&session.state, &Selector::Number(number));
    let recorded = numbers.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
    Ok((Timeline::of(bot, recorded), is_whole))
}
