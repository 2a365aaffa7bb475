//! Secrets stay: no export and no report holds one unless it is asked to, and comparing one tells nothing about it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mbaas_dev::model::{Clock, Secret};

use crate::assurance::{Random, report, tier, welch};
use crate::handler::{Handler, answer};
use crate::world::{Listening, World};

/// Where secrets stand in headers; `{}` is the secret. Those of the first group are not even in the record.
const CREDENTIALS: [&str; 8] = [
    "Authorization: Bearer {}",
    "Cookie: session={}",
    "Proxy-Authorization: Basic {}",
    "X-MB-Secret: {}",
    "X-MB-Alert-Secret: {}",
    "x-meeting-baas-api-key: {}",
    "x-spoke-api-key: {}",
    "Set-Cookie: a={}",
];
const HEADERS: [&str; 14] = [
    "X-Api-Key: {}",
    "X-Auth-Token: {}",
    "X-Hub-Signature-256: sha256={}",
    "svix-signature: v1,{}",
    "webhook-signature: v1,{}",
    "X-MeetingBaas-Signature: {}",
    "X-Amz-Security-Token: {}",
    "X-Client-Secret: {}",
    "X-Vault-Password: {}",
    "Referer: https://user:{}@host.test/",
    "X-Forwarded-Uri: /a?api_key={}&x=1",
    "X-Next: https%3A%2F%2Fh.test%2F%3Ftoken%3D{}",
    "X-Original-Url: wss://h.test/#access_token={}",
    "X-Note: Bearer {}",
];
const QUERY: [&str; 8] = [
    "token={}",
    "client_secret={}",
    "X-Amz-Signature={}",
    "sig={}",
    "%70assword={}",
    "next=https%3A%2F%2Fh.test%2F%3Fkey%3D{}",
    "auth[session]={}",
    "jwt={}",
];
const JSON: [&str; 29] = [
    r#""mp4":"https://s3.test/a.mp4?X-Amz-Signature={}""#,
    r#""audio":"https:\/\/s3.test\/a?X-Amz-Credential={}\u0026x=1""#,
    r#""transcript":"https://s3.test/t?X-Amz-Security-Token={}#end""#,
    r#""gcs":"https://gcs.test/a?GoogleAccessId=me&Signature={}""#,
    r#""azure":"https://a.test/x?sv=1&sig={}""#,
    r#""basic":"https://user:{}@host.test/x""#,
    r#""database":"postgres://u:{}@h/db""#,
    r#""deep":{"list":[[{"url":"wss://h.test/?token={}"}]]}"#,
    r#""note":"see (http://h.test/?password={}) and more""#,
    r#""api_key":"{}""#,
    r#""api_keys":["a","{}"]"#,
    r#""tokens":{"of":{"ana":"{}"}}"#,
    r#""passwords":[{"is":"{}"}]"#,
    r#""Access-Token":"{}""#,
    r#""clientSecret":"{}""#,
    r#""pass\u0077ord":"{}""#,
    r#""private_key":"-----BEGIN PRIVATE KEY-----\n{}\n""#,
    r#""passphrase":"{}""#,
    r#""extra":"{\"secret\":\"{}\"}""#,
    r#""twice":"{\"a\":\"{\\\"token\\\":\\\"{}\\\"}\"}""#,
    r#""next":"https://h.test/?to=https%3A%2F%2Fi.test%2F%3Fsig%3D{}""#,
    r#""fragment":"https://h.test/#access_token={}""#,
    r#""headers":[{"name":"Authorization","value":"{}"}]"#,
    r#""log":"first\nX-Api-Key: {}\nlast""#,
    r#""said":"use Bearer {} for it""#,
    r#""xml":"<a><password>{}</password></a>""#,
    r#""env":"WEBHOOK_SECRET={}\nA=b""#,
    r#""cookies":"{}""#,
    r#""html":"<a href='/?x=1&amp;token={}'>""#,
];
/// What is put into base64, and then into JSON, as it is and as URLs have it.
const ENCODED: [&str; 7] = [
    r#"{"password":"{}"}"#,
    r#"{"a":{"url":"https://h.test/?sig={}"}}"#,
    "token={}&x=1",
    "https://user:{}@h.test/a/b",
    "Content-Type: a/b\r\nAuthorization: Bearer {}\r\n",
    "client_secret={}",
    "<token>{}</token>",
];
/// Parts of a form, with their heads.
const PARTS: [&str; 7] = [
    "Content-Disposition: form-data; name=\"password\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=api_token\r\n\r\n{}\r\nsecond line",
    "content-disposition:form-data;name=\"Client-Secret\"\r\nContent-Type: text/plain\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"data\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n{\"token\":\"{}\"}",
    "Content-Disposition: form-data; name=\"url\"\r\n\r\nhttps://h.test/?key={}",
    "Content-Disposition: form-data; name=\"x\"\r\nX-Auth-Token: {}\r\n\r\nx",
    "Content-Disposition: form-data; name=\"env\"; filename=\".env\"\r\n\r\nA=b\nDB_PASSWORD={}\n",
];

/// Secrets that were planted, each another, and where.
#[derive(Default)]
struct Planted(Vec<&'static str>);

impl Planted {
    fn plant(&mut self, place: &'static str) -> String {
        self.0.push(place);
        place.replacen("{}", &Self::canary(self.0.len() - 1), 1).replace("{}", "")
    }

    /// Long enough for a credential.
    fn canary(number: usize) -> String {
        format!("CANARY{number:03}0a1b2c3d4e5f")
    }

    /// The ones that a text holds, in whatever encoding they were planted.
    fn found(&self, text: &str) -> BTreeSet<usize> {
        let mut decoded = text.to_owned();
        // Each layer of base64 that there is, and percent-encoded forms, laid open behind the text.
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/-_=".contains(c));
        for word in words.filter(|word| word.len() >= 16) {
            for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
                decoded += &engine
                    .decode(word)
                    .map(|b| String::from_utf8_lossy(&b).into_owned())
                    .unwrap_or_default();
            }
        }
        (0..self.0.len()).filter(|number| decoded.contains(&Self::canary(*number))).collect()
    }
}

fn send(listening: &Listening, head: &str, body: &str) {
    let mut stream = TcpStream::connect(listening.address()).unwrap();
    let length = body.len();
    write!(stream, "POST {head}Host: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answered = String::new();
    stream.read_to_string(&mut answered).unwrap();
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
}

#[test]
fn no_planted_secret_is_in_an_export_or_a_report_and_each_is_there_when_asked_for() {
    let mut planted = Planted::default();
    let lines = |planted: &mut Planted, places: &[&'static str]| -> String {
        places.iter().map(|place| planted.plant(place) + "\r\n").collect()
    };
    let credentials = lines(&mut planted, &CREDENTIALS);
    let never_recorded = planted.0.len();
    let headers = lines(&mut planted, &HEADERS);
    let query: Vec<String> = QUERY.iter().map(|place| planted.plant(place)).collect();
    let json = |planted: &mut Planted| -> String {
        let fields: Vec<String> = JSON.iter().map(|place| planted.plant(place)).collect();
        let encoded: Vec<String> = ENCODED
            .iter()
            .map(|place| planted.plant(place))
            .enumerate()
            .map(|(number, text)| match number % 2 {
                0 => format!("\"b{number}\":\"{}\"", STANDARD.encode(text)),
                _ => format!("\"b{number}\":\"data:text/plain;base64,{}\"", URL_SAFE_NO_PAD.encode(text)),
            })
            .collect();
        format!("{{\"event\":\"failed\",\"plain\":\"x=1\",{},{}}}", fields.join(","), encoded.join(","))
    };
    let (in_body, in_answer) = (json(&mut planted), json(&mut planted));
    let parts: String =
        PARTS.iter().map(|place| format!("--b0undary\r\n{}\r\n", planted.plant(place))).collect();
    let form = format!("{parts}--b0undary--\r\n");
    let urlencoded = planted.plant("a=b&password={}&c=d");
    let total = planted.0.len();
    assert!(total >= 70, "{total}");

    let json_type = [("Content-Type", "application/json")];
    let (world, handler) = (World::new(), Handler::scripted(answer(200, &json_type, in_answer.as_bytes())));
    let mut listening = world.listen(&["--forward", &handler.target()]);
    let line = format!("/hooks?x=1&{} HTTP/1.1\r\n", query.join("&"));
    send(&listening, &format!("{line}{credentials}{headers}"), &in_body);
    let form_type = "Content-Type: multipart/form-data; boundary=b0undary\r\n";
    send(&listening, &format!("/form HTTP/1.1\r\n{form_type}"), &form);
    send(&listening, "/urlencoded HTTP/1.1\r\n", &urlencoded);
    (0..3).for_each(|_| drop(listening.next("attempt")));

    let export = |arguments: &[&str]| {
        let done = world.run(&[&["deliveries", "export"], arguments].concat());
        assert_eq!(done.code(), 0, "{}", done.errors());
        done.text()
    };
    let (mut inputs, mut violations) = (0, Vec::new());
    for format in ["ndjson", "har", "curl"] {
        let redacted = export(&["--format", format]);
        let leaks: Vec<&str> = planted.found(&redacted).into_iter().map(|number| planted.0[number]).collect();
        inputs += total;
        violations.extend(leaks.iter().map(|place| format!("{format}: {place}")));
        assert!(redacted.contains("x=1"), "what is no secret stays: {redacted}");
    }
    for arguments in [&["doctor", "--json"][..], &["-v", "doctor"], &["config", "show"]] {
        let done = world.run(arguments);
        let leaks = planted.found(&(done.text() + &done.errors()));
        inputs += total;
        violations.extend(leaks.into_iter().map(|number| format!("{arguments:?}: {}", planted.0[number])));
    }
    // Asked for, everything is there but credentials, which were never recorded.
    let whole = planted.found(&export(&["--no-redact"]));
    let missing = (never_recorded..total).filter(|number| !whole.contains(number));
    violations.extend(missing.map(|number| format!("lost: {}", planted.0[number])));
    let recorded = (0..never_recorded).filter(|number| whole.contains(number));
    violations.extend(recorded.map(|number| format!("recorded: {}", planted.0[number])));
    report("S22", inputs + total, violations.len());
    report("P10", inputs + total, violations.len());
    assert!(violations.is_empty(), "{} of {total}:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn how_long_a_comparison_takes_says_nothing_about_where_it_fails() {
    let text = "s".repeat(48);
    let secret = Secret::new(text.as_str());
    let wrong_at = |at: usize| {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = b'x';
        bytes
    };
    let mut violations = 0;
    for at in 0..text.len() {
        violations += usize::from(secret.is(&wrong_at(at)));
    }
    violations += usize::from(!secret.is(text.as_bytes()));
    let mut inputs = text.len() + 1;
    let rounds = tier(0, 5);
    for round in 0..rounds {
        let guesses = [wrong_at(0), wrong_at(text.len() - 1)];
        let (mut samples, clock) = ([Vec::new(), Vec::new()], Clock::real());
        let mut random = Random(round);
        // Both stand in the same place when it is their turn: how memory lies takes its time, too.
        let mut guess = text.clone().into_bytes();
        for _ in 0..40_000 {
            let which = random.below(2);
            guess.copy_from_slice(&guesses[which]);
            let start = clock.now();
            let is_it = (0..8).any(|_| secret.is(std::hint::black_box(&guess)));
            samples[which].push(clock.now().duration_since(start).as_secs_f64() * 1e9);
            violations += usize::from(is_it);
        }
        inputs += 40_000;
        // What the scheduler did in between is not the comparison's.
        for sample in &mut samples {
            sample.sort_by(f64::total_cmp);
            sample.truncate(sample.len() * 9 / 10);
        }
        let t = welch(&samples);
        println!("round {round}: t = {t:.2}");
        violations += usize::from(t.abs() > 4.5);
    }
    report("S20", inputs, violations);
    assert_eq!(violations, 0);
}
