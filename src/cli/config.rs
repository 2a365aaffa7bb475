//! `mbaas-dev config`

use clap::parser::ValueSource;
use clap::{Arg, ArgGroup, ArgMatches, Command, Subcommand};
use serde_json::json;

use super::Session;
use super::arguments::SecretArgs;
use super::report::{Exit, Usage};
use super::settings_file::SettingsFile;
use crate::model::{FORMAT_VERSION, Printable, Secret};

/// Look at the settings
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting of a command, and where its value comes from
    ///
    /// A flag counts most, then the environment, then mbaas-dev.toml in the working directory, then the user's
    /// own mbaas-dev/config.toml, then the default.
    Show {
        /// The command
        #[arg(value_name = "COMMAND", default_value = "listen")]
        command: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        secret: SecretArgs,
    },
}

/// What is shown of a secret that is set.
const MASKED: &str = "[masked]";

struct Setting {
    name: String,
    value: Option<String>,
    origin: String,
}

pub fn run(command: &ConfigCommand, session: &Session) -> anyhow::Result<Exit> {
    let ConfigCommand::Show { command, json, secret } = command;
    let mut settings = settings(command, session)?;
    if let Some(setting) = settings.iter_mut().find(|setting| setting.name == "secret") {
        // The value stays where it is; only where it comes from is shown.
        let chosen = secret.choose(session)?;
        let value = || Some(MASKED.to_owned());
        *setting = Setting { name: "secret".to_owned(), value: value(), origin: chosen.source.to_string() };
        settings.extend(chosen.keys.by_contract().map(|(contract, key)| Setting {
            name: format!("secret {contract}"),
            value: value(),
            origin: key.origin.clone(),
        }));
    }
    let width = settings.iter().map(|setting| setting.name.len()).max().unwrap_or_default();
    for Setting { name, value, origin } in settings {
        let line = if *json {
            json!({ "v": FORMAT_VERSION, "setting": name, "value": value, "origin": origin }).to_string()
        } else {
            let value = value.as_deref().map(|value| Printable::text(value).to_string());
            let paint = session.output.paint;
            format!("{name:<width$}  {:<32}  {}", value.as_deref().unwrap_or("-"), paint.faint(&origin))
        };
        session.output.data(&line)?;
    }
    Ok(Exit::Done)
}

fn settings(name: &str, session: &Session) -> anyhow::Result<Vec<Setting>> {
    // As it is without files: those move the options that they set to the end.
    let mut plain = super::command();
    plain.build();
    let Some(command) = plain.find_subcommand(name) else {
        return Err(Usage::new(format!("there is no command `{name}`"), "see `mbaas-dev --help`").into());
    };
    let needs_more = |group: &ArgGroup| group.is_required_set();
    if command.get_arguments().any(Arg::is_required_set)
        || command.get_groups().any(needs_more)
        || command.has_subcommands()
    {
        return Err(Usage::new(format!("`{name}` has no settings that stand by themselves"), "").into());
    }
    let matches = super::settled(name, session)?;
    Ok(command
        .get_arguments()
        .filter_map(|option| setting(option, name, &matches, command, session))
        .collect())
}

fn setting(
    option: &Arg,
    command: &str,
    matches: &ArgMatches,
    whole: &Command,
    session: &Session,
) -> Option<Setting> {
    let name = option.get_long().filter(|name| !["help", "version"].contains(name))?;
    let id = option.get_id().as_str();
    let values: Vec<String> =
        matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect();
    let origin = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => format!("--{name}"),
        Some(ValueSource::EnvVariable) => {
            option.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        _ => {
            let is_global = whole.get_arguments().any(|other| other.get_id() == id && other.is_global_set());
            let section = (!is_global).then_some(command);
            let file = session.settings.iter().rev().find(|file: &&SettingsFile| file.sets(section, name));
            file.map_or_else(|| "default".to_owned(), |file| file.path().display().to_string())
        }
    };
    // What is read as a secret is one: only where it comes from is shown.
    let is_secret = matches.try_get_many::<Secret>(id).is_ok();
    let value = (!values.is_empty()).then(|| if is_secret { MASKED.to_owned() } else { values.join(" ") });
    Some(Setting { name: name.to_owned(), value, origin })
}
