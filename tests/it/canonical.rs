//! Holds `json` against the real thing: what `JSON.parse` of Node accepts and its `JSON.stringify` writes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use mbaas_dev::json::Json;

use crate::assurance::Random;

const SEED: u64 = 0x6d62_6161_7321;
const WELL_FORMED: usize = 50_000;
const MUTATED: usize = 25_000;

/// Malformed texts that the mutations have to yield at least, or the comparison of refusals proves little.
const MALFORMED_AT_LEAST: usize = 5_000;

/// How many of the differences are printed.
const SHOWN: usize = 10;

const TAKES_ALL: &str = "a String takes all writes";

/// Reads frames (length as u32, bytes) and answers each with two: the compact and the pretty text, or two
/// empty ones for what it refuses, since no JSON text is empty.
const ORACLE: &str = r"
const input = require('fs').readFileSync(0);
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const chunks = [];
const put = (text) => {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  chunks.push(length, bytes);
};
for (let at = 0; at < input.length; ) {
  const start = at + 4;
  at = start + input.readUInt32LE(at);
  let compact = '';
  let pretty = '';
  try {
    const value = JSON.parse(decoder.decode(input.subarray(start, at)));
    compact = JSON.stringify(value);
    pretty = JSON.stringify(value, null, 2);
  } catch {}
  put(compact);
  put(pretty);
}
process.stdout.write(Buffer.concat(chunks));
";

#[test]
fn bodies_are_a_fixed_point_of_what_node_does() {
    let mut random = Random(SEED);
    let mut inputs: Vec<Vec<u8>> = (0..WELL_FORMED).map(|_| source(&mut random).into_bytes()).collect();
    for _ in 0..MUTATED {
        let mut mutated = inputs[random.below(WELL_FORMED)].clone();
        mutate(&mut random, &mut mutated);
        inputs.push(mutated);
    }

    let answers = ask_node(&inputs);
    assert_eq!(answers.len(), inputs.len() * 2, "Node answers each input twice");
    let mut violations = 0;
    let mut refused = 0;
    for (input, answer) in inputs.iter().zip(answers.chunks(2)) {
        let ours = Json::parse(input).map(|value| [value.to_canonical(), value.to_pretty()]);
        refused += usize::from(answer[0].is_empty());
        if ours.clone().unwrap_or_default().iter().ne(answer) {
            violations += 1;
            if violations <= SHOWN {
                eprintln!("input {:?}\n ours {ours:?}\n node {answer:?}", String::from_utf8_lossy(input));
            }
        }
    }

    println!("inputs={} violations={violations}", inputs.len());
    println!("refused by Node: {refused}");
    assert_eq!(violations, 0);
    assert!(refused >= MALFORMED_AT_LEAST);
    assert!(answers[..WELL_FORMED * 2].iter().all(|answer| !answer.is_empty()));
}

#[test]
fn what_we_write_is_what_node_would_write_again() {
    let mut random = Random(SEED + 1);
    let ours: Vec<String> = (0..2_000)
        .map(|_| {
            let value = Json::parse(source(&mut random).as_bytes()).expect("the generator writes JSON");
            value.to_canonical()
        })
        .collect();
    let inputs: Vec<_> = ours.iter().map(|text| text.clone().into_bytes()).collect();
    let theirs: Vec<_> = ask_node(&inputs).into_iter().step_by(2).collect();
    assert_eq!(theirs, ours);
}

/// Node's answers, two for each input.
fn ask_node(inputs: &[Vec<u8>]) -> Vec<String> {
    let mut node = Command::new("node")
        .args(["-e", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start `node` ({error}): run tests/run, which installs what is needed")
        });
    let mut frames = Vec::new();
    for input in inputs {
        let length = u32::try_from(input.len()).expect("an input is short");
        frames.extend_from_slice(&length.to_le_bytes());
        frames.extend_from_slice(input);
    }
    // It reads all before it writes, so neither waits for the other.
    let mut stdin = node.stdin.take().expect("it was piped");
    stdin.write_all(&frames).expect("node reads its input");
    drop(stdin);
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success(), "node failed");
    unframe(&output.stdout)
}

fn unframe(frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = frames;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length).try_into().expect("a length fits");
        let (text, after) = after.split_at(length);
        texts.push(String::from_utf8(text.to_vec()).expect("node writes UTF-8"));
        rest = after;
    }
    texts
}

