//! Bytes at random, and pieces of what is right in the wrong places, for every parser that sees what others wrote. The same
//! is looked for with coverage by `cargo fuzz` (`fuzz/`).

use std::panic::catch_unwind;

#[path = "../../fuzz/oracles.rs"]
mod oracles;

use crate::assurance::{Random, report, tier};

const SEED: u64 = 0x6675_7a7a;

/// What each of them takes, to be mutated.
const SEEDS: [(&str, &[&str]); 7] = [
    (
        "target",
        &[
            "3000",
            "localhost:3000/hooks\n//evil.example/x?y=1",
            "https://host.test:8443/a/b\n/../..",
            "http://[::1]:80\n@evil/x",
            "unix:/run/x.sock\nhttp://evil/x",
            "127.0.0.1:1?a=b\n\\\\evil",
            "xn--bcher-kva.example:80/%2e%2e\n%2f%2fevil",
        ],
    ),
    (
        "set_path",
        &[
            "data.bot_id\n{\"data\":{\"bot_id\":\"x\"}}",
            "data.transcript[0].words[-1].word\n{\"data\":{\"transcript\":[{\"words\":[1,2]}]}}",
            "[\"a.b\"][\"\\\"\"]\n{\"a.b\":{}}",
            "a[+]\n{\"a\":[]}",
            "a[18446744073709551615]\n{\"a\":[1]}",
            "\"x y\".z\n[]",
        ],
    ),
    (
        "template",
        &[
            r#"{"event":"a","x":"{{ id('bot') }}","n":"{{ unix('-5m') * 2 }}","l":["{{ now() }}{{ uuid() }}"]}"#,
            r#"{"$fixture":{"meaning":"x"},"event":"a","t":"{{ transcript(minutes=1, speakers=['A']) }}"}"#,
            r#"{"event":"{{ env('MBAAS_X', 'd') | upper | replace('X', '{{') }}","b":"{{ '}}' }}"}"#,
            r#"{"event":"a","x":"{{ [1,2]|join }}{% if true %}y{% endif %}"}"#,
        ],
    ),
    (
        "canonical_json",
        &[
            r#"{"b":1,"a":[1.0,1e21,-0,5e-324,"\ud83d\ude00\u2028",null,true],"1":{},"__proto__":[]}"#,
            "[\"\\u0000\\b\\f\\n\\r\\t\\\"\\\\\\/\", 123456789012345678901234567890, 0.1e-6]",
        ],
    ),
    ("printable", &["plain \u{1b}[31m\u{9b}2J\u{202e}x\u{200b}\r\n\t é 会议 🎙", "\u{1b}]0;title\u{7}"]),
    (
        "headers",
        &[
            "Host: a\r\nConnection: X-A, close\r\nX-A: 1\r\nTE: trailers\r\n\r\nX-T: 1\r\n",
            "A:\r\nB: \u{e9}\r\nA: 2\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\nAuthorization: Bearer x\r\nReferer: http://u:p@h/?token=t\r\n",
        ],
    ),
    (
        "redact",
        &[
            r#"{"password":"x","u":"https://u:p@h/?token=%61&x=1","j":"{\"secret\":\"y\"}","l":[{"name":"cookie","value":"z"}]}"#,
            "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--b--\r\n",
            "a=1&sig=abc&next=https%3A%2F%2Fh%3Fkey%3D1",
            "Authorization: Bearer abcdefghij0123456789\r\nx: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln\r\n<token>x</token> Basic dTpw",
        ],
    ),
];

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    #[rustfmt::skip]
    const PIECES: [&str; 30] = [
        "{{", "}}", "{%", "\"", "'", "\\", "\\u", "[", "]", "{", "}", ":", "://", "@", "/", "//", "..", "?", "#", "=", "&", "%", "%25",
        "\r\n", "\n", "\0", "\u{1b}", "é", "-", "9999999999999999999999",
    ];
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 | 2 => drop(bytes.splice(at..at, random.pick(&PIECES).bytes())),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 if at < bytes.len() => bytes[at] = random.byte(),
            5 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {
                let end = at + random.below(bytes.len() - at + 1).min(40);
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
}

#[test]
fn no_bytes_make_a_parser_panic_or_break_its_promise() {
    let count = tier(3_000, 150_000);
    let mut random = Random(SEED);
    let (mut inputs, mut violations) = (0, Vec::new());
    for (name, oracle) in oracles::ORACLES {
        let seeds = SEEDS.iter().find(|(of, _)| *of == name).map(|(_, seeds)| *seeds).unwrap();
        // The cost of an expression is bounded, but not small.
        let count = if name == "template" { count / 5 } else { count };
        for number in 0..count {
            let mut bytes = random.pick(seeds).as_bytes().to_vec();
            if number % 10 == 9 {
                bytes = (0..random.below(80)).map(|_| random.byte()).collect();
            }
            mutate(&mut random, &mut bytes);
            inputs += 1;
            if catch_unwind(|| oracle(&bytes)).is_err() {
                violations.push(format!("{name}: {:?}", String::from_utf8_lossy(&bytes)));
            }
        }
    }
    report("P8", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_oracle_is_a_fuzz_target() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in oracles::ORACLES {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        assert!(root.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
    }
}
