//! `mbaas-dev deliveries export`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::app::private_file::PrivateFile;
use crate::cli::arguments::whole;
use crate::cli::report::{Exit, Usage};
use crate::cli::selection::{FilterArgs, find, selector};
use crate::cli::writing::named_file;
use crate::cli::{Output, Session};
use crate::model::Target;
use crate::observers::exchange;
use crate::observers::exchange::export::{self, Export};
use crate::store::{Reader, Selector};

/// Write recorded deliveries for other programs, oldest first
///
/// Without ids and filters: all of them. Secrets are redacted unless --no-redact is given: credentials, cookies and
/// signatures in headers; user names and passwords in URLs; values of query parameters that are named like a secret, so
/// that signed media URLs do not work any more; texts in JSON whose key says that they are a secret.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mbaas-dev deliveries export -o deliveries.ndjson\n  \
    mbaas-dev deliveries export --failed --since 1h --format har -o failed.har\n  \
    mbaas-dev deliveries export 12 --format curl")]
pub struct ExportArgs {
    /// Deliveries by id or number: dlv_…, 12 or '#12'
    #[arg(value_name = "ID|#N", value_parser = selector,
          conflicts_with_all = ["event", "contract", "origin", "failed", "since", "search", "limit"])]
    ids: Vec<Selector>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000_u32))]
    limit: Option<u32>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Ndjson, value_name = "FORMAT")]
    format: Format,
    /// The file to write, for its owner only; an existing one is replaced as a whole [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave signatures, URLs and bodies as they were recorded; credentials in headers never were
    #[arg(long)]
    no_redact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line with everything, for `deliveries import`
    Ndjson,
    /// HAR 1.2, for developer tools of browsers
    Har,
    /// curl commands that send them
    Curl,
}

impl From<Format> for export::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson,
            Format::Har => Self::Har,
            Format::Curl => Self::Curl,
        }
    }
}

/// Where it goes.
enum Sink {
    Stdout(Output),
    File(PrivateFile),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout(output) => output.write_data(bytes)?,
            Self::File(file) => file.write(bytes)?,
        }
        Ok(())
    }
}

pub fn run(arguments: &ExportArgs, session: &Session) -> anyhow::Result<Exit> {
    let chosen = choose(arguments, session)?;
    let mut sink = match named_file(arguments.output.as_deref()) {
        Some(path) => Sink::File(PrivateFile::at(&session.folder.join(path))?),
        None => Sink::Stdout(session.output.clone()),
    };
    let running = session.state.running()?.and_then(|(running, ..)| running.ingress.parse().ok());
    let target = running.unwrap_or_else(|| Target::local("localhost", 4400));
    let mut export = Export::new(arguments.format.into(), target);
    sink.write(export.start().as_bytes())?;
    let mut exported = 0_usize;
    // One at a time: the whole record may be larger than the memory.
    for selector in &chosen {
        let recorded = match find(&session.state, selector) {
            Ok(recorded) => recorded,
            // It was pruned since it was chosen by a filter.
            Err(error) if arguments.ids.is_empty() && error.is::<Usage>() => continue,
            Err(error) => return Err(error),
        };
        let recorded = if arguments.no_redact { recorded } else { exchange::redacted(recorded) };
        sink.write(&export.piece(&recorded)?)?;
        exported += 1;
    }
    sink.write(export.end().as_bytes())?;
    if let Sink::File(file) = sink {
        file.finish()?;
    }
    let how = if arguments.no_redact { "as recorded: it may hold secrets" } else { "secrets are redacted" };
    let plural = if exported == 1 { "y" } else { "ies" };
    session.output.talk(&format!("exported {exported} deliver{plural}, {how}"));
    Ok(Exit::Done)
}

/// What to export, oldest first.
fn choose(arguments: &ExportArgs, session: &Session) -> anyhow::Result<Vec<Selector>> {
    if !arguments.ids.is_empty() {
        return Ok(arguments.ids.clone());
    }
    let Some(reader) = Reader::open(session.state.path())? else { return Ok(Vec::new()) };
    let limit = arguments.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let newest_first = arguments.filter.numbers(&reader, limit, &session.clock)?;
    Ok(newest_first.into_iter().rev().map(Selector::Number).collect())
}
