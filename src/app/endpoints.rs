//! `webhook_config.json`: the file of the Webhooks API page, one endpoint or several.
//!
//! Each has `webhook_url`, `events`, `secret` and `enabled`. The path of `webhook_url` is the path at the handler;
//! its host counts only when it is this machine.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::json::utf8;
use crate::model::{EventFilter, EventType, Secret, Target, nearest};

/// The keys of an endpoint, all of which the page shows.
const KEYS: [&str; 4] = ["webhook_url", "events", "secret", "enabled"];

/// What should stand in the file.
const EXPECTED: &str = "expected JSON: an object with webhook_url, events, secret and enabled";

/// An endpoint as configured.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Which one of the file it is, from 1.
    pub number: usize,
    /// The event types that it gets; `None` for all.
    pub events: Option<EventFilter>,
    /// Its secret.
    pub secret: Option<Secret>,
    /// Whether it is forwarded to.
    pub enabled: bool,
    /// The path at the handler, with its query.
    pub path: String,
    /// The handler itself, when the URL names this machine.
    pub local: Option<Target>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{position}: {reason}", .path.display())]
pub struct BadConfig {
    path: PathBuf,
    /// Empty, or `:line:column`.
    position: String,
    reason: String,
}

/// The configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it must be there, since somebody named it.
    pub required: bool,
}

impl ConfigFile {
    /// The endpoints in it, in order, but those that are enabled first: others take nothing from them. None when there is no
    /// file and none must be there.
    pub fn read(&self, known: &[EventType]) -> Result<Vec<Endpoint>, BadConfig> {
        let bad = |position: String, reason: String| BadConfig { path: self.path.clone(), position, reason };
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.required => return Ok(Vec::new()),
            Err(error) => return Err(bad(String::new(), error.to_string())),
        };
        let text = utf8(&text).map_err(|other| bad(String::new(), other.to_string()))?;
        if text.trim_ascii().is_empty() {
            return Err(bad(String::new(), format!("the file is empty; {EXPECTED}")));
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            let position = format!(":{}:{}", error.line(), error.column().max(1));
            // The message itself would quote what it found, which may be a secret.
            bad(position, EXPECTED.to_owned())
        })?;
        let objects = match value {
            Value::Array(items) => items,
            object => vec![object],
        };
        let read = |(index, value): (usize, &Value)| {
            let place = if objects.len() > 1 { format!("endpoint {}: ", index + 1) } else { String::new() };
            let object = value.as_object().ok_or_else(|| "expected an object".to_owned());
            object
                .and_then(|object| endpoint(object, index + 1, known))
                .map_err(|reason| bad(String::new(), format!("{place}{reason}")))
        };
        let mut endpoints: Vec<Endpoint> = objects.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        endpoints.sort_by_key(|endpoint| !endpoint.enabled);
        Ok(endpoints)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Endpoint {
    /// Where its deliveries go: the handler that it names, else `forward` with its path.
    pub fn target(&self, forward: Option<&Target>) -> Option<Target> {
        self.local.clone().or_else(|| Some(forward?.with_path(&self.path)))
    }
}

fn endpoint(object: &Map<String, Value>, number: usize, known: &[EventType]) -> Result<Endpoint, String> {
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key `{}`{}", key.escape_debug(), hint(key, KEYS)));
    }
    let Some(Value::String(url)) = object.get("webhook_url") else {
        return Err("`webhook_url` must be there and be a text".to_owned());
    };
    let target: Target = url.parse().map_err(|error| format!("`webhook_url`: {error}"))?;
    let enabled = match object.get("enabled") {
        None => true,
        Some(Value::Bool(enabled)) => *enabled,
        Some(_) => return Err("`enabled` must be true or false".to_owned()),
    };
    let secret = match object.get("secret") {
        None => None,
        Some(Value::String(secret)) if !secret.is_empty() => Some(Secret::new(secret.clone())),
        Some(_) => return Err("`secret` must be a text that is not empty".to_owned()),
    };
    if secret.as_ref().is_some_and(Secret::has_control) {
        return Err("`secret` has a line break or another control character in it".to_owned());
    }
    let events = object.get("events").map(|events| filter(events, known)).transpose()?;
    Ok(Endpoint {
        number,
        events,
        secret,
        enabled,
        path: target.path_for("/"),
        local: target.is_loopback().then_some(target),
    })
}

fn filter(events: &Value, known: &[EventType]) -> Result<EventFilter, String> {
    let wrong = || "`events` must be a list of event types that is not empty".to_owned();
    let names = events.as_array().filter(|names| !names.is_empty()).ok_or_else(wrong)?;
    let names: Vec<&str> =
        names.iter().map(|name| name.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?;
    let is_known = |name: &str| known.iter().any(|event| event.as_str() == name);
    if let Some(glob) = names.iter().find(|name| name.contains(['*', '?', '!'])) {
        let every = "leave `events` out to get every event";
        return Err(format!("`events` has names, not globs such as `{}`; {every}", glob.escape_debug()));
    }
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let hint = hint(name, known.iter().map(EventType::as_str));
        return Err(format!("`events` has the unknown event `{}`{hint}", name.escape_debug()));
    }
    names.join(",").parse().map_err(|_not_globs| wrong())
}

/// `; did you mean …?`, when some name is near enough.
fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}
