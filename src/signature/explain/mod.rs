//! Finds out why a request does not verify: tries what people and programs usually do to a signature, a secret or a
//! body, until the signature fits.
//!
//! What is found so is certain. Only where nothing fits, traces of what happened to the body are taken for the cause.

mod candidates;
mod cause;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use self::candidates::{bodies, keys, plain_json};
pub use self::cause::{Cause, Charset, Encoding, Explanation, KeyForm, Side};
use self::value::{Reading, decode, prefix, readings};
use super::svix::{Fields, TOLERANCE, unquoted};
use super::{Claim, Key, Keyring, SvixKey, preview, svix};
use crate::contract::{Part, authenticates, field_names};
use crate::json::{Serialiser, Written};
use crate::model::{Contract, Secret, Verdict, is_same_secretly};

/// How much work an explanation may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Some milliseconds at the most, for deliveries on their way: one thing that is wrong, in bodies up to
    /// [`BRIEF_BODY`].
    Brief,
    /// Everything, for somebody who waits for it.
    Thorough,
}

/// The largest body that is looked into in passing, in bytes.
pub const BRIEF_BODY: usize = 16 * 1024;

/// The largest body with which several things at a time are tried, in bytes.
const THOROUGH_BODY: usize = 256 * 1024;

/// How many things may be wrong at a time, for an explanation that is still likely.
const MOST_CAUSES: usize = 3;

