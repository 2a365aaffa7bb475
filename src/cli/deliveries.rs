//! `mbaas-dev deliveries`

pub mod diff;
mod export;
mod import;
mod prune;
mod timeline;

use clap::{Args, Subcommand};

use super::arguments::whole;
use super::report::Exit;
use super::selection::{FilterArgs, find, selector};
use super::{Session, roads};
use crate::json::Json;
use crate::model::{Contract, Delivery, Headers, Outcome, Printable, Target, printable_lines};
use crate::observers::advice::{hints, size};
use crate::observers::drift::{self, drift};
use crate::observers::terminal::{self, latency};
use crate::observers::{exchange, request_text};
use crate::store::{Reader, Recorded, Selector};

/// Look at what was recorded
#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    List(ListArgs),
    Show(ShowArgs),
    Diff(diff::DiffArgs),
    Timeline(timeline::TimelineArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Prune(prune::PruneArgs),
}

/// List recorded deliveries, newest first
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many at the most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = whole(1..=1_000_000_u32))]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show one recorded delivery: headers, body, attempts with the handler's answers
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id or number: dlv_…, 12 or '#12'
    #[arg(value_name = "ID|#N", value_parser = selector)]
    delivery: Selector,
    /// Print the body alone, as it was received
    #[arg(long, conflicts_with_all = ["curl", "json"])]
    body: bool,
    /// Print a curl command that sends it again
    #[arg(long, conflicts_with = "json")]
    curl: bool,
    /// Print a JSON object with headers, body and answers
    #[arg(long)]
    json: bool,
}

pub fn run(command: DeliveriesCommand, session: Session) -> anyhow::Result<Exit> {
    match command {
        DeliveriesCommand::List(arguments) => list(&arguments, &session),
        DeliveriesCommand::Show(arguments) => show(&arguments, &session),
        DeliveriesCommand::Diff(arguments) => diff::run(&arguments, &session),
        DeliveriesCommand::Timeline(arguments) => timeline::run(&arguments, &session),
        DeliveriesCommand::Export(arguments) => export::run(&arguments, &session),
        DeliveriesCommand::Import(arguments) => import::run(&arguments, session),
        DeliveriesCommand::Prune(arguments) => prune::run(&arguments, &session),
    }
}

fn list(arguments: &ListArgs, session: &Session) -> anyhow::Result<Exit> {
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let query = arguments.filter.query(limit, &session.clock);
    let reader = Reader::open(session.state.path())?;
    let deliveries = reader.as_ref().map(|reader| reader.list(&query)).transpose()?.unwrap_or_default();
    let style = session.style();
    for delivery in &deliveries {
        if arguments.json {
            session.output.data(&serde_json::to_string(delivery)?)?;
        } else {
            session.output.data(&style.dated_line(delivery))?;
        }
    }
    if deliveries.is_empty() && !arguments.json {
        let none = || format!("there is no record in {} yet", session.state.path().display());
        session.output.talk(&reader.map_or_else(none, |_| "no recorded delivery matches".to_owned()));
    }
    Ok(Exit::Done)
}

fn show(arguments: &ShowArgs, session: &Session) -> anyhow::Result<Exit> {
    let recorded = find(&session.state, &arguments.delivery)?;
    let output = &session.output;
    if arguments.body {
        output.write_data(&recorded.request.body)?;
    } else if arguments.curl {
        let running = session.state.running()?.and_then(|(running, ..)| running.ingress.parse().ok());
        let target = running.unwrap_or_else(|| Target::local("localhost", 4400));
        output.write_data(&request_text::curl(&target, &recorded.request))?;
    } else if arguments.json {
        output.data(&exchange::shown(&recorded, None)?.to_string())?;
    } else {
        tell(&recorded, session)?;
    }
    Ok(Exit::Done)
}

