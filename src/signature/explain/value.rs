//! What the value of a signature header may have been meant to be.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::cause::{Cause, Encoding};
use crate::model::Contract;

/// What people put before a signature that is not part of it.
const PREFIXES: [&str; 6] = ["sha256=", "sha256:", "hmac-sha256=", "v1=", "v1,", "Bearer "];

/// The most values of one header that are looked at.
const MOST: usize = 8;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The 32 bytes that a value stands for, and what is wrong with how it says so.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) mac: [u8; 32],
    pub(super) oddities: Vec<Cause>,
}

/// Every reading of a header's value.
pub(super) fn readings(contract: Contract, value: &[u8]) -> Vec<Reading> {
    let text = String::from_utf8_lossy(value);
    match contract {
        Contract::V2 => {
            text.split(' ').filter(|item| !item.is_empty()).take(MOST).filter_map(read_v2).collect()
        }
        _ => read(text.trim(), Encoding::Hexadecimal).into_iter().collect(),
    }
}

/// One of the signatures of a v2 message.
fn read_v2(item: &str) -> Option<Reading> {
    match item.split_once(',') {
        Some(("v1", signature)) => read(signature, Encoding::Base64),
        Some(_) => None,
        None => {
            let mut reading = read(item, Encoding::Base64)?;
            reading.oddities.insert(0, Cause::NoVersion);
            Some(reading)
        }
    }
}

fn read(text: &str, expected: Encoding) -> Option<Reading> {
    let mut oddities = Vec::new();
    let mut rest = text;
    if let Some(inner) = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        oddities.push(Cause::Prefix("\""));
        rest = inner;
    }
    if let Some(prefix) = prefix(rest) {
        oddities.push(Cause::Prefix(prefix));
        rest = rest[prefix.len()..].trim_start();
    }
    let (mac, found) = decode(rest)?;
    if found != expected {
        oddities.push(Cause::Encoding { found, expected });
    } else if expected == Encoding::Hexadecimal && rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
        oddities.push(Cause::UpperCase);
    }
    Some(Reading { mac, oddities })
}

/// What stands before a value, in any case, that is not part of it.
pub(super) fn prefix(text: &str) -> Option<&'static str> {
    let starts =
        |prefix: &&str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    PREFIXES.into_iter().find(starts)
}

/// 32 bytes from text, and how they were written.
pub(super) fn decode(text: &str) -> Option<([u8; 32], Encoding)> {
    let of = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).ok();
    let hexadecimal = hex::decode(text).ok().and_then(of).map(|mac| (mac, Encoding::Hexadecimal));
    let is_padded = text.len().is_multiple_of(4);
    let base64 = BASE64.decode(text).ok().and_then(of);
    let base64 = base64.map(|mac| (mac, if is_padded { Encoding::Base64 } else { Encoding::Base64Url }));
    let base64_url = BASE64_URL.decode(text).ok().and_then(of).map(|mac| (mac, Encoding::Base64Url));
    hexadecimal.or(base64).or(base64_url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_however_they_are_written() {
        let mac: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 8 + 7).unwrap());
        let hexadecimal = hex::encode(mac);
        let base64 = BASE64.encode(mac);
        let url = BASE64_URL.encode(mac);
        assert_ne!(base64, url);
        let named = |contract, value: &str| {
            let readings = readings(contract, value.as_bytes());
            assert!(readings.iter().all(|reading| reading.mac == mac), "{value}");
            readings
                .iter()
                .map(|reading| reading.oddities.iter().map(Cause::name).collect::<Vec<_>>().join("+"))
                .collect::<Vec<_>>()
        };
        assert_eq!(named(Contract::Preview, &hexadecimal), [""]);
        assert_eq!(named(Contract::Preview, &hexadecimal.to_uppercase()), ["upper_case"]);
        assert_eq!(named(Contract::Preview, &format!("SHA256={hexadecimal}")), ["prefix"]);
        assert_eq!(named(Contract::Preview, &base64), ["encoding"]);
        assert_eq!(named(Contract::Preview, &format!("v1,{base64}")), ["prefix+encoding"]);
        assert_eq!(named(Contract::V2, &format!("v1,{base64} v1a,x v1,{hexadecimal}")), ["", "encoding"]);
        assert_eq!(named(Contract::V2, &base64), ["no_version"]);
        assert_eq!(named(Contract::V2, &format!("v1,{}", base64.trim_end_matches('='))), ["encoding"]);
        assert_eq!(named(Contract::V2, &format!("v1,{url}")), ["encoding"]);
        assert_eq!(named(Contract::V2, &format!("sha256={hexadecimal}")), ["no_version+prefix+encoding"]);
        for nothing in ["", "deadbeef", "v1,", "v2,AAAA", "é"] {
            assert!(readings(Contract::V2, nothing.as_bytes()).is_empty());
            assert!(readings(Contract::Preview, nothing.as_bytes()).is_empty());
        }
    }
}
