//! The state folder of a project: who may read it, the one file of secrets, the running `listen`.

mod error;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use self::error::StateError;
use super::private_file::without_path;
use super::secret::SecretSource;
use crate::fixture::Artifacts;
use crate::model::{ChannelId, Clock, Contract, Secret};
use crate::signature::{Key, Keyring};

/// The file of secrets, mode 0600: the only place on disk that holds one.
const SECRETS: &str = "secrets.json";
/// Says where the running `listen` is; locked as long as it runs.
const LISTEN: &str = "listen.json";
/// Locked as long as a relay keeps its messages here.
const RELAY: &str = "relay.lock";
/// Locked while the file of secrets changes.
const LOCK: &str = "lock";

/// A project's state folder.
#[derive(Clone, Debug)]
pub struct StateFolder(PathBuf);

/// A `listen` that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// Its process, for people: it is never used to signal it.
    pub pid: u32,
    /// The URL of its ingress.
    pub ingress: String,
    /// Where it forwards to.
    pub forward: Option<String>,
    /// The URL of its artifact server.
    pub artifacts: Option<String>,
    /// How long the URLs of artifacts work, in seconds, whatever a fixture says of that.
    pub artifact_lifetime: Option<u32>,
}

impl Running {
    /// Where the files of meetings can be fetched; `token` is that of this listen.
    pub fn artifacts(&self, token: &Secret) -> Artifacts {
        let at = |url: &String| Artifacts::at(url, token.clone(), self.artifact_lifetime);
        self.artifacts.as_ref().map(at).unwrap_or_default()
    }
}

/// Where an inspector is asked, and what scripts prove themselves with there.
#[derive(Clone, Debug)]
pub struct InspectorToken {
    /// Its URL.
    pub url: String,
    /// Its token.
    pub token: Secret,
}

/// Keeps a `listen` and an inspector known until dropped.
#[derive(Debug)]
pub struct Registration {
    folder: StateFolder,
    listen: Option<File>,
    inspector: Option<InspectorToken>,
}

#[derive(Default, Serialize, Deserialize)]
struct Secrets {
    /// The secret that was generated for the project.
    project: Option<String>,
    /// The secrets that were generated for its contracts, by their names.
    #[serde(default)]
    contracts: BTreeMap<String, String>,
    /// What the running `listen` uses.
    listen: Option<ListenSecrets>,
    /// The token of each running inspector, by its URL, for scripts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    inspectors: BTreeMap<String, String>,
    /// What proves to each relay, by its URL, that a channel is ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tunnels: BTreeMap<String, TunnelSecrets>,
    /// What a relay that runs here seals its messages with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct TunnelSecrets {
    token: String,
    /// The channel that the relay gave for it.
    channel: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ListenSecrets {
    secret: String,
    /// Others that count beside it, while it is being changed.
    #[serde(default)]
    more: Vec<String>,
    /// The secrets of contracts that have their own, by their names.
    #[serde(default)]
    contracts: BTreeMap<String, Vec<String>>,
    /// Event globs and the secret of those events.
    #[serde(default)]
    special: Vec<(String, String)>,
    token: String,
}

impl StateFolder {
    /// The folder at `path`, whether it is there yet or not.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder when it is not there: mode 0700, ignored by git. Whoever writes into it calls this first;
    /// a command that only reads leaves no trace.
    pub fn ensure(&self) -> Result<(), StateError> {
        let path = &self.0;
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(StateError::NotOurs { path: path.clone(), expected: "a folder" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault("look at", path)(error)),
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault("make", path))?;
        let ignore = path.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(fault("write", &ignore))
    }