fn tell(recorded: &Recorded, session: &Session) -> anyhow::Result<()> {
    let Recorded { delivery, request } = recorded;
    let (output, paint) = (&session.output, session.output.paint);
    output.data(&format!(
        "{}  #{}  {}",
        paint.strong(terminal::name(delivery)),
        delivery.number,
        delivery.id
    ))?;
    let examined = drift(recorded);
    let schema = examined.as_ref().map(|examined| ("schema", drift::summary(examined)));
    for (label, value) in facts(delivery, session).into_iter().chain(schema) {
        output.data(&format!("  {}  {value}", paint.faint(format!("{label:<10}"))))?;
    }
    output.data("")?;
    output.data(&format!("{} {}", Printable::text(&request.method), Printable::text(&request.path)))?;
    tell_headers(&request.headers, session)?;
    output.data("")?;
    tell_body(&request.body, session)?;
    if !request.trailers.is_empty() {
        output.data("")?;
        output.data(&paint.faint("trailers, which are not forwarded"))?;
        tell_headers(&request.trailers, session)?;
    }
    let findings = examined.map(|examined| examined.findings).unwrap_or_default();
    if !findings.is_empty() {
        output.data("\nnot as documented")?;
    }
    for finding in &findings {
        output.data(&paint.odd(format!("  {finding}")))?;
    }
    for attempt in &delivery.attempts {
        output.data("")?;
        let target = Printable::text(&attempt.target);
        let took = latency(attempt.duration);
        match &attempt.outcome {
            Outcome::Failed(failure) => {
                let line = format!("attempt {}  {target}  {}  {took}", attempt.number, failure.kind.as_str());
                output.data(&paint.bad(&line))?;
            }
            Outcome::Answered(answer) => {
                let line = format!("attempt {}  {target}  {}  {took}", attempt.number, answer.status);
                let good = attempt.outcome.is_acknowledged();
                output.data(&if good { paint.good(&line) } else { paint.bad(&line) })?;
                roads::show_answer(answer, output)?;
            }
        }
    }
    for hint in hints(delivery, None) {
        output.data(&paint.odd(format!("  hint: {hint}")))?;
    }
    Ok(())
}

fn facts(delivery: &Delivery, session: &Session) -> Vec<(&'static str, String)> {
    let received = delivery.received_at.to_zoned_datetime(session.clock.zone());
    let mut facts = vec![
        ("received", received.strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string()),
        ("origin", delivery.origin.as_str().to_owned()),
        ("contract", delivery.kind.contract.map_or("unknown", Contract::as_str).to_owned()),
        ("wire event", Printable::text(delivery.kind.wire_event.as_deref().unwrap_or("none")).to_string()),
        ("signature", delivery.signature.as_str().to_owned()),
        ("size", size(delivery.body_bytes)),
    ];
    facts.extend(delivery.replay_of.as_ref().map(|id| ("replay of", id.to_string())));
    facts
}

fn tell_headers(headers: &Headers, session: &Session) -> std::io::Result<()> {
    let output = &session.output;
    headers.iter().try_for_each(|(name, value)| {
        output.data(&format!("{}: {}", output.paint.faint(Printable(name).to_string()), Printable(value)))
    })
}

/// A body for reading: JSON laid out, text as it is, anything else by its size.
fn tell_body(body: &[u8], session: &Session) -> std::io::Result<()> {
    let output = &session.output;
    let text = match (Json::parse(body), std::str::from_utf8(body)) {
        _ if body.is_empty() => return output.data(&output.paint.faint("no body")),
        (Ok(json), _) => json.to_pretty(),
        (Err(_), Ok(text)) => text.to_owned(),
        (Err(_), Err(_)) => {
            let what = format!("{} of binary data (--body prints them)", size(body.len() as u64));
            return output.data(&output.paint.faint(&what));
        }
    };
    // At once: there may be a million lines of it.
    let lines = printable_lines(&text);
    output.data(lines.strip_suffix('\n').unwrap_or(&lines))
}
