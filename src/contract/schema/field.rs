//! The fields of a body, as its schema describes them.

use serde_json::{Map, Value};

use super::phrase::kind;

/// A field of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it is, `[]` standing for every item: `data.transcript[].speaker`.
    pub path: String,
    /// What it holds, in words: `UUID or null`.
    pub kind: String,
    /// Whether the body must have it.
    pub required: bool,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it means.
    pub meaning: Option<String>,
    /// The documented texts, each with its meaning; where there are some, there may be others too.
    pub known: Vec<(String, String)>,
}

/// Every field below a schema, in its order, each before what is in it.
pub(super) fn fields(root: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    inside(root, "", &mut found);
    found
}

fn inside(schema: &Value, path: &str, found: &mut Vec<Field>) {
    for (key, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        found.push(field(schema, key, member, path.clone()));
        inside(member, &path, found);
    }
    if let Some(items) = schema.get("items") {
        inside(items, &format!("{path}[]"), found);
    }
    for branch in schema["anyOf"].as_array().into_iter().flatten() {
        inside(branch, path, found);
    }
}

fn field(parent: &Value, key: &str, schema: &Value, path: String) -> Field {
    let required = parent["required"].as_array().is_some_and(|keys| keys.iter().any(|other| other == key));
    let known = schema["x-known"].as_object().into_iter().flat_map(Map::iter);
    Field {
        path,
        kind: kind(schema),
        required,
        nullable: allows(schema, "null"),
        meaning: meaning(schema),
        known: known
            .map(|(code, meaning)| (code.clone(), meaning.as_str().unwrap_or_default().to_owned()))
            .collect(),
    }
}

/// The description, which some schemas of the vendor have one level further in.
fn meaning(schema: &Value) -> Option<String> {
    let branches = schema["anyOf"].as_array().into_iter().flatten();
    let described = std::iter::once(schema).chain(branches);
    described.filter_map(|schema| schema["description"].as_str()).map(str::to_owned).next()
}

/// Whether a value of that JSON type is allowed, as far as types go.
pub(super) fn allows(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == name,
        Value::Array(names) => names.iter().any(|other| other == name),
        _ => schema["anyOf"]
            .as_array()
            .is_some_and(|branches| branches.iter().any(|branch| allows(branch, name))),
    }
}
