//! What a program reads: one JSON object a line, with `v` and `type`, in the order in which things happened.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::firings::Since;
use crate::model::{Delivery, FORMAT_VERSION, NotForwarded, Then, Trouble, Update, millis};

/// The line that comes first: where to send to, where the files of meetings are, and which folder is watched.
pub fn ready(
    ingress: Option<&str>,
    inspector: Option<&str>,
    public: Option<&str>,
    artifacts: Option<&str>,
    fixtures: Option<&str>,
) -> String {
    json!({
        "v": FORMAT_VERSION, "type": "ready",
        "ingress": ingress, "inspector": inspector, "public": public, "artifacts": artifacts,
        "fixtures": fixtures,
    })
    .to_string()
}

/// The same from an inspector, with how many deliveries were ever deleted from the record.
pub fn ready_to_watch(
    ingress: Option<&str>,
    inspector: &str,
    public: Option<&str>,
    artifacts: Option<&str>,
    gone: i64,
) -> String {
    json!({
        "v": FORMAT_VERSION, "type": "ready",
        "ingress": ingress, "inspector": inspector, "public": public, "artifacts": artifacts, "gone": gone,
    })
    .to_string()
}

/// The lines for an update: `received`, `attempt` and `not_forwarded` carry all fields of the delivery. The `attempt` of
/// a fixture that fired before has a `diff` as well; behind one that failed and is tried again comes a `retry`.
pub fn lines(update: &Update, since: Option<&Since>) -> Vec<String> {
    let retry = match update {
        Update::Attempted(delivery, Then::AgainIn(pause)) => {
            Some(typed("retry", delivery, &[("in_ms", millis(*pause).into())]))
        }
        _ => None,
    };
    std::iter::once(line(update, since)).chain(retry).collect()
}

fn line(update: &Update, since: Option<&Since>) -> String {
    match update {
        Update::Fired(id, file) => {
            json!({ "v": FORMAT_VERSION, "type": "fired", "file": **file, "id": id.as_str() }).to_string()
        }
        Update::Received(delivery) => typed("received", delivery, &[]),
        Update::Attempted(delivery, _) => {
            let mut more = vec![("attempt", to_value(&delivery.last_attempt()))];
            more.extend(since.map(|since| ("diff", difference(since))));
            typed("attempt", delivery, &more)
        }
        Update::NotForwarded(delivery) => {
            let reason = delivery.not_forwarded.map(NotForwarded::as_str);
            typed("not_forwarded", delivery, &[("reason", reason.into())])
        }
        Update::Held(delivery) => typed("held", delivery, &[]),
        Update::TargetDown(target, detail, _) => {
            let target = target.to_string();
            json!({ "v": FORMAT_VERSION, "type": "target_down", "target": target, "message": **detail })
                .to_string()
        }
        Update::TargetUp(target) => {
            json!({ "v": FORMAT_VERSION, "type": "target_up", "target": target.to_string() }).to_string()
        }
        Update::TunnelUp(public, waiting) => {
            json!({ "v": FORMAT_VERSION, "type": "tunnel", "public": **public, "waiting": waiting })
                .to_string()
        }
        Update::TunnelDown(loss) => {
            let in_ms = millis(loss.again_in);
            json!({ "v": FORMAT_VERSION, "type": "reconnecting", "message": loss.why, "in_ms": in_ms })
                .to_string()
        }
        Update::Trouble(trouble) => self::trouble(trouble),
    }
}

/// The line for trouble of our own, or for what somebody should look at.
pub fn trouble(trouble: &Trouble) -> String {
    let Trouble { code, message, hint } = trouble;
    json!({ "v": FORMAT_VERSION, "type": "error", "code": code, "message": message, "hint": hint })
        .to_string()
}

/// The shape of `replay --diff`, and which delivery it is compared with.
fn difference(since: &Since) -> Value {
    let mut object = since.difference.to_value();
    object["before"] = since.before.id.as_str().into();
    object
}

fn typed(kind: &str, delivery: &Delivery, more: &[(&str, Value)]) -> String {
    let mut object = Map::new();
    object.insert("v".to_owned(), FORMAT_VERSION.into());
    object.insert("type".to_owned(), kind.into());
    if let Value::Object(fields) = to_value(delivery) {
        object.extend(fields);
    }
    object.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Object(object).to_string()
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("our shapes have string keys and finite numbers")
}
