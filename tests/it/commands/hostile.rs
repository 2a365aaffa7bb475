//! What comes from the network is hostile: none of it reaches a terminal as anything but printable text.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::assurance::report;
use super::super::handler::{Handler, Script, raw};
use super::super::world::{Done, World};
use super::{Terminal, assert_whole, exchange, request};

/// Texts that do harm to a terminal, or to who reads it.
const TEXTS: [&[u8]; 20] = [
    b"\x1b[2J\x1b[H",                                     // clears the screen
    b"\x1b]0;title\x07",                                  // sets the title
    b"\x1b]52;c;ZXZpbA==\x07",                            // writes the clipboard
    b"\x1b]8;;http://evil.test\x1b\\click\x1b]8;;\x1b\\", // a link that lies
    b"\x1bP+q544e\x1b\\",                                 // asks the terminal, which answers as if typed
    b"\x1b[31;5mred",
    b"\x1bc",
    b"over\rwritten",
    b"\x08\x08\x08gone",
    b"\x07\x0e\x0f\x05",
    b"nul\0byte",
    b"\x7fdel",
    b"\x0b\x0c",
    b"\x03\x04\x1a",
    b"line\n12:00:00.000  meeting.completed        #999    ingress   200", // a line that nobody received
    "\u{9b}31m\u{9d}0;x\u{9c}\u{85}".as_bytes(),
    b"\x9b31m\xff\xc2",
    "\u{202e}desrever\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}".as_bytes(),
    "\u{2028}\u{2029}\u{200b}\u{feff}".as_bytes(),
    "\u{e0041}\u{e007f}\u{ad}\u{fff9}".as_bytes(),
];

/// What a sender sends, and what the handler answers.
struct Attack {
    place: &'static str,
    wire: Vec<u8>,
    answer: Vec<u8>,
}

/// Every text at every place where it can stand.
fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for text in TEXTS {
        let json = |bytes: &[u8]| serde_json::to_string(&String::from_utf8_lossy(bytes)).unwrap();
        // With every character as an escape, so that the JSON is plain and its meaning is not.
        let escaped: String =
            String::from_utf8_lossy(text).encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let fine = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        let mut add = |place, wire: Vec<u8>, answer: Vec<u8>| attacks.push(Attack { place, wire, answer });
        let plain = || request(b"/", &[], br#"{"event":"complete"}"#);
        add("path", request(&[b"/a", text, b"?q=", text].concat(), &[], b"{}"), fine.clone());
        add("header", request(b"/", &[("X-Hostile", text), ("User-Agent", text)], b"{}"), fine.clone());
        add("signature", request(b"/", &[("X-MeetingBaas-Signature", text)], b"{}"), fine.clone());
        add("body", request(b"/", &[], text), fine.clone());
        let body = format!("{{\"a\":{},\"{escaped}\":\"{escaped}\"}}", json(text));
        add("JSON body", request(b"/", &[], body.as_bytes()), fine.clone());
        let event = format!("{{\"event\":\"{escaped}\"}}");
        add("wire event", request(b"/", &[("X-MeetingBaas-Signature", b"00")], event.as_bytes()), fine);
        let event = format!("{{\"event\":{}}}", json(&[b"meeting.", text].concat()));
        let answer = |status: &str, headers: &[u8], body: &[u8]| {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            [head.as_bytes(), headers, b"\r\n", body].concat()
        };
        add("answer", request(b"/", &[], event.as_bytes()), answer("400", b"", text));
        let page = [b"<!doctype html><title>", text, b"</title><pre>", text, b"</pre>"].concat();
        add("page", plain(), answer("500", b"Content-Type: text/html\r\n", &page));
        let location = [b"Location: /", text, b"\r\nX-Hostile: ", text, b"\r\n"].concat();
        add("answer header", plain(), answer("302", &location, b""));
        add("status line", plain(), [b"HTTP/1.1 401 ", text, b"\r\n", text, b": x\r\n\r\n"].concat());
    }
    attacks
}

/// Answers as the attacks have it, each once and then from the start.
fn in_turn(attacks: Vec<Attack>) -> Script {
    let next = AtomicUsize::new(0);
    Box::new(move |_, stream| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        stream.write_all(&attacks[number % attacks.len()].answer)
    })
}

