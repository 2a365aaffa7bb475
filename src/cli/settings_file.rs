//! `mbaas-dev.toml`: the user's own defaults for options, in the project and for all projects.
//!
//! A key is the long name of an option; the options of a command stand in a table of its name:
//!
//! ```toml
//! data-dir = ".webhooks"
//! [listen]
//! forward = "localhost:3000"
//! route = ["calendar.*=localhost:8000"]
//! ```
//!
//! The table `[secrets]` holds the secrets of contracts, for every command; several while one is being changed:
//!
//! ```toml
//! [secrets]
//! callback = "…"
//! v2 = ["whsec_…", "whsec_…"]
//! ```

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use toml::de::DeTable;
use toml::{Table, Value};

use super::guard;
use super::report::Usage;
use crate::app::secret::{GivenSecret, SecretSource};
use crate::json::Position;
use crate::model::{Contract, Secret, nearest};

/// The file of a project, in the working directory.
pub const PROJECT_FILE: &str = "mbaas-dev.toml";

/// The table of secrets, which are no options of a command.
const SECRETS: &str = "secrets";

/// The option that a command takes a secret by.
const SECRET: &str = "secret";

/// A file of settings.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
    /// What stands in it, for the places of what is wrong.
    text: String,
    table: Table,
    /// Whether it lies in the project, where others may have put it.
    is_of_project: bool,
}

impl SettingsFile {
    /// The files that are there, the one that counts most last: the user's, then the project's.
    pub fn load(folder: &Path, environment: fn(&str) -> Option<String>) -> Result<Vec<Self>, Usage> {
        let user = environment("XDG_CONFIG_HOME")
            .filter(|path| Path::new(path).is_absolute())
            .map(PathBuf::from)
            .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")))
            .map(|configuration| (configuration.join("mbaas-dev/config.toml"), false));
        let project = (folder.join(PROJECT_FILE), true);
        user.into_iter()
            .chain([project])
            .filter_map(|(path, is_of_project)| Self::read(path, is_of_project).transpose())
            .collect()
    }

