//! Requests that other pages, other sites and other users could make: none is answered with anything that was recorded.

use super::Inspected;
use super::client::raw;

/// Every route that there is, with a method that it answers.
pub const ROUTES: [(&str, &str); 25] = [
    ("GET", "/"),
    ("GET", "/page/index.html"),
    ("GET", "/api/status"),
    ("GET", "/api/live"),
    ("GET", "/api/events"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/stats"),
    ("GET", "/api/timeline"),
    ("GET", "/api/timeline/c4n4ry"),
    ("GET", "/api/export/ndjson"),
    ("GET", "/api/events/preview/meeting.failed"),
    ("GET", "/api/fixtures/preview/meeting.failed"),
    ("POST", "/api/trigger"),
    ("POST", "/api/check"),
    ("GET", "/api/deliveries"),
    ("GET", "/api/deliveries/diff?a=1&b=1"),
    ("GET", "/api/deliveries/1"),
    ("DELETE", "/api/deliveries/1"),
    ("GET", "/api/deliveries/1/body"),
    ("GET", "/api/deliveries/1/curl"),
    ("GET", "/api/deliveries/1/fixture"),
    ("POST", "/api/deliveries/1/replay"),
    ("GET", "/api/deliveries/1/attempts/1/body"),
    ("OPTIONS", "/api/deliveries"),
    ("PUT", "/api/deliveries/1"),
];

/// What stands in the recorded body, and must not be in any answer.
const CANARY: &str = "c4n4ry";

struct Forger<'a> {
    inspected: &'a Inspected,
    refused: usize,
}

impl Forger<'_> {
    /// Asks each route with these fields, and with more for WebSockets and orders; all are refused.
    fn ask_all(&mut self, fields: &[u8], what: &str) {
        for (method, path) in ROUTES {
            let mut request = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
            request.extend_from_slice(fields);
            if path == "/api/live" {
                request.extend_from_slice(
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                );
            } else {
                request.extend_from_slice(b"Connection: close\r\n");
            }
            if method == "POST" {
                let order = br#"{"event":"meeting.failed"}"#;
                let order = if path == "/api/trigger" { &order[..] } else { b"{}" };
                request.extend_from_slice(
                    format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", order.len())
                        .as_bytes(),
                );
                request.extend_from_slice(order);
            } else {
                request.extend_from_slice(b"\r\n");
            }
            self.refused(&request, &format!("{method} {path}: {what}"));
        }
    }

    fn refused(&mut self, request: &[u8], what: &str) {
        let answer = raw(&self.inspected.client.authority, request);
        assert!([0, 400, 401, 403, 405, 415, 431].contains(&answer.status), "{what}: {}", answer.status);
        assert!(!answer.text().contains(CANARY), "{what}");
        let allows = |(name, _): &(String, String)| name.to_ascii_lowercase().starts_with("access-control-");
        assert!(!answer.headers.iter().any(allows), "{what}");
        self.refused += 1;
    }
}

/// Hosts that are not the inspector's own on that port.
fn hosts(port: &str, far: u16) -> Vec<String> {
    vec![
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        format!("localhost@evil:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.2:{port}"),
        format!("localhost.:{port}"),
        format!("127.0.0.1.:{port}"),
        format!("LOCALHOST:{port}"),
        format!("locaⅼhost:{port}"),
        format!("xn--localhost:{port}"),
        String::new(),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        format!("127.0.0.1:{far}"),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.1:{port}:{port}"),
        format!("127.0.0.1:{port}/"),
        format!(" 127.0.0.1 :{port}"),
        format!("127.0.0.1:{port},evil.example"),
        format!("{}:{port}", "a".repeat(300)),
        "file://".to_owned(),
        format!("http://127.0.0.1:{port}"),
    ]
}

