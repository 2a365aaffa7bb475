//! `mbaas-dev events`

use clap::{Args, Subcommand};

use super::Session;
use super::report::Exit;
use crate::fixture::{Catalogue, Entry, Run};
use crate::model::{Contract, EventName, printable_lines};
use crate::observers::events::{self, about, object, variants, with_sample};

/// Look at the events that can be triggered
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    List(ListArgs),
    Show(ShowArgs),
}

/// List every event: what it is called, what it is called on the wire, what it means
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of a contract
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show an event: what it means, where its shape is known from, and a sample body
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The event, with or without a variant
    #[arg(value_name = "EVENT[@VARIANT]")]
    event: EventName,
    /// The contract that it belongs to [default: the first that has it]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(command: EventsCommand, session: &Session) -> anyhow::Result<Exit> {
    match command {
        EventsCommand::List(arguments) => list(&arguments, session),
        EventsCommand::Show(arguments) => show(&arguments, session),
    }
}

fn list(arguments: &ListArgs, session: &Session) -> anyhow::Result<Exit> {
    let catalogue = Catalogue::embedded();
    let (output, paint) = (&session.output, session.output.paint);
    let wanted = |entry: &&Entry| arguments.contract.is_none_or(|contract| entry.contract == contract);
    for entry in catalogue.entries().filter(wanted).filter(|entry| entry.name.variant.is_none()) {
        let variants: Vec<&Entry> = variants(&catalogue, entry).collect();
        if arguments.json {
            output.data(&object(entry, &variants)?.to_string())?;
            continue;
        }
        let about = about(entry)?;
        let name = paint.strong(&format!("{:<23}", entry.name));
        let wire_event = entry.fixture.wire_event().unwrap_or_else(|| "-".to_owned());
        let facts =
            format!("{:<8}  {name}  {wire_event:<22}  {:<10}", entry.contract, about.payload.as_str());
        tell(&facts, 71, &about.meaning, session)?;
        for variant in variants {
            let name = variant.name.variant.as_deref().unwrap_or_default();
            let facts = paint.faint(&format!("{:<10}@{name:<60}", ""));
            tell(&facts, 71, &events::about(variant)?.meaning, session)?;
        }
    }
    Ok(Exit::Done)
}

/// Facts of `used` columns and, beside them or on a terminal without room for that below them, what they mean.
fn tell(facts: &str, used: usize, meaning: &str, session: &Session) -> std::io::Result<()> {
    let output = &session.output;
    let Some(width) = output.width.filter(|width| *width < used + meaning.chars().count() + 2) else {
        return output.data(&format!("{facts}  {meaning}"));
    };
    output.data(facts.trim_end())?;
    let indent = " ".repeat(12);
    let options = textwrap::Options::new(width).initial_indent(&indent).subsequent_indent(&indent);
    textwrap::wrap(meaning, options).iter().try_for_each(|line| output.data(line))
}

fn show(arguments: &ShowArgs, session: &Session) -> anyhow::Result<Exit> {
    let catalogue = Catalogue::embedded();
    let entry = catalogue.find(&arguments.event, arguments.contract)?;
    let sample = entry.fixture.render(&Run::new(&session.clock, session.environment))?;
    let variants: Vec<&Entry> = variants(&catalogue, entry).collect();
    let (output, paint) = (&session.output, session.output.paint);
    if arguments.json {
        output.data(&with_sample(object(entry, &variants)?, &sample)?.to_string())?;
        return Ok(Exit::Done);
    }
    let about = about(entry)?;
    output.data(&format!("{}  {}", paint.strong(&entry.name.to_string()), about.meaning))?;
    let wire_event = entry.fixture.wire_event().unwrap_or_else(|| "none".to_owned());
    let mut facts = vec![
        ("contract", entry.contract.to_string()),
        ("wire event", wire_event),
        ("payload", about.payload.as_str().to_owned()),
    ];
    facts.extend(about.note.map(|note| ("note", note)));
    if !variants.is_empty() {
        let names: Vec<String> = variants.iter().map(|variant| variant.name.to_string()).collect();
        facts.push(("variants", names.join(" ")));
    }
    for (label, value) in facts {
        output.data(&format!("  {}  {value}", paint.faint(&format!("{label:<10}"))))?;
    }
    output.data("")?;
    output.data(&printable_lines(&sample.to_pretty()))?;
    Ok(Exit::Done)
}
