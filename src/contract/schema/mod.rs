//! The JSON Schemas of the bodies: where each is from, which fields it describes, and where a body departs from it.
//!
//! They are files, `schemas/<contract>/<event type>[@<variant>].json`, in draft 2020-12. A variant has a schema of its
//! own where its shape is another one, as those of the prose page of API v2. Three keywords are ours: `x-source` says
//! where the schema is from, `x-inferred` that it is reasoned from others, and `x-known` which texts are documented
//! where the schema allows any, each with its meaning.

mod check;
mod departure;
mod field;
mod phrase;

use include_dir::{Dir, include_dir};
use serde_json::Value;

pub use departure::{Departure, Rule, Rules, Step};
pub use field::Field;

use crate::model::{Contract, EventName, EventType};

const FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/contract/schemas");

/// The schema of one body.
#[derive(Clone, Debug)]
pub struct Schema {
    contract: Contract,
    name: EventName,
    root: Value,
}

impl Schema {
    /// The schema of an event: that of its variant, where that has one, else that of the event type.
    pub fn of(contract: Contract, name: &EventName) -> Option<Self> {
        let plain = EventName { event_type: name.event_type.clone(), variant: None };
        Self::read(contract, name.clone()).or_else(|| Self::read(contract, plain))
    }

    /// Every documented shape of an event type: the one of the event itself, then those of its variants.
    pub fn shapes(contract: Contract, event_type: &EventType) -> Vec<Self> {
        let folder = FILES.get_dir(contract.as_str()).into_iter().flat_map(Dir::files);
        let names = folder.filter_map(|file| file.path().file_stem()?.to_str()?.parse::<EventName>().ok());
        let mut names: Vec<_> = names.filter(|name| name.event_type == *event_type).collect();
        names.sort();
        names.into_iter().filter_map(|name| Self::read(contract, name)).collect()
    }

    fn read(contract: Contract, name: EventName) -> Option<Self> {
        let file = FILES.get_file(format!("{contract}/{name}.json"))?;
        let root = serde_json::from_slice(file.contents()).expect("a test reads every schema");
        Some(Self { contract, name, root })
    }

    /// The contract and the name of the file, such as `v2/bot.completed@prose`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.contract, self.name)
    }

    /// The event and the variant whose shape it is.
    pub fn name(&self) -> &EventName {
        &self.name
    }

    /// Where it is from, in a few words.
    pub fn source(&self) -> &str {
        self.root["x-source"].as_str().unwrap_or_default()
    }

    /// Every field that it describes, in its order.
    pub fn fields(&self) -> Vec<Field> {
        field::fields(&self.root)
    }

    /// Makes it ready to hold bodies against. This takes a moment, so it is for those who check, not for the way of a
    /// delivery.
    pub fn compile(self) -> Rules {
        Rules::new(self)
    }
}

/// Every schema there is.
#[cfg(test)]
fn all() -> Vec<Schema> {
    let files = FILES.dirs().flat_map(Dir::files);
    let read = files.map(|file| {
        let contract = file.path().parent().unwrap().to_str().unwrap().parse().unwrap();
        let name = file.path().file_stem().unwrap().to_str().unwrap().parse().unwrap();
        Schema::read(contract, name).unwrap()
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_schema_is_one_and_says_where_it_is_from() {
        for schema in all() {
            let label = schema.label();
            assert_eq!(schema.root["$schema"], "https://json-schema.org/draft/2020-12/schema", "{label}");
            assert!(!schema.source().is_empty(), "{label}");
            assert_eq!(schema.root["$id"], format!("urn:meetingbaas:{}", label.replace('/', ":")));
            assert!(jsonschema::meta::is_valid(&schema.root), "{label}");
            assert!(schema.compile().departures(&Value::Null).len() == 1, "{label}");
        }
    }

    #[test]
    fn every_field_says_what_it_means() {
        let mut fields = 0;
        for schema in all() {
            for field in schema.fields() {
                let is_body = ["data", "event"].contains(&field.path.as_str());
                assert!(is_body || field.meaning.is_some(), "{}: {}", schema.label(), field.path);
                fields += 1;
            }
        }
        assert!(fields > 300, "{fields}");
    }

    #[test]
    fn a_variant_has_the_shape_of_its_event_unless_it_has_its_own() {
        let of = |name: &str| Schema::of(Contract::V2, &name.parse().unwrap()).map(|schema| schema.label());
        assert_eq!(of("bot.failed@sigterm").as_deref(), Some("v2/bot.failed"));
        assert_eq!(of("bot.failed@prose").as_deref(), Some("v2/bot.failed@prose"));
        assert_eq!(of("bot.joined"), None);
        let shapes = Schema::shapes(Contract::V2, &"bot.failed".parse().unwrap());
        let shapes: Vec<_> = shapes.iter().map(Schema::label).collect();
        assert_eq!(shapes, ["v2/bot.failed", "v2/bot.failed@prose"]);
    }

    #[test]
    fn callbacks_have_the_bodies_of_webhooks() {
        for event in ["bot.completed", "bot.failed", "bot.completed@prose", "bot.failed@prose"] {
            let fields = |contract| Schema::of(contract, &event.parse().unwrap()).unwrap().fields();
            assert_eq!(fields(Contract::Callback), fields(Contract::V2), "{event}");
        }
    }

    #[test]
    fn the_codes_that_are_known_are_as_many_as_the_facts_tell() {
        let known = |contract, event: &str, path: &str| {
            let fields = Schema::of(contract, &event.parse().unwrap()).unwrap().fields();
            let field = fields.into_iter().find(|field| field.path == path).unwrap();
            field.known.into_iter().map(|(code, _)| code).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(known(Contract::V1, "bot.status_change", "data.status.code"), 17);
        assert_eq!(known(Contract::V2, "bot.status_change", "data.status.code"), 25);
        assert_eq!(known(Contract::V2, "bot.failed", "data.error_code"), 52);
        assert_eq!(known(Contract::V1, "failed", "data.error"), 16);
        assert_eq!(known(Contract::Preview, "meeting.failed", "data.error"), 13);
        assert_eq!(known(Contract::Alert, "alert", "alert_type"), 17);
    }
}
