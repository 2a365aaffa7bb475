//! `mbaas-dev events`

use clap::{Args, Subcommand};

use super::Session;
use super::report::Exit;
use crate::contract::schema::{Field, Schema};
use crate::fixture::{Entry, Run};
use crate::model::{Contract, EventName, printable_lines};
use crate::observers::events::{about, object, variants, with_sample, with_schema};

/// Look at the events that can be triggered
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    List(ListArgs),
    Show(ShowArgs),
}

/// List every event: what it is called, what it is called on the wire, what it means, which variants it has
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of a contract: preview, v2, v1, callback or alert
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show an event: what it means, where its shape is known from, its fields, and a sample body
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The event, with or without a variant
    #[arg(value_name = "EVENT[@VARIANT]")]
    event: EventName,
    /// The contract that it belongs to: preview, v2, v1, callback or alert [default: the first that has it]
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

/// How many columns the facts of an event take before what it means.
const FACTS: usize = 77;

/// Where the variants of an event begin.
const VARIANTS: usize = 12;

/// How wide a list is when it goes to no terminal.
const PLAIN_WIDTH: usize = 120;

fn list(arguments: &ListArgs, session: &Session) -> anyhow::Result<Exit> {
    let catalogue = &session.catalogue;
    let (output, paint) = (&session.output, session.output.paint);
    let wanted = |entry: &&Entry| arguments.contract.is_none_or(|contract| entry.contract == contract);
    for entry in catalogue.entries().filter(wanted).filter(|entry| entry.name.variant.is_none()) {
        let variants: Vec<&Entry> = variants(catalogue, entry).collect();
        if arguments.json {
            output.data(&object(entry, &variants)?.to_string())?;
            continue;
        }
        let about = about(entry)?;
        let name = paint.strong(format!("{:<27}", entry.name));
        let wire_event = entry.fixture.wire_event().unwrap_or_else(|| "-".to_owned());
        let facts =
            format!("{:<8}  {name}  {wire_event:<27}  {:<10}", entry.contract, about.payload.as_str());
        tell(&facts, FACTS, &about.meaning, session)?;
        let names: Vec<String> = variants.iter().filter_map(|entry| variant(entry)).collect();
        for line in wrapped(&names.join(" "), VARIANTS, session) {
            output.data(&paint.faint(&line))?;
        }
    }
    Ok(Exit::Done)
}

/// `@full`
fn variant(entry: &Entry) -> Option<String> {
    entry.name.variant.as_ref().map(|variant| format!("@{variant}"))
}

/// A text as lines of the terminal's width, indented.
fn wrapped(text: &str, indent: usize, session: &Session) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(session.output.width.unwrap_or(PLAIN_WIDTH))
        .initial_indent(&indent)
        .subsequent_indent(&indent)
        // A variant stays whole.
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::wrap(text, options).into_iter().map(String::from).collect()
}

/// Facts of `used` columns and, beside them or on a terminal without room for that below them, what they mean.
fn tell(facts: &str, used: usize, meaning: &str, session: &Session) -> std::io::Result<()> {
    let output = &session.output;
    if output.width.is_none_or(|width| width >= used + meaning.chars().count() + 2) {
        return output.data(format!("{facts}  {meaning}").trim_end());
    }
    output.data(facts.trim_end())?;
    wrapped(meaning, VARIANTS, session).iter().try_for_each(|line| output.data(line))
}

fn show(arguments: &ShowArgs, session: &Session) -> anyhow::Result<Exit> {
    let catalogue = &session.catalogue;
    let entry = catalogue.find(&arguments.event, arguments.contract)?;
    let sample = entry.fixture.render(&Run::new(&session.clock, session.environment))?;
    let variants: Vec<&Entry> = variants(catalogue, entry).collect();
    let schema = Schema::of(entry.contract, &entry.name);
    let (output, paint) = (&session.output, session.output.paint);
    if arguments.json {
        let object = with_schema(object(entry, &variants)?, schema.as_ref());
        output.data(&with_sample(object, &sample)?.to_string())?;
        return Ok(Exit::Done);
    }
    let about = about(entry)?;
    output.data(&format!("{}  {}", paint.strong(entry.name.to_string()), about.meaning))?;
    let wire_event = entry.fixture.wire_event().unwrap_or_else(|| "none".to_owned());
    let mut facts = vec![
        ("contract", entry.contract.to_string()),
        ("wire event", wire_event),
        ("payload", about.payload.as_str().to_owned()),
    ];
    facts.extend(about.note.map(|note| ("note", note)));
    facts.extend(schema.as_ref().map(|schema| ("schema", schema.source().to_owned())));
    for (label, value) in facts {
        for (number, line) in wrapped(&value, 14, session).iter().enumerate() {
            let label = paint.faint(format!("{:<10}", if number == 0 { label } else { "" }));
            output.data(&format!("  {label}  {}", line.trim_start()))?;
        }
    }
    if !variants.is_empty() {
        output.data(&format!("\n{}", paint.strong("variants")))?;
        table(&variants, session)?;
    }
    if let Some(schema) = schema {
        output.data(&format!("\n{}", paint.strong("fields")))?;
        tell_fields(&schema.fields(), session)?;
    }
    output.data(&format!("\n{}", paint.strong("sample")))?;
    output.data(&printable_lines(&sample.to_pretty()))?;
    Ok(Exit::Done)
}

/// What each field holds and means, and which texts are documented for it.
fn tell_fields(fields: &[Field], session: &Session) -> std::io::Result<()> {
    let (output, paint) = (&session.output, session.output.paint);
    let widest = |cell: fn(&Field) -> String| {
        fields.iter().map(|field| cell(field).chars().count()).max().unwrap_or_default()
    };
    let (paths, kinds) = (widest(|field| field.path.clone()), widest(kind));
    for field in fields {
        let facts = format!("  {:<paths$}  {:<kinds$}", field.path, kind(field));
        tell(&facts, 2 + paths + 2 + kinds, field.meaning.as_deref().unwrap_or_default(), session)?;
        let known: Vec<&str> = field.known.iter().map(|(text, _)| text.as_str()).collect();
        if !known.is_empty() {
            let known = format!("documented: {}", known.join(", "));
            for line in wrapped(&known, VARIANTS, session) {
                output.data(&paint.faint(&line))?;
            }
        }
    }
    Ok(())
}

fn kind(field: &Field) -> String {
    format!("{}{}", field.kind, if field.required { "" } else { ", optional" })
}

/// Variants and what they mean, in two columns.
fn table(variants: &[&Entry], session: &Session) -> anyhow::Result<()> {
    let (output, paint) = (&session.output, session.output.paint);
    let names: Vec<String> = variants.iter().filter_map(|entry| variant(entry)).collect();
    let widest = names.iter().map(String::len).max().unwrap_or_default();
    for (entry, name) in variants.iter().zip(&names) {
        let lines = wrapped(&about(entry)?.meaning, 2 + widest + 2, session);
        for (number, line) in lines.iter().enumerate() {
            let name = format!("{:<widest$}", if number == 0 { name } else { "" });
            output.data(&format!("  {}  {}", paint.faint(&name), line.trim_start()))?;
        }
    }
    Ok(())
}