    /// Fails when something else stands where the folder belongs; that it is not there yet is fine.
    pub fn check(&self) -> Result<(), StateError> {
        match fs::symlink_metadata(&self.0) {
            Ok(found) if !found.is_dir() => {
                Err(StateError::NotOurs { path: self.0.clone(), expected: "a folder" })
            }
            _ => Ok(()),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The secret that was generated for this project; the first call generates it.
    pub fn project_secret(&self, clock: &Clock) -> Result<Secret, StateError> {
        if let Some(secret) = self.read_secrets()?.project {
            return Ok(Secret::new(secret));
        }
        self.change_secrets(|secrets| {
            Secret::new(secrets.project.get_or_insert_with(|| new_secret(clock).expose().to_owned()).clone())
        })
    }

    /// Generates another secret for this project.
    pub fn renew_project_secret(&self, clock: &Clock) -> Result<Secret, StateError> {
        let secret = new_secret(clock);
        self.change_secrets(|secrets| secrets.project = Some(secret.expose().to_owned()))?;
        Ok(secret)
    }

    /// The secrets that were generated for single contracts.
    pub fn contract_secrets(&self) -> Result<Vec<(Contract, Secret)>, StateError> {
        let named = |(name, secret): (String, String)| Some((name.parse().ok()?, Secret::new(secret)));
        Ok(self.read_secrets()?.contracts.into_iter().filter_map(named).collect())
    }

    /// Generates a secret for one contract of this project: of the `whsec_` form for `v2`, else 64 hexadecimal digits.
    pub fn renew_contract_secret(&self, contract: Contract, clock: &Clock) -> Result<Secret, StateError> {
        let secret = match contract {
            Contract::V2 => new_secret(clock),
            _ => Secret::new(hex::encode(clock.random_bytes::<32>())),
        };
        let name = contract.as_str().to_owned();
        self.change_secrets(|secrets| secrets.contracts.insert(name, secret.expose().to_owned()))?;
        Ok(secret)
    }

    /// What proves to a relay that our channel is ours, and that channel, if it gave one; the first call makes the former.
    pub fn tunnel(&self, relay: &str, clock: &Clock) -> Result<(Secret, Option<ChannelId>), StateError> {
        let read = |tunnel: &TunnelSecrets| {
            (Secret::new(&*tunnel.token), tunnel.channel.as_ref().and_then(|text| text.parse().ok()))
        };
        if let Some(tunnel) = self.read_secrets()?.tunnels.get(relay) {
            return Ok(read(tunnel));
        }
        let new = || TunnelSecrets { token: hex::encode(clock.random_bytes::<32>()), channel: None };
        self.change_secrets(|secrets| read(secrets.tunnels.entry(relay.to_owned()).or_insert_with(new)))
    }

    /// The relays that this project has a token for, and whether each gave a channel for it: who only mistyped a URL has a
    /// token for it as well.
    pub fn relays(&self) -> Result<BTreeMap<String, bool>, StateError> {
        let tunnels = self.read_secrets()?.tunnels.into_iter();
        Ok(tunnels.map(|(relay, tunnel)| (relay, tunnel.channel.is_some())).collect())
    }

    /// Forgets the token and the channel of a relay.
    pub fn forget_tunnel(&self, relay: &str) -> Result<(), StateError> {
        self.change_secrets(|secrets| drop(secrets.tunnels.remove(relay)))
    }

    /// Remembers the channel that a relay gave.
    pub fn remember_channel(&self, relay: &str, channel: ChannelId) -> Result<(), StateError> {
        self.change_secrets(|secrets| {
            if let Some(tunnel) = secrets.tunnels.get_mut(relay) {
                tunnel.channel = Some(channel.to_string());
            }
        })
    }

    /// What a relay that runs here seals its messages with: 256 bits, made by the first call.
    pub fn relay_key(&self, clock: &Clock) -> Result<[u8; 32], StateError> {
        let text = match self.read_secrets()?.relay {
            Some(text) => text,
            None => self.change_secrets(|secrets| {
                secrets.relay.get_or_insert_with(|| hex::encode(clock.random_bytes::<32>())).clone()
            })?,
        };
        let mut key = [0; 32];
        hex::decode_to_slice(&text, &mut key).map_err(|_not_hex| StateError::Damaged {
            path: self.0.join(SECRETS),
            reason: "the key of the relay is not 64 hexadecimal digits".to_owned(),
        })?;
        Ok(key)
    }

    /// Keeps the folder for one relay, until what is given is dropped; `None` when another one runs.
    pub fn reserve_for_relay(&self) -> Result<Option<File>, StateError> {
        self.ensure()?;
        let options = OpenOptions::new().write(true).create(true).truncate(false).clone();
        let file = open_own(&self.0.join(RELAY), &options)?;
        Ok(is_locked_soon(&file).then_some(file))
    }

    /// The running `listen` of this project, its secrets and its token.
    pub fn running(&self) -> Result<Option<(Running, Keyring, Secret)>, StateError> {
        let path = self.0.join(LISTEN);
        let mut file = match open_own(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Whoever can lock it proves that nobody runs: the lock goes with the process, however that ended.
        if file.try_lock_shared().is_ok() {
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fault("read", &path))?;
        if text.is_empty() {
            // It is only just starting.
            return Ok(None);
        }
        let running = serde_json::from_str(&text).map_err(|error| StateError::Damaged {
            path,
            reason: format!(
                "a listen runs, perhaps of another version, and what it says is not understood: {error}"
            ),
        })?;
        let secrets = self.read_secrets()?.listen;
        Ok(secrets.map(|secrets| (running, secrets.keys(), Secret::new(secrets.token))))
    }

    /// Makes a `listen` known, unless another one of this project is, and its inspector.
    pub fn register(
        &self,
        running: &Running,
        keys: &Keyring,
        token: &Secret,
        inspector: Option<InspectorToken>,
    ) -> Result<Registration, StateError> {
        self.ensure()?;
        let path = self.0.join(LISTEN);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let file = open_own(&path, &options)?;
        let listen = is_locked_soon(&file).then_some(file);
        // Both at once: each change waits for the disk.
        self.change_secrets(|secrets| {
            if listen.is_some() {
                secrets.listen = Some(ListenSecrets::new(keys, token));
            }
            secrets.put_inspector(inspector.as_ref());
        })?;
        if let Some(mut file) = listen.as_ref() {
            let text = serde_json::to_string(running).unwrap_or_default();
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(text.as_bytes()))
                .map_err(fault("write", &path))?;
        }
        Ok(Registration { folder: self.clone(), listen, inspector })
    }

    /// Makes an inspector known that is no part of a `listen`.
    pub fn register_inspector(&self, inspector: InspectorToken) -> Result<Registration, StateError> {
        self.change_secrets(|secrets| secrets.put_inspector(Some(&inspector)))?;
        Ok(Registration { folder: self.clone(), listen: None, inspector: Some(inspector) })
    }

    /// Whether the file of secrets, if there is one, can be understood; nothing is changed.
    pub fn check_secrets(&self) -> Result<(), StateError> {
        self.open_secrets()?.map_or(Ok(()), |file| self.parse_secrets(file).map(drop))
    }

    fn read_secrets(&self) -> Result<Secrets, StateError> {
        let path = self.0.join(SECRETS);
        let Some(file) = self.open_secrets()? else { return Ok(Secrets::default()) };
        let mode = file.metadata().map_err(fault("look at", &path))?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fault("protect", &path))?;
        }
        self.parse_secrets(file)
    }

