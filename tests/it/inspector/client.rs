//! A script: an HTTP client that can also write what no browser would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long a test waits for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A script with the token.
pub struct Client {
    pub authority: String,
    pub token: String,
}

/// An answer, read to the end of its connection.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(url: &str, token: &str) -> Self {
        Self { authority: url.trim_start_matches("http://").to_owned(), token: token.to_owned() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    /// With more header fields, each with its line end.
    pub fn get_with(&self, path: &str, fields: &str) -> Answer {
        let (authority, token) = (&self.authority, &self.token);
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n{fields}");
        raw(authority, format!("{head}Connection: close\r\n\r\n").as_bytes())
    }

    /// The object at a path.
    pub fn object(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub fn post(&self, path: &str, order: &Value) -> Answer {
        self.ask("POST", path, Some(order))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: &str, order: Option<&Value>) -> Answer {
        let body = order.map(Value::to_string).unwrap_or_default();
        let kind = order.map(|_| "Content-Type: application/json\r\n").unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{kind}Content-Length: {}\r\n",
            self.authority,
            self.token,
            body.len()
        );
        raw(&self.authority, format!("{head}Connection: close\r\n\r\n{body}").as_bytes())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

/// Writes these bytes and reads one answer; status 0 when there is none.
pub fn raw(authority: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may have closed before everything was written.
    stream.write_all(request).ok();
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(whole) = parse(&answer) {
            return whole;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Answer { status: 0, headers: Vec::new(), body: answer },
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
        }
    }
}

/// An answer that is there as a whole; every one of the inspector's says how long it is, or is an upgrade.
fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(field).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap());
    let body = answer.get(end + 4..end + 4 + length)?.to_vec();
    Some(Answer { status, headers, body })
}
