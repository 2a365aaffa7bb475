//! Which secret counts, and where it came from.

use std::fmt;
use std::path::PathBuf;
use std::{fs, io};

use serde_json::Value;

use super::state::{StateError, StateFolder};
use crate::model::{Clock, Secret};

/// Where a secret came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `--secret`.
    Flag,
    /// `MBAAS_DEV_SECRET`.
    Environment,
    /// The running `listen`, which was given one of its own.
    Running,
    /// A configuration file.
    Config(PathBuf),
    /// Generated for this project and kept in its state folder.
    Project,
}

/// A secret and where it came from.
#[derive(Clone, Debug)]
pub struct ChosenSecret {
    /// The secret.
    pub secret: Secret,
    /// Where it came from.
    pub source: SecretSource,
}

/// What was given on the command line and in the environment.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--secret`.
    pub flag: Option<Secret>,
    /// `MBAAS_DEV_SECRET`.
    pub environment: Option<Secret>,
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The state folder is in the way.
    #[error(transparent)]
    State(#[from] StateError),
    /// An empty secret signs nothing.
    #[error("the secret from {0} is empty")]
    Empty(SecretSource),
    /// The configuration file cannot be used.
    #[error("{}: {reason}", .path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// The configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it must be there, since somebody named it.
    pub required: bool,
}

/// The secret that a new `listen` uses: the flag, the environment, the configuration file, or the project's own.
pub fn choose(
    given: &Given,
    folder: &StateFolder,
    config: &ConfigFile,
    clock: &Clock,
) -> Result<ChosenSecret, SecretError> {
    let chosen = match (&given.flag, &given.environment) {
        (Some(secret), _) => ChosenSecret { secret: secret.clone(), source: SecretSource::Flag },
        (None, Some(secret)) => ChosenSecret { secret: secret.clone(), source: SecretSource::Environment },
        (None, None) => match from_config(config)? {
            Some(secret) => ChosenSecret { secret, source: SecretSource::Config(config.path.clone()) },
            None => ChosenSecret { secret: folder.project_secret(clock)?, source: SecretSource::Project },
        },
    };
    if chosen.secret.expose().is_empty() {
        return Err(SecretError::Empty(chosen.source));
    }
    Ok(chosen)
}

/// The secret that the project's other commands use: that of the running `listen`, unless a flag says otherwise.
pub fn choose_beside(
    running: Option<&Secret>,
    given: &Given,
    folder: &StateFolder,
    config: &ConfigFile,
    clock: &Clock,
) -> Result<ChosenSecret, SecretError> {
    match running {
        Some(secret) if given.flag.is_none() => {
            Ok(ChosenSecret { secret: secret.clone(), source: SecretSource::Running })
        }
        _ => choose(given, folder, config, clock),
    }
}

fn from_config(file: &ConfigFile) -> Result<Option<Secret>, SecretError> {
    let path = file.path.as_path();
    let bad = |reason: String| SecretError::Config { path: path.to_owned(), reason };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.required => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    let config: Value = serde_json::from_slice(&text)
        .map_err(|error| bad(format!("not JSON (line {}, column {})", error.line(), error.column())))?;
    match config.get("secret") {
        None => Ok(None),
        Some(Value::String(secret)) => Ok(Some(Secret::new(secret.clone()))),
        Some(_) => Err(bad("`secret` must be a string".to_owned())),
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--secret"),
            Self::Environment => f.write_str("MBAAS_DEV_SECRET"),
            Self::Running => f.write_str("the running listen"),
            Self::Config(path) => write!(f, "{}", path.display()),
            Self::Project => f.write_str("this project (generated)"),
        }
    }
}