/// Origins that are not its own; one is, but for a space.
fn origins(host: &str, port: &str, far: u16) -> Vec<String> {
    vec![
        "null".to_owned(),
        "file://".to_owned(),
        "chrome-extension://abcdefghijklmnop".to_owned(),
        format!("https://{host}"),
        format!("ws://{host}"),
        format!("http://{host}/"),
        format!("http://{host}."),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:{far}"),
        "http://127.0.0.1".to_owned(),
        format!("http://[::1]:{port}"),
        format!("http://a@{host}"),
        format!("http://{host}@evil.example"),
        format!("http://{host}.evil.example"),
        format!("http://evil.example/{host}"),
        format!("http://evil.example#{host}"),
        format!("HTTP://{host}"),
        format!("http://{host}, http://evil.example"),
        format!("http://evil.example, http://{host}"),
        format!("http://{host} "),
        host.to_owned(),
        String::new(),
        "https://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        format!("http://{}", "x".repeat(8000)),
        "about:blank".to_owned(),
        "data:text/html,x".to_owned(),
        "http://localhost".to_owned(),
        format!("http://0.0.0.0:{port}"),
        format!("http://2130706433:{port}"),
    ]
}

/// Fields that do not prove that somebody was let in.
fn credentials(token: &str, port: &str, far: u16) -> Vec<String> {
    let shorter = &token[..token.len() - 1];
    vec![
        String::new(),
        "Cookie: \r\n".to_owned(),
        format!("Cookie: mbaas-dev-{port}=\r\n"),
        format!("Cookie: mbaas-dev-{port}={shorter}\r\n"),
        format!("Cookie: mbaas-dev-{port}={token}x\r\n"),
        format!("Cookie: mbaas-dev-{far}={token}\r\n"),
        format!("Cookie: MBAAS-DEV-{port}={token}\r\n"),
        format!("Cookie: x-mbaas-dev-{port}={token}\r\n"),
        format!("Cookie: mbaas-dev-{port}=\"{token}\"\r\n"),
        format!("Cookie: {token}\r\n"),
        format!("Set-Cookie: mbaas-dev-{port}={token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: bearer {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {shorter}\r\n"),
        format!("Authorization: Bearer {token} \t{token}\r\n"),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Proxy-Authorization: Bearer {token}\r\n"),
        format!("X-Token: {token}\r\n"),
        format!("Sec-WebSocket-Protocol: {token}\r\n"),
    ]
}

#[test]
fn forged_hosts_origins_and_cookies_are_refused_on_every_route() {
    let inspected = Inspected::start(&[]);
    inspected.trigger("meeting.failed");
    let body = format!(r#"{{"event":"failed","data":{{"error":"{CANARY}"}}}}"#);
    assert_eq!(
        inspected.client.post("/api/deliveries/1/replay", &serde_json::json!({ "body": body })).status,
        200
    );
    let before = inspected.client.get("/api/deliveries").text();
    let (token, host) = (inspected.client.token.clone(), inspected.client.authority.clone());
    let port = host.rsplit(':').next().unwrap().to_owned();
    let cookie = format!("Cookie: mbaas-dev-{port}={token}\r\n");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let mut forger = Forger { inspected: &inspected, refused: 0 };

    // A page that knows everything but is not ours: with cookie and token, under another name.
    let far = u16::MAX - port.parse::<u16>().unwrap();
    let hosts = hosts(&port, far);
    for named in &hosts {
        let fields = format!("Host: {named}\r\nOrigin: http://{host}\r\n{cookie}{bearer}");
        forger.ask_all(fields.as_bytes(), &format!("Host: {named}"));
    }
    for fields in [
        format!("Origin: http://{host}\r\n{cookie}"),
        format!("Host: {host}\r\nHost: {host}\r\nOrigin: http://{host}\r\n{cookie}"),
        format!("Host: {host}\r\nHost: evil.example\r\nOrigin: http://{host}\r\n{cookie}"),
    ] {
        forger.ask_all(fields.as_bytes(), &fields);
    }
    forger.ask_all(&[b"Host: 127.0.0.1\0:", port.as_bytes(), b"\r\n", cookie.as_bytes()].concat(), "NUL");

    println!("inputs={} violations=0 (S1)", std::mem::take(&mut forger.refused));
    let origins = origins(&host, &port, far);
    for origin in origins.iter().filter(|origin| origin.trim_end() != format!("http://{host}")) {
        let fields = format!("Host: {host}\r\nOrigin: {origin}\r\n{cookie}{bearer}");
        forger.ask_all(fields.as_bytes(), &format!("Origin: {origin}"));
    }
    let twice = format!("Host: {host}\r\nOrigin: http://{host}\r\nOrigin: http://evil.example\r\n{cookie}");
    forger.ask_all(twice.as_bytes(), "two origins");

    println!("inputs={} violations=0 (S2)", std::mem::take(&mut forger.refused));

    // Our own page, as far as the names go, but without having been let in.
    let own = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
    for credential in credentials(&token, &port, far) {
        forger.ask_all(format!("{own}{credential}").as_bytes(), &credential);
    }
    println!("inputs={} violations=0 (S5)", std::mem::take(&mut forger.refused));
    for site in ["cross-site", "same-site", "evil"] {
        let fields = format!("{own}Sec-Fetch-Site: {site}\r\n{cookie}");
        forger.ask_all(fields.as_bytes(), &format!("Sec-Fetch-Site: {site}"));
    }

    // What a form of another page can send without asking first.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
    ] {
        for path in ["/api/trigger", "/api/deliveries/1/replay"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\n{own}{cookie}Content-Type: {kind}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            forger.refused(request.as_bytes(), kind);
        }
    }
    assert_eq!(
        inspected.client.get("/api/deliveries").text(),
        before,
        "nothing was sent and nothing is gone"
    );
    println!("inputs={} violations=0 (S4)", forger.refused);
}

