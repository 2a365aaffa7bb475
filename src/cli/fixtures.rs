//! `mbaas-dev fixtures`

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Session;
use super::report::{Exit, Usage};
use crate::fixture::{Catalogue, Entry, Fixture, Run};
use crate::model::{FORMAT_VERSION, Printable};
use crate::sources::watch::read_folder;

/// Work with fixtures of your own
#[derive(Debug, Subcommand)]
pub enum FixturesCommand {
    Init(InitArgs),
    List(FolderArgs),
    Validate(FolderArgs),
}

/// Copy the built-in fixtures into a folder, to be edited; `listen --fixtures DIR` fires them when they are saved
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder
    #[arg(value_name = "DIR", default_value = "fixtures")]
    folder: PathBuf,
    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
}

/// List the fixtures in a folder, or those that are built in
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The folder [default: the built-in fixtures]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(command: FixturesCommand, session: &Session) -> anyhow::Result<Exit> {
    match command {
        FixturesCommand::Init(arguments) => init(&arguments, session),
        FixturesCommand::List(arguments) => list(&arguments, session),
        FixturesCommand::Validate(arguments) => validate(&arguments, session),
    }
}

fn init(arguments: &InitArgs, session: &Session) -> anyhow::Result<Exit> {
    let folder = session.folder.join(&arguments.folder);
    let (mut written, mut kept) = (0, 0);
    for Entry { contract, name, fixture } in Catalogue::embedded().entries() {
        let path = folder.join(contract.as_str()).join(format!("{name}.json"));
        let cannot = |error: io::Error| Usage::new(format!("cannot write {}: {error}", path.display()), "");
        fs::create_dir_all(path.parent().unwrap_or(&folder)).map_err(cannot)?;
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
    session.output.talk(&format!("{written} fixtures written to {}", folder.display()));
    if kept > 0 {
        session
            .output
            .talk(&format!("{kept} were there already and are left alone (--force overwrites them)"));
    }
    session.output.talk("`mbaas-dev listen --fixtures DIR` fires each of them when it is saved");
    Ok(Exit::Done)
}

fn list(arguments: &FolderArgs, session: &Session) -> anyhow::Result<Exit> {
    for (label, fixture) in fixtures(arguments, session)? {
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
                session.output.paint.faint(&shown(meaning.as_deref().unwrap_or_default())),
            )
        };
        session.output.data(line.trim_end())?;
    }
    Ok(Exit::Done)
}

fn validate(arguments: &FolderArgs, session: &Session) -> anyhow::Result<Exit> {
    let mut wrong = 0;
    let all = fixtures(arguments, session)?;
    for (label, fixture) in &all {
        let rendered =
            fixture.about().and_then(|_| fixture.render(&Run::new(&session.clock, session.environment)));
        let error = rendered.err().map(|error| error.to_string());
        wrong += usize::from(error.is_some());
        if arguments.json {
            let object =
                json!({ "v": FORMAT_VERSION, "fixture": label, "valid": error.is_none(), "error": error });
            session.output.data(&object.to_string())?;
        } else if let Some(error) = error {
            session.output.data(&session.output.paint.bad(&error))?;
        }
    }
    session.output.talk(&format!("{} fixtures, {wrong} with errors", all.len()));
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// The fixtures that are meant, each with what it is called.
fn fixtures(arguments: &FolderArgs, session: &Session) -> anyhow::Result<Vec<(String, Fixture)>> {
    let Some(folder) = &arguments.folder else {
        let catalogue = Catalogue::embedded();
        let label = |entry: &Entry| format!("{}/{}", entry.contract, entry.name);
        return Ok(catalogue.entries().map(|entry| (label(entry), entry.fixture.clone())).collect());
    };
    let folder = session.folder.join(folder);
    let files = read_folder(&folder)
        .map_err(|error| Usage::new(format!("cannot read {}: {error}", folder.display()), ""))?;
    files
        .into_keys()
        .map(|path| {
            let source = fs::read(&path)
                .map_err(|error| Usage::new(format!("cannot read {}: {error}", path.display()), ""))?;
            let label = path.strip_prefix(&session.folder).unwrap_or(&path).display().to_string();
            Ok((label.clone(), Fixture::new(label, source)))
        })
        .collect()
}