/// The characters of a terminal's output that are no plain text, with what stands around them.
fn harm(output: &[u8]) -> Vec<String> {
    let text = match std::str::from_utf8(output) {
        Ok(text) => text,
        Err(error) => return vec![format!("not UTF-8: {error}")],
    };
    let harmful = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(
                c,
                '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            )
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.lines().filter(|line| line.contains(harmful)).map(|line| format!("{line:?}")).collect()
}

/// A project with a running `listen` through which every attack went; what that printed, and how many it recorded.
fn attacked() -> (World, Handler, String, usize) {
    let (world, handler) = (World::new(), Handler::start());
    let terminal = Terminal::listen(&world, &["--forward", &handler.target()]);
    let mut taken = 0;
    for Attack { place, wire, answer } in attacks() {
        handler.become_(raw(answer));
        let answer = exchange(&terminal.address, &wire).unwrap_or_else(|error| panic!("{place}: {error}"));
        taken += usize::from(answer.windows(19).any(|window| window == b"mbaas-dev-delivery:"));
    }
    let (code, stdout, stderr) = terminal.interrupt();
    assert_eq!(code, Some(130));
    handler.become_(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice()));
    (world, handler, format!("{stderr}{stdout}"), taken)
}

#[test]
fn nothing_that_came_over_the_wire_writes_to_a_terminal_but_text() {
    let (world, handler, printed, taken) = attacked();
    let sent = attacks().len();
    assert!(taken >= 150, "{taken} of {sent} were recorded");
    let mut outputs = vec![("listen".to_owned(), printed.into_bytes())];
    let mut keep = |name: &str, done: Done| {
        outputs.push((name.to_owned(), [done.stdout, done.stderr].concat()));
    };
    let all = &["deliveries", "list", "--limit", "10000"];
    let listed = world.run(all);
    assert_eq!(listed.text().lines().count(), taken, "each delivery is one line, and no other line is there");
    keep("list", listed);
    keep("list --json", world.run(&["deliveries", "list", "--limit", "10000", "--json"]));
    for number in 1..=taken {
        let number = number.to_string();
        keep("show", world.run(&["deliveries", "show", &number]));
        keep("show --json", world.run(&["deliveries", "show", &number, "--json"]));
        keep("verify", world.run(&["verify", &format!("#{number}")]));
    }
    // Each goes again to a handler that answers as badly, and its answer is shown whole.
    let to = handler.target();
    handler.become_(in_turn(attacks()));
    keep("replay", world.run(&["replay", "--since", "9999999h", "-v", "--to", &to]));
    handler.become_(in_turn(attacks()));
    let count = sent.to_string();
    keep("trigger", World::new().run(&["trigger", "meeting.started", "--count", &count, "-v", "--to", &to]));
    assert!(outputs[outputs.len() - 2..].iter().all(|(_, output)| output.len() > 50 * taken));
    let violations: Vec<String> = outputs
        .iter()
        .flat_map(|(name, output)| harm(output).into_iter().map(move |line| format!("{name}: {line}")))
        .collect();
    report("S7", sent, violations.len());
    assert!(violations.is_empty(), "{}", violations[..violations.len().min(20)].join("\n"));
}

#[test]
fn a_curl_command_for_a_hostile_delivery_is_safe_to_show_and_to_paste() {
    let (world, _handler, _, taken) = attacked();
    let mut violations = Vec::new();
    for number in 1..=taken {
        let number = number.to_string();
        let curl = world.run(&["deliveries", "show", &number, "--curl"]).stdout;
        violations.extend(harm(&curl).into_iter().map(|line| format!("#{number}: {line}")));
    }
    report("S7", taken, violations.len());
    assert!(violations.is_empty(), "{}", violations[..violations.len().min(20)].join("\n"));
}

