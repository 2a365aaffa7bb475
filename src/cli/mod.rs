//! The command line: one file for each command, with its help text, its arguments and one function.

mod alerting;
mod arguments;
mod check;
mod completions;
mod config;
mod deliveries;
mod demo;
mod doctor;
mod env_file;
mod events;
mod expectation;
mod fixtures;
mod greeting;
mod guard;
mod in_vain;
mod inspector;
mod keyboard;
mod keys;
mod listen;
mod output;
mod persisting;
mod relay;
mod replay;
mod report;
mod roads;
mod scenario;
mod screen;
mod scrutiny;
mod secret;
mod selection;
mod settings_file;
mod sign;
mod trigger;
mod tunnel;
mod verify;
mod writing;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::{BoolishValueParser, Resettable};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::output::{ColorChoice, Output, Volume};
pub use self::report::Exit;
use self::report::Usage;
use self::settings_file::SettingsFile;
use crate::app::endpoints::{BadConfig, ConfigFile, Endpoint};
use crate::app::state::StateFolder;
use crate::fixture::Catalogue;
use crate::model::{Clock, EventType, printable_lines};
use crate::observers::terminal::Style;

/// Local development tunnel and webhook simulator for Meeting BaaS webhooks.
///
/// Point your handler's webhooks at `listen`, send signed events with `trigger`, send recorded ones again with
/// `replay`. Works offline; nothing leaves this machine.
#[derive(Debug, Parser)]
#[command(name = "mbaas-dev", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not acknowledged by the handler, \
                        4 signature not valid, 5 target unreachable or timed out, 6 relay not usable, 130 interrupted.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The project's state folder: recorded deliveries, the generated secret, the running listen
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "MBAAS_DEV_DATA_DIR",
        hide_env_values = true,
        default_value = ".mbaas-dev"
    )]
    data_dir: PathBuf,
    /// The file of the Webhooks API page: endpoints with their events, secrets and paths
    /// [default: webhook_config.json, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "MBAAS_DEV_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    color: ColorChoice,
    /// Say nothing but data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Show whole answers instead of a glance
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Listen(listen::ListenArgs),
    Trigger(trigger::TriggerArgs),
    Replay(replay::ReplayArgs),
    Check(check::CheckArgs),
    #[command(subcommand)]
    Scenario(scenario::ScenarioCommand),
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    #[command(subcommand)]
    Events(events::EventsCommand),
    #[command(subcommand)]
    Fixtures(fixtures::FixturesCommand),
    Sign(sign::SignArgs),
    Verify(verify::VerifyArgs),
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    Inspector(inspector::InspectArgs),
    Relay(relay::RelayArgs),
    Demo(demo::DemoArgs),
    Doctor(doctor::DoctorArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Completions(completions::CompletionsArgs),
    /// Print the manual, for `man -l -`
    Man,
}

/// What commands get from the outside world.
pub struct Context {
    /// Time and ids.
    pub clock: Clock,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// Looks up an environment variable.
    pub environment: fn(&str) -> Option<String>,
    /// Standard input.
    pub input: Box<dyn Read + Send>,
    /// Whether somebody types that.
    pub input_is_terminal: bool,
    /// Standard output and standard error.
    pub output: Output,
}

impl Context {
    /// The outside world of this process.
    #[expect(clippy::disallowed_methods, reason = "this is where the environment reaches the program")]
    pub fn process() -> io::Result<Self> {
        Ok(Self {
            clock: Clock::real(),
            folder: std::env::current_dir()?,
            environment: |name| std::env::var(name).ok(),
            input: Box::new(io::stdin()),
            input_is_terminal: io::stdin().is_terminal(),
            output: Output::process(),
        })
    }
}

/// A command's view of the world: the outside and the global options.
struct Session {
    clock: Clock,
    folder: PathBuf,
    environment: fn(&str) -> Option<String>,
    input: Box<dyn Read + Send>,
    input_is_terminal: bool,
    output: Output,
    settings: Vec<SettingsFile>,
    /// The global options that stand on the command line.
    given: Vec<OsString>,
    /// What is wrong with the files of settings; only `doctor` runs all the same.
    settings_error: Option<String>,
    state: StateFolder,
    config: ConfigFile,
    catalogue: LazyLock<Catalogue>,
}

impl Session {
    /// How deliveries are written for people.
    fn style(&self) -> Style {
        Style { paint: self.output.paint, zone: self.clock.zone(), width: self.output.width }
    }

    /// The endpoints of `webhook_config.json`.
    fn endpoints(&self) -> Result<Vec<Endpoint>, BadConfig> {
        // Those of the page come first; whoever gets those of v2 writes the same file.
        let known: Vec<EventType> =
            self.catalogue.entries().map(|entry| entry.name.event_type.clone()).collect();
        self.config.read(&known)
    }