impl Claim<'_> {
    /// Checks the request, and says in passing, in one sentence, why it does not verify, when it does not.
    pub fn examine(&self, keys: &Keyring) -> (Verdict, Option<Arc<str>>) {
        let verdict = self.verify(keys);
        let explanation = match verdict {
            Verdict::Valid => None,
            Verdict::Invalid | Verdict::Missing | Verdict::Unchecked => self.explain(keys, Effort::Brief),
        };
        (verdict, explanation.map(|explanation| explanation.to_string().into()))
    }

    /// Why the request, which does not verify, does not; `None` when it follows no known contract, or when finding out
    /// would be too much effort.
    pub fn explain(&self, keys: &Keyring, effort: Effort) -> Option<Explanation> {
        let contract = self.contract?;
        let key = keys.key(contract, self.event_type);
        if contract == Contract::V2
            && let Err(bad) = SvixKey::all(&key)
        {
            return Some(Explanation { causes: vec![Cause::BadSecret(bad)] });
        }
        let causes = match contract {
            Contract::Preview | Contract::V2 => self.explain_signature(contract, &key, keys, effort)?,
            Contract::V1 | Contract::Callback | Contract::Alert => {
                vec![self.explain_credential(contract, &key, keys)]
            }
        };
        Some(Explanation { causes })
    }

    /// What is wrong with the headers of a signature, or with what they sign.
    fn explain_signature(
        &self,
        contract: Contract,
        key: &Key,
        ring: &Keyring,
        effort: Effort,
    ) -> Option<Vec<Cause>> {
        let fields = Fields::of(self.headers);
        let (name, value) = match contract {
            Contract::V2 => (fields.style.name(Part::Signature), fields.signature),
            _ => (preview::HEADER, self.values(contract, Part::Signature).next()),
        };
        let is_of_v2 = contract == Contract::V2;
        let Some(value) = value else {
            let is_partial = is_of_v2 && (fields.id.is_some() || fields.timestamp.is_some());
            let lost = Cause::MissingPart { name };
            return Some(vec![if is_partial { lost } else { self.explain_nothing(contract, name) }]);
        };
        if let Some(cause) = self.explain_headers(contract, name, &fields) {
            return Some(vec![cause]);
        }
        let readings = readings(contract, value);
        if readings.is_empty() {
            return Some(vec![explain_value(contract, name, value, ring)]);
        }
        let limit = match effort {
            Effort::Brief if self.body.len() > BRIEF_BODY => return None,
            Effort::Thorough if self.body.len() <= THOROUGH_BODY => MOST_CAUSES,
            Effort::Brief | Effort::Thorough => 1,
        };
        let v2 = if is_of_v2 { Some((fields.id?, fields.timestamp?)) } else { None };
        let mut causes = self.search(contract, key, ring, &readings, v2, limit);
        if let Some(causes) = &mut causes {
            causes.extend(v2.and_then(|_| self.explain_time(&fields)));
        }
        Some(causes.filter(|causes| !causes.is_empty()).unwrap_or_else(|| vec![self.explain_body()]))
    }

    /// What can be told from the headers alone.
    fn explain_headers(&self, contract: Contract, name: &'static str, fields: &Fields<'_>) -> Option<Cause> {
        if contract != Contract::V2 {
            let is_repeated = self.values(contract, Part::Signature).nth(1).is_some();
            return is_repeated.then_some(Cause::Repeated { name });
        }
        let missing = |value: Option<&[u8]>, part| {
            let name = fields.style.name(part);
            value.is_none().then_some(Cause::MissingPart { name })
        };
        missing(fields.id, Part::Id)
            .or(missing(fields.timestamp, Part::Timestamp))
            .or(fields.repeated.map(|name| Cause::Repeated { name }))
            .or(fields.seconds().is_none().then_some(Cause::NotATime))
    }

    /// Tries every key, message and body, those with fewer things wrong first.
    fn search(
        &self,
        contract: Contract,
        key: &Key,
        ring: &Keyring,
        readings: &[Reading],
        v2: Option<(&[u8], &[u8])>,
        limit: usize,
    ) -> Option<Vec<Cause>> {
        let keys = keys(contract, key, ring);
        let bodies = bodies(self.body);
        let alone = v2.map(|_| Cause::BodyAlone);
        let messages = [(v2, None), (None, alone)];
        let messages = if v2.is_some() { &messages[..] } else { &messages[..1] };
        for wrong in 0..=limit {
            for (key, of_key) in &keys {
                for (stamp, of_message) in messages {
                    for (body, of_body) in &bodies {
                        let causes = [of_key, of_message, of_body];
                        if causes.into_iter().flatten().count() != wrong {
                            continue;
                        }
                        let mac = match stamp {
                            Some((id, timestamp)) => svix::mac(key, id, timestamp, body),
                            None => mac(key, body),
                        };
                        if let Some(reading) =
                            readings.iter().find(|reading| is_same_secretly(&reading.mac, &mac))
                        {
                            let causes = causes.into_iter().flatten().cloned();
                            return Some(reading.oddities.iter().cloned().chain(causes).collect());
                        }
                    }
                }
            }
        }
        None
    }

    /// What is wrong with the time stamp of a signature that fits.
    fn explain_time(&self, fields: &Fields<'_>) -> Option<Cause> {
        let (seconds, now) = (fields.seconds()?, self.at.as_second());
        let is_near = |seconds: i64| now.abs_diff(seconds) <= TOLERANCE.unsigned_abs();
        match now.abs_diff(seconds) {
            _ if is_near(seconds) => None,
            _ if is_near(seconds / 1000) => Some(Cause::Milliseconds),
            off if seconds < now => Some(Cause::Stale { seconds: off }),
            off => Some(Cause::Early { seconds: off }),
        }
    }

    /// What a body shows of what happened to it, when nothing fits.
    fn explain_body(&self) -> Cause {
        if self.body.is_empty() {
            return Cause::EmptyBody;
        }
        let found = self.body.len() as u64;
        let announced = self.headers.get_str("content-length").and_then(|length| length.trim().parse().ok());
        if let Some(announced) = announced.filter(|announced| *announced != found) {
            return Cause::OtherLength { announced, found };
        }
        let encoding = self.headers.get_str("content-encoding").unwrap_or("identity");
        let is_json = matches!(plain_json(self.body).first(), Some(b'{' | b'['));
        if is_json && !encoding.trim().eq_ignore_ascii_case("identity") {
            return Cause::Decompressed;
        }
        match Written::read(plain_json(self.body)).and_then(|written| written.serialiser()) {
            None | Some(Serialiser::JavaScript | Serialiser::Compact) => Cause::Unknown,
            Some(other) => Cause::LooksReserialised(other),
        }
    }

    /// What is wrong with a header that should hold the secret itself.
    fn explain_credential(&self, contract: Contract, key: &Key, ring: &Keyring) -> Cause {
        let header = field_names(contract, Part::Credential).next().unwrap_or_default();
        let mut values = self.values(contract, Part::Credential);
        let (Some(value), second) = (values.next(), values.next()) else {
            return self.explain_nothing(contract, header);
        };
        if second.is_some() {
            return Cause::Repeated { name: header };
        }
        if value.is_empty() {
            return Cause::Empty { header };
        }
        if let Some((_, which)) = ring.every().find(|(secret, _)| secret.is(value)) {
            return Cause::OtherSecret { which };
        }
        let text = String::from_utf8_lossy(value);
        for secret in &key.secrets {
            let bare = Secret::new(secret.expose().trim());
            if bare.is(value) {
                return Cause::KeyForm(KeyForm::Trimmed);
            }
            if unquoted(secret.expose()).is_some_and(|inner| Secret::new(inner).is(value)) {
                return Cause::KeyForm(KeyForm::Unquoted);
            }
            if unquoted(&text).is_some_and(|inner| secret.is(inner.as_bytes())) {
                return Cause::KeyForm(KeyForm::Quoted);
            }
            if let Some(prefix) = prefix(&text)
                && secret.is(text[prefix.len()..].trim_start().as_bytes())
            {
                return Cause::Prefix(prefix);
            }
            let expected = mac(secret.expose().as_bytes(), self.body);
            if decode(text.trim()).is_some_and(|(given, _)| is_same_secretly(&given, &expected)) {
                return Cause::SignatureInstead { header };
            }
        }
        Cause::UnknownSecret { header }
    }

    /// Why there is nothing to check: the request may follow another contract.
    fn explain_nothing(&self, contract: Contract, expected: &'static str) -> Cause {
        let of_other = |name: &[u8]| authenticates(name).filter(|(other, _)| *other != contract);
        let known = |name: &Bytes| {
            let (contract, part) = of_other(name)?;
            let is_it = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
            Some((field_names(contract, part).find(is_it)?, contract))
        };
        match self.headers.iter().find_map(|(name, _)| known(name)) {
            Some((header, contract)) => Cause::OtherContract { header, contract, expected },
            None => Cause::NotSigned { expected },
        }
    }
}

/// What a value is that no signature can be read from.
fn explain_value(contract: Contract, header: &'static str, value: &[u8], ring: &Keyring) -> Cause {
    let is_other_version = |item: &[u8]| item.starts_with(b"v1a,");
    if value.trim_ascii().is_empty() {
        return Cause::Empty { header };
    }
    if ring.every().any(|(secret, _)| secret.is(value)) {
        return Cause::SecretItself { header };
    }
    match contract {
        Contract::V2 if value.split(|byte| *byte == b' ').all(is_other_version) => Cause::OtherVersion,
        Contract::V2 => Cause::NoSignature { header, expected: "`v1,` and 44 characters of base64" },
        _ => Cause::NoSignature { header, expected: "64 hexadecimal digits" },
    }
}

/// An HMAC over a body alone.
fn mac(key: &[u8], body: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(body).finalize().into_bytes().into()
}