#[test]
fn names_of_files_and_events_do_not_write_to_a_terminal_either() {
    let world = World::new();
    let mut violations = Vec::new();
    let mut inputs = 0;
    // An argument has no NUL byte, and is a text.
    for text in TEXTS
        .into_iter()
        .filter_map(|text| std::str::from_utf8(text).ok())
        .filter(|text| !text.contains('\0'))
    {
        let (file, json) = (format!("{text}.json"), format!("./{text}.json"));
        let set = format!("data.{text}=1");
        world.write("hostile.json", format!("{{\"event\": \"{text}\""));
        for arguments in [
            &["trigger", text][..],
            &["trigger", &file],
            &["trigger", &json],
            &["trigger", "hostile.json"],
            &["trigger", "meeting.started", "--set", &set],
            &["trigger", "meeting.started", "--set-string", text],
            &["trigger", "meeting.started", "--unset", text],
            &["trigger", "meeting.started", "--to", text],
            &["trigger", "meeting.started", "--contract", text],
            &["trigger", "meeting.started", "--rate", text],
            &["events", "show", text],
            &["deliveries", "show", text],
            &["deliveries", "list", "--origin", text],
            &["deliveries", "list", "--since", text],
            &["replay", text],
            &["sign", text],
            &["verify", text],
            &["listen", "--max-body", text],
            &["completions", text],
            &[text],
        ] {
            inputs += 1;
            let done = world.run(arguments);
            violations.extend(harm(&done.stderr).into_iter().map(|line| format!("{arguments:?}: {line}")));
        }
    }
    report("S7", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn what_stands_in_files_of_a_project_does_not_write_to_a_terminal() {
    let world = World::new();
    let mut violations = Vec::new();
    let texts = TEXTS
        .into_iter()
        .filter_map(|text| std::str::from_utf8(text).ok())
        .filter(|text| !text.contains('\0'));
    let mut inputs = 0;
    for (number, text) in texts.enumerate() {
        let json = serde_json::to_string(text).unwrap();
        world.write("mine/preview/event.json", format!("{{\"$fixture\": {{\"meaning\": {json}, \"payload\": \"inferred\"}}, \"event\": {json}, {json}: {json}}}"));
        world.write("mine/preview/broken.json", format!("{{\"event\": {json}, {text}}}"));
        world.write("mine/preview/template.json", format!("{{\"event\": \"{{{{ {text} }}}}\"}}"));
        world.write("config.json", format!("{{{json}: {json}}}"));
        world.write("events.json", format!("{{\"webhook_url\": \"http://x\", \"events\": [{json}]}}"));
        world.write("url.json", format!("{{\"webhook_url\": {json}}}"));
        world.write("mbaas-dev.toml", format!("color = {json}"));
        if !text.contains('/') {
            world.write(&format!("mine/preview/{text}.json"), format!("{{\"event\": \"file {number}\"}}"));
        }
        for arguments in [
            &["config", "show"][..],
            &["fixtures", "list", "mine"],
            &["fixtures", "validate", "mine"],
            &["secret", "show", "--secret", "x", "--config", "config.json"],
            &["secret", "show", "--config", "events.json"],
            &["secret", "show", "--config", "url.json"],
        ] {
            inputs += 1;
            if arguments[0] != "config" {
                world.write("mbaas-dev.toml", "");
            }
            let done = world.run(arguments);
            let output = [done.stdout, done.stderr].concat();
            violations.extend(harm(&output).into_iter().map(|line| format!("{arguments:?}: {line}")));
        }
    }
    report("S7", inputs, violations.len());
    assert!(violations.is_empty(), "{}", violations[..violations.len().min(30)].join("\n"));
}

#[test]
fn hostile_text_is_still_readable() {
    let (world, handler) = (World::new(), Handler::start());
    handler.become_(raw(
        b"HTTP/1.1 500 X\r\nContent-Length: 16\r\nX-A: \xc2\x9b31m\r\n\r\n\x1b[31mred\r\n\tblue\xff"
            .as_slice(),
    ));
    world.write("body.txt", "\u{1b}[2Jé\r\n\t\u{202e}会议");
    let done = world.run(&["trigger", "body.txt", "--raw", "-v", "--to", &handler.target()]);
    let shown = world.run(&["deliveries", "show", "1"]);
    assert_whole("hostile_text", &format!("{}{}", done.whole(), shown.whole()));
}