/// A well-formed JSON text, as messy as they get.
pub fn source(random: &mut Random) -> String {
    let mut out = String::new();
    space(random, &mut out);
    value(random, &mut out, 4);
    space(random, &mut out);
    out
}

fn space(random: &mut Random, out: &mut String) {
    while random.one_in(4) {
        out.push_str(random.pick(&[" ", "\t", "\n", "\r", "\r\n", "  "]));
    }
}

fn value(random: &mut Random, out: &mut String, depth: usize) {
    let kinds = if depth == 0 { 5 } else { 9 };
    match random.below(kinds) {
        0 => out.push_str(random.pick(&["null", "true", "false"])),
        1 | 2 => number(random, out),
        3 | 4 => string(random, out),
        5 | 6 => list(random, out, ['[', ']'], |random, out| value(random, out, depth - 1)),
        _ => list(random, out, ['{', '}'], |random, out| {
            key(random, out);
            space(random, out);
            out.push(':');
            space(random, out);
            value(random, out, depth - 1);
        }),
    }
}

fn list(
    random: &mut Random,
    out: &mut String,
    [open, close]: [char; 2],
    item: impl Fn(&mut Random, &mut String),
) {
    out.push(open);
    space(random, out);
    for number in 0..random.below(7) {
        if number > 0 {
            out.push(',');
            space(random, out);
        }
        item(random, out);
        space(random, out);
    }
    out.push(close);
}

fn key(random: &mut Random, out: &mut String) {
    #[rustfmt::skip]
    const KEYS: &[&str] = &[
        "0", "00", "01", "1", "2", "9", "10", "42", "-0", "-1", "+1", "1.5", "1e3", "2147483647",
        "2147483648", "4294967293", "4294967294", "4294967295", "4294967296", "9007199254740991",
        "18446744073709551615", "99999999999999999999", "__proto__", "constructor", "toString", "toJSON",
        "length", "a", "b", "data", "", r"\u0061", r"\u0031", r"1\u0030", r"\u005f_proto__", "NaN",
        "Infinity", " 1", "1 ", "٣",
    ];
    match random.below(4) {
        0 => string(random, out),
        1 => {
            let digits = random.below(300);
            write!(out, "\"{digits}\"").expect(TAKES_ALL);
        }
        _ => write!(out, "\"{}\"", random.pick(KEYS)).expect(TAKES_ALL),
    }
}

fn string(random: &mut Random, out: &mut String) {
    out.push('"');
    for _ in 0..random.below(9) {
        piece(random, out);
    }
    out.push('"');
}

fn piece(random: &mut Random, out: &mut String) {
    #[rustfmt::skip]
    const RAW: &[&str] = &[
        "a", "word", " ", "/", "'", "<script>", "&", "\u{7f}", "\u{80}", "\u{9f}", "é", "e\u{301}",
        "\u{a0}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{fffd}", "\u{ffff}", "\u{d7ff}", "\u{e000}", "漢字",
        "😀", "\u{10ffff}", "👩\u{200d}💻",
    ];
    const ESCAPED: &[&str] = &[
        r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\u000A", r"\u001f", r"\u001F",
        r"\u0020", r"\u0022", r"\u005c", r"\u002F", r"\u007f", r"\u2028", r"\uFEFF", r"\uffff", r"\\u0041",
        r"\\ud800",
    ];
    match random.below(8) {
        0..=2 => out.push_str(random.pick(RAW)),
        3 | 4 => out.push_str(random.pick(ESCAPED)),
        5 => unit(random, out, 0, 0x1_0000),
        // Halves, in and out of order; some of them find each other.
        6 => unit(random, out, 0xd800, 0x800),
        _ => {
            unit(random, out, 0xd800, 0x400);
            unit(random, out, 0xdc00, 0x400);
        }
    }
}

/// An escape of a UTF-16 unit, in digits of either case.
fn unit(random: &mut Random, out: &mut String, first: usize, count: usize) {
    let unit = first + random.below(count);
    out.push_str(r"\u");
    for digit in format!("{unit:04x}").chars() {
        out.push(if random.one_in(2) { digit.to_ascii_uppercase() } else { digit });
    }
}