    /// The file of secrets; `None` when there is none.
    fn open_secrets(&self) -> Result<Option<File>, StateError> {
        match open_own(&self.0.join(SECRETS), OpenOptions::new().read(true)) {
            Ok(file) => Ok(Some(file)),
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse_secrets(&self, mut file: File) -> Result<Secrets, StateError> {
        let path = self.0.join(SECRETS);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fault("read", &path))?;
        // serde's message would quote what it found, which may be a secret.
        serde_json::from_slice(&bytes).map_err(|error| StateError::NoSecrets {
            path,
            line: error.line(),
            column: error.column(),
        })
    }

    /// Changes the file of secrets, one process at a time, so that it is always whole.
    fn change_secrets<T>(&self, change: impl FnOnce(&mut Secrets) -> T) -> Result<T, StateError> {
        self.ensure()?;
        let lock_path = self.0.join(LOCK);
        let options = OpenOptions::new().write(true).create(true).truncate(false).clone();
        let lock = open_own(&lock_path, &options)?;
        lock.lock().map_err(fault("lock", &lock_path))?;
        let mut secrets = self.read_secrets()?;
        let result = change(&mut secrets);
        let path = self.0.join(SECRETS);
        let text = serde_json::to_string_pretty(&secrets).unwrap_or_default();
        // Temporary files are made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(fault("write in", &self.0))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(fault("write", &path))?;
        file.persist(&path).map_err(|error| fault("write", &path)(error.error))?;
        Ok(result)
    }
}

impl Secrets {
    fn put_inspector(&mut self, inspector: Option<&InspectorToken>) {
        self.inspectors.extend(inspector.map(|it| (it.url.clone(), it.token.expose().to_owned())));
    }
}

impl ListenSecrets {
    fn new(keys: &Keyring, token: &Secret) -> Self {
        let text = |secret: &Secret| secret.expose().to_owned();
        let texts = |key: &Key| key.secrets.iter().map(text).collect::<Vec<_>>();
        let mut general = texts(keys.general());
        Self {
            more: general.split_off(1),
            secret: general.remove(0),
            special: keys.by_event().map(|(events, secret)| (events.to_string(), text(secret))).collect(),
            contracts: keys.by_contract().map(|(of, key)| (of.as_str().to_owned(), texts(key))).collect(),
            token: text(token),
        }
    }

