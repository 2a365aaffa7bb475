//! A request as text: as HTTP, or as a curl command that works when it is pasted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::contract::is_mask;
use crate::model::{Place, Request, Target, printable_lines};

/// Headers that curl makes by itself.
const MADE_BY_CURL: [&str; 2] = ["host", "content-length"];

/// Headers that curl adds unless it is told not to.
const ADDED_BY_CURL: [&str; 3] = ["Accept", "User-Agent", "Content-Type"];

/// The longest body that is an argument: Linux takes 128 KiB for one.
const LONGEST_ARGUMENT: usize = 100_000;

/// The request as it would be sent to `target`, with plain line feeds in the head.
pub fn http(target: &Target, request: &Request) -> Vec<u8> {
    let path = target.path_for(&request.path);
    let authority = target.authority();
    let mut text = format!("{} {path} HTTP/1.1\n", request.method).into_bytes();
    if request.headers.get("host").is_none() {
        text.extend_from_slice(format!("Host: {authority}\n").as_bytes());
    }
    for (name, value) in request.headers.iter() {
        let value = if name.eq_ignore_ascii_case(b"host") { authority.as_bytes() } else { value };
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
        command += &format!(" --unix-socket {}", word(socket.as_os_str().as_encoded_bytes()));
    }
    if request.method != "POST" || request.body.is_empty() {
        command += &format!(" -X {}", word(request.method.as_bytes()));
    }
    command += &format!(" {}", word(url(target, &request.path).as_bytes()));
    for (name, value) in request.headers.iter() {
        let made = MADE_BY_CURL.iter().any(|made| name.eq_ignore_ascii_case(made.as_bytes()));
        if !made && !is_mask(value) {
            // A field without a value is written with a semicolon, or curl would take it away instead.
            let field = if value.is_empty() {
                [name.as_ref(), b";"].concat()
            } else {
                [name.as_ref(), b": ", value].concat()
            };
            command += &format!(" \\\n  -H {}", word(&field));
        }
    }
    for name in ADDED_BY_CURL.into_iter().filter(|name| request.headers.get(name).is_none()) {
        command += &format!(" \\\n  -H '{name}:'");
    }
    let is_argument = |body: &&str| body.len() <= LONGEST_ARGUMENT && !body.starts_with('@') && is_safe(body);
    match std::str::from_utf8(&request.body).ok().filter(is_argument) {
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

/// Any bytes but NUL as a word for a POSIX shell, which a terminal can show and take back.
fn word(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_safe(text) && !text.contains('\n') => quoted(text),
        _ => format!("\"$(printf '{}')\"", bytes.iter().map(|byte| octal(*byte)).collect::<String>()),
    }
}

/// A byte for the format of `printf`.
fn octal(byte: u8) -> String {
    match byte {
        b'\\' | b'%' | b'\'' => format!("\\{byte:03o}"),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

/// Whether a text does nothing to the terminal that shows it, and none of it is a key there when it is pasted: within
/// quotes, Ctrl-C still ends a line and a tab completes.
fn is_safe(text: &str) -> bool {
    !text.contains('\t') && printable_lines(text) == text
}

/// A word as people type it: in quotes only where a shell would make something else of it.
pub fn argument(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/@=+%".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) { text.to_owned() } else { word(text.as_bytes()) }
}

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