fn number(random: &mut Random, out: &mut String) {
    #[rustfmt::skip]
    const NUMBERS: &[&str] = &[
        "0", "-0", "-0.0", "0e0", "-0e-5", "0E+400", "1", "-1", "2.0", "0.10", "1.10", "1E5", "1e5", "1e+5",
        "1e05", "100", "1e20", "1e21", "123456789012345680000", "999999999999999900000", "1e-6", "1e-7",
        "0.000001", "0.0000001", "1e400", "-1e400", "1e-400", "-1e-400", "1e99999999999999999999",
        "1e-99999999999999999999", "0e99999999999999999999", "5e-324", "2e-324", "3e-324",
        "2.4703282292062327e-324", "2.4703282292062328e-324", "2.2250738585072014e-308",
        "2.2250738585072011e-308", "2.225073858507201e-308", "1.7976931348623157e308",
        "1.7976931348623158e308", "1.7976931348623159e308", "1.797693134862315808e308", "9007199254740991",
        "9007199254740992", "9007199254740993", "9007199254740995", "-9007199254740993",
        "9007199254740992.5", "9223372036854775807", "9223372036854775808", "18446744073709551615",
        "18446744073709551616", "2147483648", "4294967296", "-2147483649", "0.1", "0.30000000000000004",
        "0.1000000000000000055511151231257827", "1.00000000000000011102230246251565404",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203126", "1700000000.123", "1700000000000",
    ];
    match random.below(8) {
        0..=2 => out.push_str(random.pick(NUMBERS)),
        3 => doubles(random, out),
        4 => {
            // An integer in the neighbourhood of a power of two.
            let near = (1_u64 << random.below(64)).wrapping_add(random.next() % 5).wrapping_sub(2);
            out.push_str(&near.to_string());
        }
        5 => out.push_str(&random.below(1_000_000).to_string()),
        _ => any_number(random, out),
    }
}

/// Any double by its bits, printed in one way or the other.
fn doubles(random: &mut Random, out: &mut String) {
    let double = f64::from_bits(random.next());
    if !double.is_finite() {
        return out.push('0');
    }
    match random.below(3) {
        0 => write!(out, "{double}"),
        1 => write!(out, "{double:e}"),
        _ => write!(out, "{double:.20E}"),
    }
    .expect(TAKES_ALL);
}

/// Any number of the grammar.
fn any_number(random: &mut Random, out: &mut String) {
    if random.one_in(3) {
        out.push('-');
    }
    if random.one_in(3) {
        out.push('0');
    } else {
        out.push_str(random.pick(&["1", "2", "5", "9"]));
        digits(random, out, 0);
    }
    if random.one_in(2) {
        out.push('.');
        digits(random, out, 1);
    }
    if random.one_in(2) {
        out.push_str(random.pick(&["e", "E", "e+", "E+", "e-", "E-"]));
        out.push_str(&random.below(330).to_string());
    }
}

fn digits(random: &mut Random, out: &mut String, at_least: usize) {
    let most = random.pick(&[&3, &20, &40]);
    for _ in 0..at_least + random.below(*most) {
        out.push_str(random.pick(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]));
    }
}

/// Changes a text here and there, which mostly makes it malformed.
fn mutate(random: &mut Random, text: &mut Vec<u8>) {
    #[rustfmt::skip]
    const INSERTED: &[&str] = &[
        ",", ":", "\"", "'", "\\", "{", "}", "[", "]", "0", "-", "+", ".", "e", "x", "\u{feff}", "\u{a0}",
        "\u{b}", "\u{c}", "\u{0}", "\u{1}", "\n", "\t", "/", "//", "/**/", "#", "NaN", "Infinity",
        "undefined", "null", "tru", "TRUE", r"\u", r"\u12", r"\x41", r"\'", r"\0", r"\U0041", "\u{2028}",
        "é", "1_000", "0x1", "01", "1.", ".5", "-", "1e",
    ];
    for _ in 0..=random.below(3) {
        let at = random.below(text.len() + 1);
        match random.below(6) {
            0 => text.truncate(at),
            1 | 2 => {
                let inserted = random.pick(INSERTED).bytes();
                text.splice(at..at, inserted);
            }
            3 if at < text.len() => drop(text.remove(at)),
            4 if at < text.len() => text[at] = u8::try_from(random.below(256)).expect("it is below 256"),
            _ => {
                // A piece of itself, in another place.
                let end = at + random.below(text.len() - at + 1).min(8);
                let piece = text[at..end].to_vec();
                let to = random.below(text.len() + 1);
                text.splice(to..to, piece);
            }
        }
    }
}