    /// Says what is waited for, where somebody has to type it.
    fn announce_input(&self) {
        if self.input_is_terminal {
            self.output.talk("reading from standard input, until Ctrl-D");
        }
    }

    /// The bytes of a file, or of standard input for `-`.
    fn read(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if name == "-" {
            self.announce_input();
            self.input
                .read_to_end(&mut bytes)
                .map_err(|error| report::Usage::new(format!("cannot read standard input: {error}"), ""))?;
            return Ok(bytes);
        }
        let path = self.folder.join(name);
        let read = std::fs::read(&path);
        Ok(read.map_err(|error| report::Usage::new(format!("cannot read {}: {error}", path.display()), ""))?)
    }
}

/// Parses the arguments and runs the command that they name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, context: Context) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let loaded = SettingsFile::load(&context.folder, context.environment).and_then(|files| {
        files.iter().try_fold(command(), |command, file| file.apply(command)).and(Ok(files))
    });
    let (settings, mut settings_error) = match loaded {
        Ok(settings) => (settings, None),
        Err(error) if arguments.iter().any(|word| word == "doctor") => (Vec::new(), Some(error)),
        Err(error) => return report::report(&error.into(), &context.output),
    };
    let parsed = matches(&arguments, &settings)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, given_globals(&matches))));
    let (cli, given) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return explain(error, &context.output),
    };
    if let Some(error) = settings_error.take_if(|_| !matches!(cli.command, Command::Doctor(_))) {
        return report::report(&error.into(), &context.output);
    }
    let Global { data_dir, config, color, quiet, verbose } = cli.global;
    let volume = match (quiet, verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    };
    let session = Session {
        clock: context.clock,
        settings,
        given,
        settings_error: settings_error.map(|error| error.to_string()),
        state: StateFolder::at(&context.folder.join(data_dir)),
        config: ConfigFile {
            required: config.is_some(),
            path: context.folder.join(config.unwrap_or_else(|| "webhook_config.json".into())),
        },
        catalogue: LazyLock::new(Catalogue::embedded),
        folder: context.folder,
        environment: context.environment,
        input: context.input,
        input_is_terminal: context.input_is_terminal,
        output: context.output.styled(color, context.environment, volume),
    };
    let output = session.output.clone();
    match dispatch(cli.command, session) {
        Ok(exit) => exit,
        Err(error) => report::report(&error, &output),
    }
}

/// The end when there is no outside world to work in.
pub fn give_up(error: io::Error) -> Exit {
    let error = anyhow::Error::new(error).context("the working directory cannot be found");
    report::report(&error, &Output::process())
}

fn dispatch(command: Command, session: Session) -> anyhow::Result<Exit> {
    // That one says it among other things.
    if !matches!(command, Command::Doctor(_)) {
        session.state.check()?;
    }
    match command {
        Command::Listen(arguments) => listen::run(arguments, session),
        Command::Trigger(arguments) => trigger::run(&arguments, session),
        Command::Replay(arguments) => replay::run(&arguments, &session),
        Command::Check(arguments) => check::run(&arguments, &session),
        Command::Scenario(command) => scenario::run(command, session),
        Command::Deliveries(command) => deliveries::run(command, session),
        Command::Events(command) => events::run(command, &session),
        Command::Fixtures(command) => fixtures::run(command, &session),
        Command::Sign(arguments) => sign::run(&arguments, session),
        Command::Verify(arguments) => verify::run(&arguments, session),
        Command::Secret(command) => secret::run(&command, &session),
        Command::Inspector(arguments) => inspector::run(&arguments, &session),
        Command::Relay(arguments) => relay::run(arguments, &session),
        Command::Demo(arguments) => demo::run(&arguments, session),
        Command::Doctor(arguments) => doctor::run(&arguments, &session),
        Command::Config(command) => config::run(&command, &session),
        Command::Completions(arguments) => completions::run(&arguments, &session),
        Command::Man => completions::man(&session),
    }
}

