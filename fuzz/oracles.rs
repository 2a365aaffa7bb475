//! What must hold of any bytes: one function for each parser that sees what others wrote. `cargo fuzz` looks for bytes of
//! which it does not hold, and `tests/it/fuzzing.rs` tries many at random in every run of the tests.

use bytes::Bytes;
use mbaas_dev::contract::redact;
use mbaas_dev::fixture::{Fixture, Run};
use mbaas_dev::json::{Json, Path};
use mbaas_dev::model::{Clock, Headers, Printable, Target, printable_lines};

/// A function that panics when something does not hold.
pub type Oracle = fn(&[u8]);

/// Every one, by its name.
pub const ORACLES: [(&str, Oracle); 7] = [
    ("target", target),
    ("set_path", set_path),
    ("template", template),
    ("canonical_json", canonical_json),
    ("printable", printable),
    ("headers", headers),
    ("redact", redact),
];

/// A target is what it says it is, and no path leads away from it.
pub fn target(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (target, path) = text.split_once('\n').unwrap_or((&text, "/"));
    let Ok(target) = target.parse::<Target>() else { return };
    let again: Target = target.to_string().parse().expect("what is printed is a target");
    assert_eq!(again.to_string(), target.to_string());
    assert_eq!(again.place(), target.place());
    let path = format!("/{path}");
    assert!(target.path_for(&path).starts_with('/'), "{target} {path:?}");
    let host = target.url_of("/");
    let host = host.strip_suffix('/').expect("a URL ends with its path");
    assert!(target.url_for(&path).starts_with(&format!("{host}/")), "{target} {path:?}");
}

/// What `--set` sets is found where it was set.
pub fn set_path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (path, body) = text.split_once('\n').unwrap_or((&text, "{}"));
    let Ok(path) = path.parse::<Path>() else { return };
    let again: Path = path.to_string().parse().expect("what is printed is a path");
    assert_eq!(again.to_string(), path.to_string());
    let Ok(mut json) = Json::parse(body.as_bytes()) else { return };
    let value = Json::string("set");
    if json.set(&path, value.clone()).is_ok() {
        assert_eq!(json.at(&path), Some(&value), "{path}");
        json.unset(&path).ok();
    }
}

/// A template ends, and makes JSON or an error.
pub fn template(bytes: &[u8]) {
    let now = "2026-11-24T09:05:52.208Z".parse().expect("a time");
    let fixture = Fixture::new("fuzzed.json", bytes.to_vec());
    let run = Run::new(&Clock::fixed(now, 1), |name| name.starts_with("MBAAS_X").then(|| "x".to_owned()));
    drop(fixture.about());
    match fixture.render(&run) {
        Ok(json) => canonical_json(json.to_canonical().as_bytes()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Canonical JSON is JSON, to others as well, and canonical.
pub fn canonical_json(bytes: &[u8]) {
    let Ok(json) = Json::parse(bytes) else { return };
    let canonical = json.to_canonical();
    let again = Json::parse(canonical.as_bytes()).expect("canonical JSON is JSON");
    assert_eq!(again.to_canonical(), canonical);
    assert!(!canonical.contains('\n'), "{canonical:?}");
}

/// Nothing that moves a cursor, or poses as something else, is printed.
pub fn printable(bytes: &[u8]) {
    let shown = Printable(bytes).to_string();
    assert!(!shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{shown:?}");
    for limit in [1, 7, 80] {
        let cut = Printable(bytes).cut(limit);
        assert!(cut.chars().count() <= limit && !cut.chars().any(char::is_control), "{cut:?}");
    }
    let lines = printable_lines(&String::from_utf8_lossy(bytes));
    assert!(!lines.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{lines:?}");
}

/// A block of header fields is read back as it was written.
pub fn headers(bytes: &[u8]) {
    let (mut headers, trailers) = Headers::from_block_with(&Bytes::copy_from_slice(bytes));
    let block = headers.to_block_with(&trailers);
    assert_eq!(Headers::from_block_with(&block), (headers.clone(), trailers));
    drop(headers.to_map());
    let before = headers.len();
    headers.drop_hop_by_hop();
    assert!(headers.len() <= before && headers.get("transfer-encoding").is_none());
    assert_eq!(redact::headers(&headers).len(), headers.len());
}

/// Redaction takes any bytes, and leaves nothing for a second time.
pub fn redact(bytes: &[u8]) {
    let once = redact::body(&Bytes::copy_from_slice(bytes));
    assert_eq!(redact::body(&once), once);
}