    fn read(path: PathBuf, is_of_project: bool) -> Result<Option<Self>, Usage> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Usage::new(format!("cannot read {}: {error}", path.display()), "")),
        };
        let table = text.parse::<Table>().map_err(|error| {
            let at = located(&path, &text, error.span().unwrap_or_default());
            Usage::new(format!("{at}: {}", error.message()), "")
        })?;
        Ok(Some(Self { path, text, table, is_of_project }))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the option stands that the parser complains of, if it is set here for the command in `arguments`.
    pub fn place_of(&self, error: &clap::Error, arguments: &[OsString]) -> Option<String> {
        let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
        let key = option.strip_prefix("--")?.split([' ', '=']).next()?;
        let document = DeTable::parse(&self.text).ok()?;
        Some(located(&self.path, &self.text, option_of(document.get_ref(), key, arguments)?))
    }

    /// Where a key stands, or else its value; `place` names the tables that it is in, as `listen.` does.
    fn at(&self, part: Part, place: &str, key: &str) -> String {
        let span = || {
            let document = DeTable::parse(&self.text).ok()?;
            let mut table = document.get_ref();
            for name in place.split_terminator('.') {
                table = table.get(name)?.get_ref().as_table()?;
            }
            let (key, value) = table.get_key_value(key)?;
            Some(match part {
                Part::Key => key.span(),
                Part::Value => value.span(),
            })
        };
        span().map_or_else(|| self.path.display().to_string(), |span| located(&self.path, &self.text, span))
    }

    /// Makes its values the defaults of the command line.
    pub fn apply(&self, command: Command) -> Result<Command, Usage> {
        self.secrets()?;
        let mut options = self.table.clone();
        options.remove(SECRETS);
        self.apply_table(command, &options, "")
    }

    /// The secrets of contracts. What is wrong with them is said without quoting them.
    pub fn secrets(&self) -> Result<Vec<GivenSecret>, Usage> {
        let wrong = |at: String, what: String| Usage::new(format!("{at}: {what}"), "");
        let table = match self.table.get(SECRETS) {
            None => return Ok(Vec::new()),
            Some(Value::Table(table)) => table,
            Some(_) => {
                return Err(wrong(
                    self.at(Part::Value, "", SECRETS),
                    "`secrets` is a table: `[secrets]` and below it `v2 = \"whsec_…\"`".to_owned(),
                ));
            }
        };
        let mut given = Vec::new();
        for (name, value) in table {
            let place = format!("{SECRETS}.");
            let contract: Contract =
                name.parse().map_err(|problem| wrong(self.at(Part::Key, &place, name), problem))?;
            let texts: Option<Vec<&str>> = match value {
                Value::Array(items) => items.iter().map(Value::as_str).collect(),
                value => value.as_str().map(|text| vec![text]),
            };
            let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
            let texts = texts.ok_or_else(|| {
                let problem = format!("`secrets.{name}` must be a text that is not empty, or a list of them");
                wrong(self.at(Part::Value, &place, name), problem)
            })?;
            let source = SecretSource::Config(self.path.clone());
            given.extend(texts.into_iter().map(|text| GivenSecret {
                contract: Some(contract),
                secret: Secret::new(text),
                source: source.clone(),
            }));
        }
        Ok(given)
    }

    /// Whether it sets an option of a command; options of all commands have none.
    pub fn sets(&self, command: Option<&str>, option: &str) -> bool {
        let table = match command {
            Some(command) => self.table.get(command).and_then(Value::as_table),
            None => Some(&self.table),
        };
        table.is_some_and(|table| table.contains_key(option))
    }

    fn apply_table(&self, command: Command, table: &Table, place: &str) -> Result<Command, Usage> {
        table.iter().try_fold(command, |command, (key, value)| match value {
            Value::Table(inner) => self.apply_inner(command, key, inner, &format!("{place}{key}.")),
            value => self.apply_value(command, key, value, place),
        })
    }

    fn apply_inner(
        &self,
        command: Command,
        name: &str,
        table: &Table,
        place: &str,
    ) -> Result<Command, Usage> {
        let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        if !names.contains(&name) {
            let above = place.strip_suffix(&format!("{name}.")).unwrap_or_default();
            return Err(self.unknown("command", above, name, &names));
        }
        let mut result = Ok(());
        let command =
            command.mut_subcommand(name, |inner| match self.apply_table(inner.clone(), table, place) {
                Ok(changed) => changed,
                Err(error) => {
                    result = Err(error);
                    inner
                }
            });
        result.map(|()| command)
    }

    fn apply_value(&self, command: Command, key: &str, value: &Value, place: &str) -> Result<Command, Usage> {
        if key == SECRET {
            return Err(Usage::new(
                format!("{}: secrets stand in the table `[secrets]`", self.at(Part::Value, place, key)),
                "there they count for every command: `[secrets]` and below it `v2 = \"whsec_…\"`",
            ));
        }
        let options: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        let named = |option: &&Arg| option.get_long() == Some(key);
        let Some(id) = command.get_arguments().find(named).map(|option| option.get_id().to_string()) else {
            let elsewhere = if place.is_empty() { tables_with(&command, key, "") } else { Vec::new() };
            return Err(match elsewhere.as_slice() {
                [] => self.unknown("option", place, key, &options),
                tables => {
                    let at = self.at(Part::Key, place, key);
                    Usage::new(
                        format!("{at}: there is no option `{key}` of all commands; {}", belongs(tables)),
                        "",
                    )
                }
            });
        };
        let values = match value {
            Value::Array(items) => items.iter().map(scalar).collect::<Option<Vec<String>>>(),
            value => scalar(value).map(|value| vec![value]),
        };
        let values = values.ok_or_else(|| {
            Usage::new(
                format!(
                    "{}: `{place}{key}` must be a text, a number, true or false, or a list of them",
                    self.at(Part::Value, place, key)
                ),
                "",
            )
        })?;
        if let (true, Some(does)) = (self.is_of_project, guard::forbidden(place, key, &values)) {
            return Err(Usage::new(
                format!("{}: `{key}` would {does}", self.at(Part::Value, place, key)),
                "a file that comes with a project may not do that: give it on the command line, or in your own \
                 ~/.config/mbaas-dev/config.toml",
            ));
        }
        Ok(command.mut_arg(id, |option| option.default_values(values)))
    }

    fn unknown(&self, what: &str, place: &str, name: &str, known: &[&str]) -> Usage {
        let nearest = nearest(name, known.iter().copied());
        let nearest = nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        let at = self.at(Part::Key, place, name);
        Usage::new(format!("{at}: there is no {what} `{place}{name}`{nearest}"), "")
    }
}

/// The tables of the commands that have an option.
fn tables_with(command: &Command, option: &str, place: &str) -> Vec<String> {
    let mut tables = Vec::new();
    for inner in command.get_subcommands() {
        let name = format!("{place}{}", inner.get_name());
        if inner.get_arguments().any(|argument| argument.get_long() == Some(option)) {
            tables.push(format!("`[{name}]`"));
        }
        tables.extend(tables_with(inner, option, &format!("{name}.")));
    }
    tables
}

/// Says where an option belongs: below one of the tables.
fn belongs(tables: &[String]) -> String {
    match tables {
        [only] => format!("it belongs below {only}"),
        [first, rest @ ..] if rest.len() < 4 => format!("it belongs below {first} or {}", rest.join(" or ")),
        several => format!("it belongs below the table of a command, such as {}", several[0]),
    }
}

/// A key, or what is set to it.
#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
}

/// A place in a file: `mbaas-dev.toml:2:8`.
fn located(path: &Path, text: &str, span: Range<usize>) -> String {
    let Position { line, column } = Position::of(text, span.start.min(text.len()));
    format!("{}:{line}:{column}", path.display())
}

/// The value of an option, in the table of the innermost command that `arguments` have.
fn option_of(table: &DeTable<'_>, key: &str, arguments: &[OsString]) -> Option<Range<usize>> {
    let is_meant = |name: &str| arguments.iter().any(|word| word == name);
    let inner = table.iter().filter(|(name, _)| is_meant(name.get_ref()));
    let mut inner = inner.filter_map(|(_, value)| value.get_ref().as_table());
    inner
        .find_map(|table| option_of(table, key, arguments))
        .or_else(|| table.get(key).map(toml::Spanned::span))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