    fn keys(&self) -> Keyring {
        let key = |secrets: Vec<&String>| Key {
            secrets: secrets.into_iter().map(|secret| Secret::new(secret.clone())).collect(),
            origin: SecretSource::Running.to_string(),
        };
        let mut keys = Keyring::new(key([&self.secret].into_iter().chain(&self.more).collect()));
        for (events, secret) in &self.special {
            // An empty text is the filter that matches everything.
            keys.add(events.parse().unwrap_or_default(), Secret::new(secret.clone()));
        }
        for (name, secrets) in &self.contracts {
            if let Ok(contract) = name.parse()
                && !secrets.is_empty()
            {
                keys.give(contract, key(secrets.iter().collect()));
            }
        }
        keys
    }
}

impl Registration {
    /// Whether the `listen` is known; it is not when another one of the project is.
    pub fn is_of_listen(&self) -> bool {
        self.listen.is_some()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.listen.is_none() && self.inspector.is_none() {
            return;
        }
        // What ends leaves nothing behind; what cannot be cleaned is void anyway once the lock is gone.
        drop(self.folder.change_secrets(|secrets| {
            if self.listen.is_some() {
                secrets.listen = None;
            }
            if let Some(InspectorToken { url, token }) = &self.inspector {
                // Another one may have taken its place meanwhile.
                secrets.inspectors.retain(|known, its| known != url || !token.is(its.as_bytes()));
            }
        }));
        if let Some(file) = &self.listen {
            drop(file.set_len(0));
        }
    }
}

/// A new secret: 256 random bits in the `whsec_` form, which every contract accepts and `v2` demands.
pub fn new_secret(clock: &Clock) -> Secret {
    Secret::new(format!("whsec_{}", STANDARD.encode(clock.random_bytes::<32>())))
}

/// Opens a file of ours: a regular one, never through a link, for our user only when it is made.
fn open_own(path: &Path, options: &OpenOptions) -> Result<File, StateError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(StateError::NotOurs { path: path.to_owned(), expected: "a regular file" })
        }
        _ => options.clone().mode(0o600).open(path).map_err(fault("open", path)),
    }
}

/// Locks a file unless somebody else keeps it locked: a command that looks whether a `listen` runs does so for a
/// moment only.
fn is_locked_soon(file: &File) -> bool {
    (0..10).any(|_| {
        let locked = file.try_lock().is_ok();
        if !locked {
            std::thread::sleep(Duration::from_millis(5));
        }
        locked
    })
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    move |source| StateError::Io { action, path: path.to_owned(), source: without_path(source) }
}