#[test]
fn a_browser_is_let_in_by_the_token_alone_and_every_answer_ties_its_hands() {
    let inspected = Inspected::start(&[]);
    let (token, host) = (&inspected.client.token, &inspected.client.authority);
    let port = host.rsplit(':').next().unwrap();
    let ask = |path: &str, fields: &str| {
        raw(
            host,
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n").as_bytes(),
        )
    };
    let answer = ask(&format!("/?token={token}"), "");
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").unwrap();
    assert_eq!(cookie, format!("mbaas-dev-{port}={token}; HttpOnly; SameSite=Strict; Path=/"));
    assert!(!answer.text().contains(token.as_str()));
    assert_eq!(ask("/", &format!("Cookie: mbaas-dev-{port}={token}\r\n")).status, 200);
    let stranger = ask("/", "");
    assert_eq!(stranger.status, 401);
    assert!(stranger.text().contains("mbaas-dev listen"), "{}", stranger.text());
    for answer in [stranger, answer, inspected.client.get("/api/status"), inspected.client.get("/api/x")] {
        for (name, value) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert!(answer.header(name).unwrap_or_default().starts_with(value), "{name}");
        }
    }
}

#[test]
fn random_bytes_in_fields_end_in_a_refusal_and_never_in_a_panic() {
    let inspected = Inspected::start(&[]);
    let host = &inspected.client.authority;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let names =
        ["Host", "Origin", "Cookie", "Upgrade", "Sec-WebSocket-Key", "Authorization", "Sec-Fetch-Site"];
    let inputs = if std::env::var_os("MBAAS_TEST_FULL").is_some() { 5000 } else { 1000 };
    for number in 0..inputs {
        let name = names[usize::try_from(random()).unwrap_or_default() % names.len()];
        let length = random() % 60;
        let value: Vec<u8> =
            (0..length).map(|_| random().to_le_bytes()[0]).filter(|byte| !b"\r\n".contains(byte)).collect();
        let mut request = b"GET /api/status HTTP/1.1\r\nConnection: close\r\n".to_vec();
        if name != "Host" {
            request.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        request.extend_from_slice(format!("{name}: ").as_bytes());
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\n\r\n");
        let answer = raw(host, &request);
        assert!([400, 401, 403].contains(&answer.status), "{number}: {} {value:?}", answer.status);
        if number % 100 == 0 {
            assert_eq!(inspected.client.get("/api/status").status, 200);
        }
    }
    println!("inputs={inputs} violations=0 (S3)");
}
