//! `mbaas-dev fixtures`

mod from;

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Session;
use super::report::{Exit, Usage};
use crate::fixture::{Entry, Examiner, FileKind, Finding, Fixture, Run};
use crate::json::Position;
use crate::model::{Contract, FORMAT_VERSION, Printable};
use crate::observers::drift::finding_object;
use crate::sources::watch::{LARGEST_FILE, read_folder};

/// Work with fixtures of your own
#[derive(Debug, Subcommand)]
pub enum FixturesCommand {
    Init(InitArgs),
    List(FolderArgs),
    Validate(ValidateArgs),
    From(from::FromArgs),
}

/// Copy the built-in fixtures into a folder, to be edited; `listen --fixtures DIR` fires them when they are saved
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder
    #[arg(value_name = "DIR", default_value = "fixtures")]
    folder: PathBuf,
    /// Only those of a contract: preview, v2, v1, callback or alert
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
}

/// List the fixtures in a folder, or those that are built in
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The folder, or one file [default: the built-in fixtures]
    #[arg(value_name = "DIR|FILE")]
    folder: Option<PathBuf>,
    /// Only those of a contract: preview, v2, v1, callback or alert
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Check the fixtures in a folder: whether they can be read, and whether their bodies are as documented
///
/// A body is held against the JSON Schema of its event. The folder that a file is in decides its contract, else its
/// body does. What only is not documented, such as a status code that nobody knows, is told and is no error.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    which: FolderArgs,
}

/// A fixture and what is known of it before it is read.
struct Found {
    label: String,
    file: PathBuf,
    fixture: Fixture,
}

/// A place in a fixture that is not as it should be.
struct Complaint {
    position: Position,
    finding: Finding,
}

pub fn run(command: FixturesCommand, session: &Session) -> anyhow::Result<Exit> {
    match command {
        FixturesCommand::Init(arguments) => init(&arguments, session),
        FixturesCommand::List(arguments) => list(&arguments, session),
        FixturesCommand::Validate(arguments) => validate(&arguments.which, session),
        FixturesCommand::From(arguments) => from::run(&arguments, session),
    }
}

