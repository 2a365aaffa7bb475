//! `mbaas-dev scenario`

mod record;
mod run;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Session;
use super::report::Exit;
use crate::model::{Contract, FORMAT_VERSION, millis, span};
use crate::scenario::{self, BuiltIn, Scenario, Step};

/// Play whole meetings: events in their order, on one set of ids, with pauses and with what goes wrong
#[derive(Debug, Subcommand)]
pub enum ScenarioCommand {
    List(ListArgs),
    Show(ShowArgs),
    Run(Box<run::RunArgs>),
    Record(Box<record::RecordArgs>),
}

/// List the scenarios that are built in
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of a contract
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show a scenario: what is sent, and when; with --toml the file itself, to begin one of your own with
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mbaas-dev scenario show happy-path --contract v2 --toml > my-story.toml")]
pub struct ShowArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Print the file itself
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Which scenario.
#[derive(Clone, Debug, Args)]
pub struct WhichArgs {
    /// A scenario that is built in (see `scenario list`), or a file of your own
    #[arg(value_name = "NAME|FILE.toml")]
    scenario: String,
    /// The contract whose scenario of that name is meant [default: the first that has one]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
}

impl WhichArgs {
    /// The scenario, and the text that it was read from.
    fn read(&self, session: &mut Session) -> anyhow::Result<(Scenario, String)> {
        let name = self.scenario.as_str();
        if name == "-" || name.contains(['/', '\\']) || name.to_ascii_lowercase().ends_with(".toml") {
            let label = if name == "-" { "<stdin>" } else { name };
            let source = String::from_utf8_lossy(&session.read(name)?).into_owned();
            return Ok((scenario::read(label, &source, &session.catalogue)?, source));
        }
        let found = scenario::find(name, self.contract)?;
        Ok((scenario::read(found.name, found.source, &session.catalogue)?, found.source.to_owned()))
    }
}

pub fn run(command: ScenarioCommand, session: Session) -> anyhow::Result<Exit> {
    match command {
        ScenarioCommand::List(arguments) => list(&arguments, &session),
        ScenarioCommand::Show(arguments) => show(&arguments, session),
        ScenarioCommand::Run(arguments) => run::run(&arguments, session),
        ScenarioCommand::Record(arguments) => record::run(&arguments, &session),
    }
}

fn list(arguments: &ListArgs, session: &Session) -> anyhow::Result<Exit> {
    let output = &session.output;
    let wanted = |found: &BuiltIn| arguments.contract.is_none_or(|contract| found.contract == contract);
    for BuiltIn { contract, name, source } in scenario::built_in().into_iter().filter(wanted) {
        let scenario = scenario::read(name, source, &session.catalogue)?;
        if arguments.json {
            output.data(&object(name, &scenario).to_string())?;
            continue;
        }
        let name = output.paint.strong(format!("{name:<28}"));
        let (steps, time) = (events(scenario.steps.len()), span(scenario.duration()));
        output.data(&format!("{contract:<8}  {name}  {steps:>9}  {time:>12}  {}", scenario.meaning))?;
    }
    Ok(Exit::Done)
}

fn show(arguments: &ShowArgs, mut session: Session) -> anyhow::Result<Exit> {
    let (scenario, source) = arguments.which.read(&mut session)?;
    let (output, paint) = (&session.output, session.output.paint);
    if arguments.toml {
        output.write_data(source.as_bytes())?;
        return Ok(Exit::Done);
    }
    if arguments.json {
        let mut object = object(&scenario.label, &scenario);
        object["timeline"] = timeline(&scenario).map(|(at, step)| step_object(at, step)).collect();
        output.data(&object.to_string())?;
        return Ok(Exit::Done);
    }
    output.data(&format!("{}  {}", paint.strong(&scenario.label), scenario.meaning))?;
    let retries = if scenario.retries { "as the real sender does" } else { "none" };
    for (label, value) in [("contract", scenario.contract.as_str()), ("retries", retries)] {
        output.data(&format!("  {}  {value}", paint.faint(format!("{label:<8}"))))?;
    }
    output.data("")?;
    for (at, step) in timeline(&scenario) {
        let mut remarks = Vec::new();
        if step.contract != scenario.contract {
            remarks.push(format!("contract {}", step.contract));
        }
        if !step.late.is_zero() {
            remarks.push(format!("{} late", span(step.late)));
        }
        remarks.extend(step.faults.names());
        if step.sign != crate::signature::SignMode::Valid {
            remarks.push(format!("signed {}", step.sign));
        }
        let title = paint.strong(format!("{:<42}", step.title()));
        let at = format!("{:>4}:{:02}", at.as_secs() / 60, at.as_secs() % 60);
        output.data(format!("  {at}  {title}  {}", paint.odd(remarks.join(", "))).trim_end())?;
    }
    Ok(Exit::Done)
}

/// `1 event`, `12 events`
fn events(count: usize) -> String {
    format!("{count} event{}", if count == 1 { "" } else { "s" })
}

/// Each step and how long after the beginning it is sent.
fn timeline(scenario: &Scenario) -> impl Iterator<Item = (Duration, &Step)> {
    scenario.due().into_iter().zip(&scenario.steps)
}

fn object(name: &str, scenario: &Scenario) -> Value {
    json!({
        "v": FORMAT_VERSION,
        "name": name,
        "contract": scenario.contract.as_str(),
        "meaning": scenario.meaning,
        "steps": scenario.steps.len(),
        "duration_ms": millis(scenario.duration()),
        "retries": scenario.retries,
    })
}

fn step_object(at: Duration, step: &Step) -> Value {
    json!({
        "at_ms": millis(at),
        "late_ms": millis(step.late),
        "contract": step.contract.as_str(),
        "event": step.title(),
        "faults": step.faults.names(),
        "sign": step.sign.as_str(),
    })
}
