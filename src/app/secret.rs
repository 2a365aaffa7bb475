//! Which secret counts, and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};

use super::endpoints::{BadConfig, Endpoint};
use super::state::{StateError, StateFolder};
use crate::model::{Clock, Secret};
use crate::signature::Keyring;

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

/// The secrets in use and where they came from.
#[derive(Clone, Debug)]
pub struct ChosenSecret {
    /// The secrets.
    pub keys: Keyring,
    /// Where they came from.
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
    #[error(transparent)]
    Config(#[from] BadConfig),
}

/// The secret that a new `listen` uses: the flag, the environment, the configuration file, or the project's own.
pub fn choose(
    given: &Given,
    folder: &StateFolder,
    config: &Path,
    endpoints: &[Endpoint],
    clock: &Clock,
) -> Result<ChosenSecret, SecretError> {
    let chosen = |secret: Secret, source| ChosenSecret { keys: Keyring::new(secret), source };
    let chosen = match (&given.flag, &given.environment) {
        (Some(secret), _) => chosen(secret.clone(), SecretSource::Flag),
        (None, Some(secret)) => chosen(secret.clone(), SecretSource::Environment),
        (None, None) => match from_endpoints(endpoints) {
            Some(keys) => ChosenSecret { keys, source: SecretSource::Config(config.to_owned()) },
            None => chosen(folder.project_secret(clock)?, SecretSource::Project),
        },
    };
    if chosen.keys.default_secret().expose().is_empty() {
        return Err(SecretError::Empty(chosen.source));
    }
    Ok(chosen)
}

/// The first endpoint's secret is that of events which no endpoint subscribes to.
fn from_endpoints(endpoints: &[Endpoint]) -> Option<Keyring> {
    let mut secrets =
        endpoints.iter().filter_map(|endpoint| Some((&endpoint.events, endpoint.secret.clone()?)));
    let (_, first) = secrets.clone().next()?;
    let mut keys = Keyring::new(first);
    secrets.try_for_each(|(events, secret)| {
        keys.add(events.clone().unwrap_or_default(), secret);
        Some(())
    })?;
    Some(keys)
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
