//! Events of the catalogue for programs: the JSON object of each.

use serde_json::{Value, json};

use crate::contract::schema::{Field, Schema};
use crate::fixture::{About, Catalogue, Entry, FixtureError};
use crate::json::Json;
use crate::model::FORMAT_VERSION;

/// The variants of a plain event; none for a variant.
pub fn variants<'a>(catalogue: &'a Catalogue, entry: &Entry) -> impl Iterator<Item = &'a Entry> {
    let (contract, name) = (entry.contract, entry.name.clone());
    catalogue.entries().filter(move |other| {
        name.variant.is_none()
            && other.contract == contract
            && other.name.event_type == name.event_type
            && other.name.variant.is_some()
    })
}

/// The object of an event.
pub fn object(entry: &Entry, variants: &[&Entry]) -> Result<Value, FixtureError> {
    let About { meaning, payload, note, minutes } = about(entry)?;
    let variants: Vec<&str> = variants.iter().filter_map(|entry| entry.name.variant.as_deref()).collect();
    Ok(json!({
        "v": FORMAT_VERSION,
        "contract": entry.contract.as_str(),
        "event_type": entry.name.event_type.as_str(),
        "variant": entry.name.variant,
        "wire_event": entry.fixture.wire_event(),
        "payload": payload.as_str(),
        "meaning": meaning,
        "note": note,
        "takes_minutes": !minutes.is_empty(),
        "variants": variants,
    }))
}

/// What a fixture says about itself; every one of ours does.
pub fn about(entry: &Entry) -> Result<About, FixtureError> {
    Ok(entry.fixture.about()?.expect("a test checks that every embedded fixture describes itself"))
}

/// The object of an event with its schema: where that is from, and each field.
pub fn with_schema(mut object: Value, schema: Option<&Schema>) -> Value {
    let field = |Field { path, kind, required, nullable, meaning, known }: Field| {
        let known: serde_json::Map<String, Value> =
            known.into_iter().map(|(text, meaning)| (text, Value::from(meaning))).collect();
        json!({
            "path": path,
            "type": kind,
            "required": required,
            "nullable": nullable,
            "meaning": meaning,
            "documented_values": known,
        })
    };
    object["schema"] = schema.map_or(Value::Null, |schema| {
        let fields: Vec<Value> = schema.fields().into_iter().map(field).collect();
        json!({ "name": schema.label(), "source": schema.source(), "fields": fields })
    });
    object
}

/// The object of an event with a body of it.
pub fn with_sample(mut object: Value, sample: &Json) -> serde_json::Result<Value> {
    object["sample"] = serde_json::from_str(&sample.to_canonical())?;
    Ok(object)
}