/// Parses arguments whose defaults come from files of settings.
fn matches(arguments: &[OsString], settings: &[SettingsFile]) -> anyhow::Result<ArgMatches> {
    let command = settings.iter().try_fold(command(), |command, file| file.apply(command))?;
    match without_beaten_variables(command, arguments).try_get_matches_from(arguments) {
        Ok(matches) => Ok(matches),
        // What is right without the files is wrong in one of them.
        Err(error) if error.use_stderr() && Cli::try_parse_from(arguments).is_ok() => {
            // The last of them counts most.
            let at = settings.iter().rev().find_map(|file| file.place_of(&error, arguments));
            let files = || settings.iter().map(|file| file.path().display().to_string()).collect::<Vec<_>>();
            let at = at.unwrap_or_else(|| files().join(" or "));
            Err(Usage::new(format!("{at}: {}", sentence(&error)), "").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// An option on the command line beats the environment variables of those that it goes in the place of.
fn without_beaten_variables(command: clap::Command, arguments: &[OsString]) -> clap::Command {
    let is_given = |option: &clap::Arg| {
        let names = |word: &OsString| {
            let word = word.to_str().and_then(|word| word.strip_prefix("--"))?;
            word.split('=').next().map(ToOwned::to_owned)
        };
        option.get_long().is_some_and(|long| arguments.iter().filter_map(names).any(|name| name == long))
    };
    let given = command.get_arguments().filter(|option| is_given(option));
    let beaten: Vec<clap::Id> = given
        .flat_map(|option| command.get_arg_conflicts_with(option))
        .filter(|option| !is_given(option))
        .map(|option| option.get_id().clone())
        .collect();
    let set = |option: clap::Arg| {
        if beaten.contains(option.get_id()) { option.env(Resettable::Reset) } else { option }
    };
    command.mut_args(set).mut_subcommands(|command| without_beaten_variables(command, arguments))
}

/// The global options that stand on the command line, as they would be written there.
fn given_globals(matches: &ArgMatches) -> Vec<OsString> {
    let mut globals = Global::augment_args(clap::Command::new("mbaas-dev"));
    globals.build();
    let written = |option: &clap::Arg| {
        let (id, long) = (option.get_id().as_str(), option.get_long()?);
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            return None;
        }
        let mut word = OsString::from(format!("--{long}"));
        if option.get_action().takes_values() {
            word.push("=");
            word.push(matches.get_raw(id)?.next()?);
        }
        Some(word)
    };
    globals.get_arguments().filter_map(written).collect()
}

/// What a command would be given now without any arguments but the global ones, by those, the environment and files of
/// settings.
fn settled(name: &str, session: &Session) -> anyhow::Result<ArgMatches> {
    let arguments: Vec<OsString> =
        ["mbaas-dev".into(), name.into()].into_iter().chain(session.given.iter().cloned()).collect();
    let given = matches(&arguments, &session.settings);
    let mut given = given.map_err(|error| match error.downcast::<clap::Error>() {
        Ok(error) => Usage::new(sentence(&error), "").into(),
        Err(error) => error,
    })?;
    Ok(given.remove_subcommand().map_or(given, |(_, of_command)| of_command))
}

/// What the parser has to say, without its advice on how to ask for help.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Help and version are data; everything else that the parser says is a complaint.
fn explain(error: anyhow::Error, output: &Output) -> Exit {
    let error = match error.downcast::<clap::Error>() {
        Ok(error) => error,
        Err(error) => return report::report(&error, output),
    };
    let text = error.to_string();
    if error.use_stderr() {
        output.complain(printable_lines(&text).trim_end());
        return Exit::Usage;
    }
    match output.write_data(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) => report::report(&error.into(), output),
    }
}

/// The command line as the parser sees it, for completions and the manual.
fn command() -> clap::Command {
    let of_listen = "The secret that signatures are checked with, or that of one contract: v2=whsec_…; several for one \
        contract while it is being changed [default: MBAAS_DEV_SECRET, else `secret` of webhook_config.json, else one \
        generated for this project]";
    // It shares the flag with those that work beside a running listen.
    let command = Cli::command()
        .mut_args(with_variable)
        .mut_subcommand("listen", |listen| listen.mut_arg("secret", |secret| secret.help(of_listen)))
        .mut_subcommand("listen", |listen| listen.mut_args(with_variable))
        .mut_subcommand("check", check::in_its_words);
    let command = without_empty_variables(command);
    let name = command.get_name().to_owned();
    named(command, &name)
}

/// An option with the environment variable of its name, unless it has one. Secrets are read by themselves.
fn with_variable(option: clap::Arg) -> clap::Arg {
    let Some(long) = option.get_long().filter(|long| *long != "secret" && option.get_env().is_none()) else {
        return option;
    };
    let name = format!("MBAAS_DEV_{}", long.to_uppercase().replace('-', "_"));
    let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
    let option = option.env(name).hide_env(true);
    if is_flag { option.value_parser(BoolishValueParser::new()) } else { option }
}

/// An environment variable that is set to nothing counts as not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    // The parser reads the environment by itself, and so must this.
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let set = |option: clap::Arg| {
        if option.get_env().is_some_and(is_empty) { option.env(Resettable::Reset) } else { option }
    };
    command.mut_args(set).mut_subcommands(without_empty_variables)
}

/// Names every command below as it is called, for what shows its name.
fn named(command: clap::Command, name: &str) -> clap::Command {
    let below: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    below.into_iter().fold(command, |command, word| {
        let name = format!("{name} {word}");
        command.mut_subcommand(word, |below| named(below.display_name(name.clone()), &name))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
