//! `mbaas-dev deliveries import`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use clap::Args;
use serde_json::json;

use crate::cli::Session;
use crate::cli::report::{Exit, Usage};
use crate::json::utf8;
use crate::model::{FORMAT_VERSION, Printable};
use crate::observers::exchange;
use crate::store::{Imported, Importer, StoreError};

/// The longest line that is read, in bytes.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

/// How many deliveries are written at a time, which a running `listen` waits for, and how many bytes of bodies.
const BATCH: (usize, usize) = (64, 1024 * 1024);

/// How many malformed lines are told one by one.
const MOST_COMPLAINTS: usize = 20;

/// Take deliveries over that `deliveries export` wrote
///
/// They keep their ids, times, origins and attempts, and get new numbers in the order of the file. Those whose id is there
/// already are skipped, so that importing twice does no harm. A malformed line is reported and skipped as a whole; the
/// exit code is 1 then.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A file of NDJSON, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// Print a JSON object with the sums
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Sums {
    imported: usize,
    skipped: usize,
    malformed: usize,
}

pub fn run(arguments: &ImportArgs, session: Session) -> anyhow::Result<Exit> {
    let input: Box<dyn Read> = if arguments.file == "-" {
        session.announce_input();
        session.input
    } else {
        let path = session.folder.join(&arguments.file);
        let file = File::open(&path);
        Box::new(file.map_err(|error| Usage::new(format!("cannot read {}: {error}", path.display()), ""))?)
    };
    session.state.ensure()?;
    let mut batch = Batch { importer: Importer::open(session.state.path())?, waiting: Vec::new(), bytes: 0 };
    let (mut input, mut line, mut number) = (BufReader::new(input), Vec::new(), 0_u64);
    let mut sums = Sums::default();
    let mut complain = |number: u64, reason: &str| {
        sums.malformed += 1;
        let reason = Printable::text(reason).cut(300);
        match sums.malformed {
            1..=MOST_COMPLAINTS => session.output.complain(&format!("line {number}: {reason}")),
            count if count == MOST_COMPLAINTS + 1 => session.output.complain("… and more"),
            _ => {}
        }
    };
    let (mut imported, mut read) = (0, 0);
    loop {
        number += 1;
        match next_line(&mut input, &mut line).map_err(|error| cannot_read(&arguments.file, &error))? {
            Line::End => break,
            Line::TooLong => complain(number, "it is longer than 64 MiB"),
            Line::Whole if line.trim_ascii().is_empty() => {}
            Line::Whole => match exchange::read(text(&arguments.file, number, &line)?) {
                Ok((incoming, attempts)) => {
                    read += 1;
                    imported += batch.add(Imported { incoming, attempts })?;
                }
                Err(reason) => complain(number, &reason),
            },
        }
    }
    imported += batch.flush()?;
    (sums.imported, sums.skipped) = (imported, read - imported);
    tell(&sums, arguments.json, &session.output)?;
    Ok(if sums.malformed > 0 { Exit::Failed } else { Exit::Done })
}

fn tell(sums: &Sums, json: bool, output: &crate::cli::Output) -> io::Result<()> {
    let Sums { imported, skipped, malformed } = sums;
    if json {
        let object =
            json!({ "v": FORMAT_VERSION, "imported": imported, "skipped": skipped, "malformed": malformed });
        return output.data(&object.to_string());
    }
    let mut parts = vec![format!("{imported} imported"), format!("{skipped} skipped (already there)")];
    if *malformed > 0 {
        parts.push(format!("{malformed} malformed"));
    }
    output.data(&parts.join(" · "))?;
    if *malformed > 0 && *imported + *skipped == 0 {
        output.talk("hint: import reads NDJSON, as `mbaas-dev deliveries export` writes it");
    }
    Ok(())
}

/// What waits to be written: a slow input must not keep others from writing.
struct Batch {
    importer: Importer,
    waiting: Vec<Imported>,
    bytes: usize,
}

impl Batch {
    /// Adds one; how many were recorded by that.
    fn add(&mut self, imported: Imported) -> Result<usize, StoreError> {
        self.bytes += imported.incoming.request.body.len();
        self.waiting.push(imported);
        if self.waiting.len() >= BATCH.0 || self.bytes >= BATCH.1 { self.flush() } else { Ok(0) }
    }

    fn flush(&mut self) -> Result<usize, StoreError> {
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() { Ok(0) } else { self.importer.add(&waiting) }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads the next line into `line`; one that is too long is passed over.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    // A line of 40 MB must not be kept for all the short ones that follow.
    line.shrink_to(BATCH.1);
    let limit = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
    if input.take(limit).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.len() < LONGEST_LINE || line.ends_with(b"\n") {
        return Ok(Line::Whole);
    }
    loop {
        let rest = input.fill_buf()?;
        let (length, ended) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (rest.len(), rest.is_empty()),
        };
        input.consume(length);
        if ended {
            return Ok(Line::TooLong);
        }
    }
}

/// What stands in a line; the first one may have a byte order mark before it, and tells when the file is not UTF-8.
fn text<'a>(file: &str, number: u64, line: &'a [u8]) -> Result<&'a [u8], Usage> {
    if number > 1 {
        return Ok(line);
    }
    utf8(line).map_err(|other| Usage::new(format!("{file}: {other}"), ""))
}

fn cannot_read(file: &str, error: &io::Error) -> Usage {
    let what = if file == "-" { "standard input" } else { file };
    Usage::new(format!("cannot read {what}: {error}"), "")
}
