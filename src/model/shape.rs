//! The JSON shape of a delivery: one object for the command line, for JSON lines and for the inspector.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Attempt, Delivery, Outcome};

/// The value of `v` in every JSON object that we print.
pub const FORMAT_VERSION: u8 = 1;

/// A duration in milliseconds, to a tenth.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Delivery", 18)?;
        object.serialize_field("v", &FORMAT_VERSION)?;
        object.serialize_field("id", self.id.as_str())?;
        object.serialize_field("number", &self.number)?;
        object.serialize_field("received_at", &format!("{:.6}", self.received_at))?;
        object.serialize_field("origin", self.origin.as_str())?;
        object.serialize_field("contract", &self.kind.contract.map(super::Contract::as_str))?;
        object.serialize_field("event_type", &self.kind.event_type.as_ref().map(super::EventType::as_str))?;
        object.serialize_field("wire_event", &self.kind.wire_event)?;
        object.serialize_field("method", &self.method)?;
        object.serialize_field("path", &self.path)?;
        object.serialize_field("body_bytes", &self.body_bytes)?;
        object.serialize_field("signature", self.signature.as_str())?;
        object.serialize_field("replay_of", &self.replay_of.as_ref().map(super::DeliveryId::as_str))?;
        object.serialize_field(
            "attempts",
            &self.attempts.iter().map(AsRef::as_ref).collect::<Vec<&Attempt>>(),
        )?;
        match &self.not_forwarded {
            Some(why) => object.serialize_field("not_forwarded", why.as_str())?,
            None => object.skip_field("not_forwarded")?,
        }
        match self.late_since {
            Some(since) => object.serialize_field("late_since", &format!("{since:.6}"))?,
            None => object.skip_field("late_since")?,
        }
        if self.held {
            object.serialize_field("held", &true)?;
        } else {
            object.skip_field("held")?;
        }
        match &self.signature_note {
            Some(note) => object.serialize_field("signature_note", &**note)?,
            None => object.skip_field("signature_note")?,
        }
        object.end()
    }
}

impl Serialize for Attempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (status, error) = match &self.outcome {
            Outcome::Answered(answer) => (Some(answer.status), None),
            Outcome::Failed(failure) => (None, Some(failure.kind.as_str())),
        };
        let mut object = serializer.serialize_struct("Attempt", 6)?;
        object.serialize_field("number", &self.number)?;
        object.serialize_field("target", &self.target)?;
        object.serialize_field("started_at", &format!("{:.6}", self.started_at))?;
        object.serialize_field("duration_ms", &millis(self.duration))?;
        object.serialize_field("status", &status)?;
        object.serialize_field("error", &error)?;
        object.end()
    }
}
