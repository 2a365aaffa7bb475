//! Which secret counts, and where it came from.
//!
//! What `--secret` says counts before everything. Then what is said for one contract counts before what is said for
//! all, and of either kind the running `listen` before the environment, that before the files, and those before what
//! was generated.

use std::fmt;
use std::path::{Path, PathBuf};

use super::endpoints::{BadConfig, Endpoint};
use super::state::{StateError, StateFolder};
use crate::model::{Clock, Contract, Secret};
use crate::signature::{Key, Keyring};

/// Where a secret came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `--secret`.
    Flag,
    /// An environment variable: `MBAAS_DEV_SECRET`, or that of a contract.
    Environment(String),
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
    /// Where the general one came from.
    pub source: SecretSource,
}

/// A secret that somebody gave, for one contract or for all.
#[derive(Clone, Debug)]
pub struct GivenSecret {
    /// The contract; `None` means all.
    pub contract: Option<Contract>,
    /// The secret.
    pub secret: Secret,
    /// Where it was given.
    pub source: SecretSource,
}

/// What was given on the command line, in the environment and in settings, the one that counts more first.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--secret`.
    pub flag: Vec<GivenSecret>,
    /// `MBAAS_DEV_SECRET` and `MBAAS_DEV_SECRET_<CONTRACT>`.
    pub environment: Vec<GivenSecret>,
    /// `[secrets]` of `mbaas-dev.toml`, the project's before the user's.
    pub settings: Vec<GivenSecret>,
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
    /// It would end a header, or write to a terminal.
    #[error("the secret from {0} has a line break or another control character in it")]
    Control(SecretSource),
    /// The configuration file cannot be used.
    #[error(transparent)]
    Config(#[from] BadConfig),
}

/// The secrets that a new `listen` uses.
pub fn choose(
    given: &Given,
    folder: &StateFolder,
    config: &Path,
    endpoints: &[Endpoint],
    clock: &Clock,
) -> Result<ChosenSecret, SecretError> {
    let of_all = key(&given.flag, None)?.or(key(&given.environment, None)?);
    let mut chosen = if let Some((key, source)) = of_all {
        ChosenSecret { keys: Keyring::new(key), source }
    } else if let Some(keys) = from_endpoints(endpoints, config) {
        ChosenSecret { keys, source: SecretSource::Config(config.to_owned()) }
    } else {
        let source = SecretSource::Project;
        let key = Key::new(folder.project_secret(clock)?, source.to_string());
        ChosenSecret { keys: Keyring::new(key), source }
    };
    let generated = folder.contract_secrets()?;
    for contract in Contract::ALL {
        let mut key_of = key(&given.flag, Some(contract))?;
        if key_of.is_none() && chosen.source != SecretSource::Flag {
            key_of = key(&given.environment, Some(contract))?.or(key(&given.settings, Some(contract))?);
            let generated = generated.iter().find(|(of, _)| *of == contract);
            let source = SecretSource::Project;
            key_of = key_of
                .or(generated.map(|(_, secret)| (Key::new(secret.clone(), source.to_string()), source)));
        }
        if let Some((key, _)) = key_of {
            chosen.keys.give(contract, key);
        }
    }
    Ok(chosen)
}

/// The secrets of a running `listen`, with what the command line says for single contracts.
pub fn beside(running: Keyring, given: &Given) -> Result<ChosenSecret, SecretError> {
    let mut chosen = ChosenSecret { keys: running, source: SecretSource::Running };
    for contract in Contract::ALL {
        if let Some((key, _)) = key(&given.flag, Some(contract))? {
            chosen.keys.give(contract, key);
        }
    }
    Ok(chosen)
}

/// The key that was given for a contract, or for all: every secret of the place that counts most.
fn key(
    given: &[GivenSecret],
    contract: Option<Contract>,
) -> Result<Option<(Key, SecretSource)>, SecretError> {
    let mut of_contract = given.iter().filter(|given| given.contract == contract).peekable();
    let Some(source) = of_contract.peek().map(|first| first.source.clone()) else { return Ok(None) };
    let secrets: Vec<Secret> =
        of_contract.filter(|given| given.source == source).map(|given| given.secret.clone()).collect();
    if secrets.iter().any(|secret| secret.expose().is_empty()) {
        return Err(SecretError::Empty(source));
    }
    if secrets.iter().any(Secret::has_control) {
        return Err(SecretError::Control(source));
    }
    Ok(Some((Key { secrets, origin: source.to_string() }, source)))
}

/// The first endpoint's secret is that of events which no endpoint subscribes to.
fn from_endpoints(endpoints: &[Endpoint], config: &Path) -> Option<Keyring> {
    let mut secrets =
        endpoints.iter().filter_map(|endpoint| Some((&endpoint.events, endpoint.secret.clone()?)));
    let (_, first) = secrets.clone().next()?;
    let mut keys = Keyring::new(Key::new(first, config.display().to_string()));
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
            Self::Environment(variable) => f.write_str(variable),
            Self::Running => f.write_str("the running listen"),
            Self::Config(path) => write!(f, "{}", path.display()),
            Self::Project => f.write_str("this project (generated)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(place: &str, secrets: &[(Option<Contract>, &str)]) -> Vec<GivenSecret> {
        let source = match place {
            "flag" => SecretSource::Flag,
            "environment" => SecretSource::Environment("MBAAS_DEV_SECRET".to_owned()),
            file => SecretSource::Config(file.into()),
        };
        let one = |(contract, secret): &(Option<Contract>, &str)| GivenSecret {
            contract: *contract,
            secret: Secret::new(format!("{place}:{secret}")),
            source: source.clone(),
        };
        secrets.iter().map(one).collect()
    }

    fn chosen(given: &Given) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::at(&folder.path().join("state"));
        let clock = Clock::fixed("2026-11-24T09:05:52Z".parse().unwrap(), 1);
        state.renew_contract_secret(Contract::Alert, &clock).unwrap();
        let chosen = choose(given, &state, Path::new("webhook_config.json"), &[], &clock).unwrap();
        let generated = |text: &str| text.starts_with("whsec_") || text.len() == 64;
        let text = |contract| {
            let key = chosen.keys.key(contract, None);
            let texts = key.secrets.iter().map(Secret::expose);
            let texts: Vec<&str> =
                texts.map(|text| if generated(text) { "generated" } else { text }).collect();
            format!("{} from {}", texts.join("+"), key.origin)
        };
        Contract::ALL.map(text).into()
    }

    #[test]
    fn the_flag_counts_before_all_then_the_contract_then_the_place() {
        let (all, v2, callback) = (None, Some(Contract::V2), Some(Contract::Callback));
        let mut everywhere = Given {
            flag: given("flag", &[(all, "all"), (v2, "new"), (v2, "old")]),
            environment: given("environment", &[(all, "all"), (callback, "callback")]),
            settings: [given("project", &[(callback, "callback"), (v2, "v2")]), given("user", &[(v2, "v2")])]
                .concat(),
        };
        let all_from_flag = "flag:all from --secret";
        let of_v2 = "flag:new+flag:old from --secret";
        assert_eq!(chosen(&everywhere), [all_from_flag, of_v2, all_from_flag, all_from_flag, all_from_flag]);
        everywhere.flag.clear();
        let all = "environment:all from MBAAS_DEV_SECRET";
        let generated = "generated from this project (generated)";
        assert_eq!(
            chosen(&everywhere),
            [all, "project:v2 from project", all, "environment:callback from MBAAS_DEV_SECRET", generated],
        );
        assert_eq!(chosen(&Given::default()), [generated; 5]);
    }
}
