//! A request as text: as HTTP, or as a curl command that works when it is pasted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::contract::is_mask;
use crate::model::{Place, Request, Target};

/// Headers that curl makes by itself.
const MADE_BY_CURL: [&str; 2] = ["host", "content-length"];

/// The request as it would be sent to `target`, with plain line feeds in the head.
pub fn http(target: &Target, request: &Request) -> Vec<u8> {
    let path = target.path_for(&request.path);
    let mut text = format!("{} {path} HTTP/1.1\nHost: {}\n", request.method, target.authority()).into_bytes();
    for (name, value) in request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"host")) {
        for part in [name.as_ref(), b": ", value, b"\n"] {
            text.extend_from_slice(part);
        }
    }
    text.push(b'\n');
    text.extend_from_slice(&request.body);
    text
}

/// A curl command that sends the request to `target`, byte for byte; masked credentials are left out.
pub fn curl(target: &Target, request: &Request) -> Vec<u8> {
    let mut command = String::from("curl -sS");
    if let Place::Unix(socket) = target.place() {
        command += &format!(" --unix-socket {}", quoted(&socket.display().to_string()));
    }
    if request.method != "POST" || request.body.is_empty() {
        command += &format!(" -X {}", quoted(&request.method));
    }
    command += &format!(" {}", quoted(&url(target, &request.path)));
    for (name, value) in request.headers.iter() {
        let made = MADE_BY_CURL.iter().any(|made| name.eq_ignore_ascii_case(made.as_bytes()));
        if !made && !is_mask(value) {
            // A field without a value is written with a semicolon, or curl would take it away instead.
            let field = if value.is_empty() {
                format!("{};", String::from_utf8_lossy(name))
            } else {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            };
            command += &format!(" \\\n  -H {}", quoted(&field));
        }
    }
    let body =
        std::str::from_utf8(&request.body).ok().filter(|body| !body.contains('\0') && !body.starts_with('@'));
    match body {
        Some("") => {}
        Some(body) => command += &format!(" \\\n  --data-binary {}", quoted(body)),
        None => {
            let encoded = STANDARD.encode(&request.body);
            command = format!("printf %s {encoded} | base64 -d | {command} \\\n  --data-binary @-");
        }
    }
    command.push('\n');
    command.into_bytes()
}

/// The URL for curl, which takes a Unix socket apart from it.
fn url(target: &Target, path: &str) -> String {
    match target.place() {
        Place::Unix(_) => format!("http://{}{}", target.authority(), target.path_for(path)),
        Place::Tcp { .. } => target.url_for(path),
    }
}

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