fn init(arguments: &InitArgs, session: &Session) -> anyhow::Result<Exit> {
    let folder = session.folder.join(&arguments.folder);
    let (mut written, mut kept) = (0, 0);
    let wanted = |entry: &&Entry| arguments.contract.is_none_or(|contract| entry.contract == contract);
    for Entry { contract, name, fixture } in session.catalogue.entries().filter(wanted) {
        let path = folder.join(contract.as_str()).join(format!("{name}.json"));
        let cannot = |error: io::Error| Usage::new(format!("cannot write {}: {error}", path.display()), "");
        fs::create_dir_all(path.parent().unwrap_or(&folder)).map_err(cannot)?;
        // The folder may have come with a project, and a link in it could lead anywhere.
        for (place, is_right) in
            [(path.parent().unwrap_or(&folder), Metadata::is_dir as fn(&_) -> _), (&path, Metadata::is_file)]
        {
            if fs::symlink_metadata(place).is_ok_and(|found| !is_right(&found)) {
                let hint = "remove it, or give another folder";
                return Err(Usage::new(
                    format!("{} is a link or a special file; it is left alone", place.display()),
                    hint,
                )
                .into());
            }
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(!arguments.force).create(true).truncate(true);
        match options.open(&path) {
            Ok(mut file) => {
                io::Write::write_all(&mut file, fixture.source()).map_err(cannot)?;
                written += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => kept += 1,
            Err(error) => return Err(cannot(error).into()),
        }
    }
    session.output.talk(&format!("{} written to {}", counted(written), folder.display()));
    if kept > 0 {
        session
            .output
            .talk(&format!("{kept} were there already and are left alone (--force overwrites them)"));
    }
    session.output.talk("`mbaas-dev listen --fixtures DIR` fires each of them when it is saved");
    Ok(Exit::Done)
}

fn list(arguments: &FolderArgs, session: &Session) -> anyhow::Result<Exit> {
    let all = fixtures(arguments, session)?;
    if all.is_empty() {
        session.output.talk(&no_fixtures(arguments, session));
    }
    for Found { label, fixture, .. } in all {
        let meaning = fixture.about().ok().flatten().map(|about| about.meaning);
        let wire_event = fixture.wire_event();
        let line = if arguments.json {
            json!({ "v": FORMAT_VERSION, "fixture": label, "wire_event": wire_event, "meaning": meaning })
                .to_string()
        } else {
            let shown = |text: &str| Printable::text(text).to_string();
            format!(
                "{:<52}  {:<22}  {}",
                shown(&label),
                shown(wire_event.as_deref().unwrap_or("-")),
                session.output.paint.faint(shown(meaning.as_deref().unwrap_or_default())),
            )
        };
        session.output.data(line.trim_end())?;
    }
    Ok(Exit::Done)
}

fn validate(arguments: &FolderArgs, session: &Session) -> anyhow::Result<Exit> {
    let (mut wrong, mut noted) = (0, 0);
    let mut examiner = Examiner::default();
    let all = fixtures(arguments, session)?;
    if all.is_empty() {
        // A mistyped folder must not pass for one in which all is well.
        let hint =
            "a fixture is a file `….json` in the folder or below it; `mbaas-dev fixtures init` makes some";
        return Err(Usage::new(no_fixtures(arguments, session), hint).into());
    }
    for found in &all {
        let checked = check(found, &mut examiner, session);
        let (schema, complaints) = checked
            .as_ref()
            .map_or((None, &[][..]), |(schema, complaints)| (schema.as_deref(), complaints.as_slice()));
        let is_wrong = checked.is_err() || complaints.iter().any(|complaint| complaint.finding.breaks_schema);
        wrong += usize::from(is_wrong);
        noted += usize::from(!is_wrong && !complaints.is_empty());
        if arguments.json {
            let error = checked.as_ref().err().cloned().or_else(|| first_error(found, complaints));
            let findings: Vec<Value> = complaints.iter().map(object).collect();
            let object = json!({
                "v": FORMAT_VERSION, "fixture": found.label, "valid": !is_wrong, "error": error,
                "schema": schema, "findings": findings,
            });
            session.output.data(&object.to_string())?;
            continue;
        }
        let paint = session.output.paint;
        if let Err(error) = &checked {
            session.output.data(&paint.bad(error))?;
        }
        for complaint in complaints {
            let line = line(found, complaint);
            let is_error = complaint.finding.breaks_schema;
            session.output.data(&if is_error { paint.bad(&line) } else { paint.odd(&line) })?;
        }
    }
    let noted = if noted == 0 { String::new() } else { format!(", {noted} not as documented") };
    session.output.talk(&format!("{}, {wrong} with errors{noted}", counted(all.len())));
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// Reads a fixture and holds its body against its schema: which that is, and what is different; or why it cannot be
/// read.
fn check(
    found: &Found,
    examiner: &mut Examiner,
    session: &Session,
) -> Result<(Option<String>, Vec<Complaint>), String> {
    let fixture = &found.fixture;
    let rendered = fixture.render(&Run::new(&session.clock, session.environment));
    let body = rendered.map_err(|error| error.to_string())?;
    let FileKind { kind, name } = examiner.file_kind(&found.file, body.to_canonical().as_bytes());
    let contract = kind.contract.unwrap_or(Contract::Preview);
    let examined = examiner.examine(contract, name.as_ref(), &body);
    let findings = examined.findings.into_iter();
    let placed =
        findings.map(|finding| Complaint { position: finding.position(fixture.source()), finding }).collect();
    Ok((examined.schema, placed))
}

fn line(found: &Found, complaint: &Complaint) -> String {
    let Complaint { position: Position { line, column }, finding } = complaint;
    let label = Printable::text(&found.label);
    let note = if finding.breaks_schema { "" } else { "note: " };
    format!("{label}:{line}:{column}: {note}{finding}")
}

fn first_error(found: &Found, complaints: &[Complaint]) -> Option<String> {
    complaints.iter().find(|complaint| complaint.finding.breaks_schema).map(|first| line(found, first))
}

fn object(complaint: &Complaint) -> Value {
    let Complaint { position, finding } = complaint;
    let mut object = finding_object(finding);
    object["line"] = position.line.into();
    object["column"] = position.column.into();
    object
}

fn counted(fixtures: usize) -> String {
    format!("{fixtures} fixture{}", if fixtures == 1 { "" } else { "s" })
}

/// The fixtures that are meant, each with what it is called.
fn fixtures(arguments: &FolderArgs, session: &Session) -> anyhow::Result<Vec<Found>> {
    let Some(folder) = &arguments.folder else {
        let wanted = |entry: &&Entry| arguments.contract.is_none_or(|contract| entry.contract == contract);
        let found = |entry: &Entry| {
            let label = format!("{}/{}", entry.contract, entry.name);
            Found { file: PathBuf::from(format!("{label}.json")), label, fixture: entry.fixture.clone() }
        };
        return Ok(session.catalogue.entries().filter(wanted).map(found).collect());
    };
    let folder = session.folder.join(folder);
    let names = session.catalogue.wire_names();
    let files = if fs::metadata(&folder).is_ok_and(|found| found.is_file()) {
        vec![folder]
    } else {
        files_in(&folder, session)?
    };
    let mut all = Vec::new();
    for path in files {
        let source = fs::read(&path).map_err(|error| cannot(&path, &error))?;
        let contract = FileKind::of(&names, &path, &source).kind.contract;
        if arguments.contract.is_some() && arguments.contract != contract {
            continue;
        }
        let label = path.strip_prefix(&session.folder).unwrap_or(&path).display().to_string();
        all.push(Found { label: label.clone(), fixture: Fixture::new(label, source), file: path });
    }
    Ok(all)
}

/// The files of fixtures in a folder. What is passed over there is told.
fn files_in(folder: &Path, session: &Session) -> Result<Vec<PathBuf>, Usage> {
    let found = read_folder(folder).map_err(|error| cannot(folder, &error))?;
    if let Some((path, error)) = found.unreadable.first() {
        return Err(cannot(path, error));
    }
    let links = found.links.iter().map(|path| (path, "a link and passed over, since it could lead anywhere"));
    let size = format!("larger than {} MiB and passed over", LARGEST_FILE >> 20);
    let too_large = found.too_large.keys().map(|path| (path, size.as_str()));
    for (path, what) in links.chain(too_large) {
        let label = path.strip_prefix(&session.folder).unwrap_or(path).display().to_string();
        session.output.complain(&format!("note: {} is {what}", Printable::text(&label)));
    }
    Ok(found.files.into_keys().collect())
}

fn cannot(path: &Path, error: &io::Error) -> Usage {
    Usage::new(format!("cannot read {}: {error}", path.display()), "")
}

/// That a folder has no fixtures; of the contract, where only that is meant.
fn no_fixtures(arguments: &FolderArgs, session: &Session) -> String {
    let of = arguments.contract.map(|contract| format!(" of {contract}")).unwrap_or_default();
    let folder =
        arguments.folder.as_deref().map_or_else(|| session.folder.clone(), |it| session.folder.join(it));
    format!("there is no fixture{of} in {}", folder.display())
}
