//! The files that the URLs in events lead to: each of its kind and shape, as long as it works, and then what S3 says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::frameworks::{pipe, tools};
use crate::handler::{Handler, RawRequest, answer};
use crate::world::World;

const WHSEC: &str = "v2=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What a server answered.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// An error with what is different each time put in brackets.
    fn error(&self) -> String {
        let mut text =
            format!("{} {}\n{}\n", self.status, self.header("content-type").unwrap_or("-"), self.text());
        for name in ["RequestId", "Expires", "ServerTime", "Key"] {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            if let Some((before, rest)) = text.split_once(&open)
                && let Some((_, after)) = rest.split_once(&close)
            {
                text = format!("{before}{open}[{name}]{close}{after}");
            }
        }
        text
    }
}

/// Asks for a URL as a handler would.
fn ask(method: &str, url: &str, headers: &[&str]) -> Answer {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    write!(stream, "{method} /{path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes.split_off(end + 4) }
}

fn get(url: &str) -> Answer {
    ask("GET", url, &[])
}

/// Triggers an event by a process of its own, which has the same clock as the server; the body that the handler got.
fn sent(world: &World, handler: &Handler, arguments: &[&str]) -> Value {
    let done = world.run_process(&[&["trigger"], arguments].concat());
    assert!(done.status.success(), "{done:?}");
    serde_json::from_slice(&handler.next().body).unwrap()
}

/// Every URL of a file in a body, by the name of the file.
fn urls(value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::String(text) if text.contains("X-Amz-Signature") => {
            let name = text.split('?').next().unwrap().rsplit('/').next().unwrap();
            found.insert(name.to_owned(), text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| urls(item, found)),
        Value::Object(members) => members.values().for_each(|member| urls(member, found)),
        _ => {}
    }
}

fn urls_of(body: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    urls(body, &mut found);
    found
}

/// Whether a value is as the vendor's OpenAPI has it.
fn assert_is(schema: &str, value: &Value) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn every_url_in_an_event_leads_to_a_file_of_its_kind() {
    let (world, handler) = (World::new(), Handler::start());
    let listen = world.listen(&["--forward", &handler.target(), "--secret", WHSEC, "--secret", "s"]);
    let server = listen.ready["artifacts"].as_str().unwrap();
    assert!(server.starts_with("http://127.0.0.1:"), "{server}");
    let mut files = BTreeMap::new();
    for arguments in [
        &["meeting.completed@minimal"][..],
        &["complete"],
        &["bot.completed"],
        &["bot.completed@prose"],
        &["bot.completed", "--contract", "callback"],
    ] {
        for (name, url) in urls_of(&sent(&world, &handler, arguments)) {
            assert!(url.starts_with(server), "{url}");
            let answer = get(&url);
            assert_eq!(answer.status, 200, "{url}: {}", answer.text());
            assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
            files.insert(name, answer);
        }
    }
    let names: Vec<(&str, &str)> =
        files.iter().map(|(name, answer)| (name.as_str(), answer.header("content-type").unwrap())).collect();
    let expected = [
        ("audio.mp3", "audio/mpeg"),
        ("chat_messages.json", "application/json"),
        ("diarization.json", "application/json"),
        ("diarization.jsonl", "application/jsonl"),
        ("output.flac", "audio/flac"),
        ("output.mp4", "video/mp4"),
        ("output.wav", "audio/wav"),
        ("output_transcription.json", "application/json"),
        ("raw_transcription.json", "application/json"),
        ("transcription.json", "application/json"),
        ("video.mp4", "video/mp4"),
    ];
    assert_eq!(names, expected);
    for (name, answer) in &files {
        let extension = name.rsplit('.').next().unwrap();
        if ["mp4", "flac", "mp3", "wav"].contains(&extension) {
            world.write(name, &answer.body);
        }
    }
    insta::assert_snapshot!(decoded(&world), @"
    audio.mp3 [('audio', 'mp3float')] frames 2.0 s
    output.flac [('audio', 'flac')] frames 2.0 s
    output.mp4 [('video', 'h264'), ('audio', 'aac')] frames 2.0 s
    output.wav [('audio', 'pcm_s16le')] frames 0.5 s
    video.mp4 [('video', 'h264'), ('audio', 'aac')] frames 2.0 s
    ");
    let messages = files["chat_messages.json"].json();
    assert_eq!(messages.as_array().unwrap().len(), 3, "{messages}");
}

/// What FFmpeg finds in the media files of a project when it decodes them to the end: every stream, and how long it is.
fn decoded(world: &World) -> String {
    const SCRIPT: &str = "\
import av, glob
for name in sorted(glob.glob('*.mp4') + glob.glob('*.flac') + glob.glob('*.mp3') + glob.glob('*.wav')):
    with av.open(name) as media:
        kinds = [(stream.type, stream.codec_context.name) for stream in media.streams]
        frames = [frame for packet in media.demux() for frame in packet.decode()]
        print(name, kinds, 'frames' if frames else 'nothing', round(media.duration / 1e6, 1), 's')
";
    let mut python = Command::new(tools().join("venv/bin/python"));
    pipe(python.args(["-c", SCRIPT]).current_dir(world.folder()), "")
}

#[test]
fn what_the_files_say_of_a_meeting_has_the_documented_shape_and_agrees() {
    let (world, handler) = (World::new(), Handler::start());
    let _listen = world.listen(&["--forward", &handler.target(), "--secret", WHSEC]);
    let mut inputs = 0;
    for minutes in [None, Some(3), Some(480)] {
        let wanted = minutes.map(|minutes: u32| minutes.to_string());
        let mut arguments = vec!["bot.completed"];
        arguments.extend(wanted.iter().flat_map(|minutes| ["--minutes", minutes.as_str()]));
        let body = sent(&world, &handler, &arguments);
        let files = urls_of(&body);
        let file = |name: &str| get(&files[name]);
        let output = file("output_transcription.json").json();
        assert_is(include_str!("schemas/OutputTranscription.json"), &output);
        let raw = file("raw_transcription.json").json();
        assert_is(include_str!("schemas/RawTranscription.json"), &raw);
        assert_eq!([&output["bot_id"], &raw["bot_id"]], [&body["data"]["bot_id"]; 2]);
        assert_eq!(output["result"]["total_duration"], body["data"]["duration_seconds"]);
        assert_eq!(raw["transcriptions"][0]["metadata"]["audio_duration"], body["data"]["duration_seconds"]);
        let utterances = output["result"]["utterances"].as_array().unwrap();
        assert_eq!(output["result"]["total_utterances"], utterances.len());
        let diarization = file("diarization.jsonl").text();
        let segments: Vec<Value> =
            diarization.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(segments.len(), utterances.len());
        let raw = raw["transcriptions"][0]["transcription"]["utterances"].as_array().unwrap();
        for ((segment, utterance), raw) in segments.iter().zip(utterances).zip(raw) {
            assert_is(include_str!("schemas/MeetTeamsDiarizationSegment.json"), segment);
            let expected = json!({
                "speaker": utterance["speaker"], "start_time": utterance["start"], "end_time": utterance["end"],
            });
            assert_eq!(*segment, expected);
            assert_eq!([&raw["text"], &raw["words"]], [&utterance["text"], &utterance["words"]]);
            inputs += 1;
        }
        let speakers = body["data"]["speakers"].as_array().unwrap();
        let known = |name: &Value| speakers.iter().any(|speaker| speaker["name"] == *name);
        assert!(utterances.iter().all(|utterance| known(&utterance["speaker"])));
        let end = utterances.last().unwrap()["end"].as_f64().unwrap();
        let length = body["data"]["duration_seconds"].as_f64().unwrap();
        assert!((length - 12.0..=length).contains(&end), "{end} of {length}");
    }
    println!("inputs={inputs} violations=0");
}

#[test]
fn a_url_that_does_not_work_is_refused_as_s3_refuses_it() {
    let (world, handler) = (World::new(), Handler::start());
    let _listen = world.listen(&["--forward", &handler.target(), "--secret", WHSEC]);
    world.write(
        "mine.json",
        r#"{"event":"bot.completed","data":{"a":"{{ artifact('secret.pdf') }}","b":"{{ artifact('output.mp4') }}"}}"#,
    );
    let files = urls_of(&sent(&world, &handler, &["mine.json"]));
    let url = &files["output.mp4"];
    let mut told = String::new();
    for (label, answer) in [
        ("without its query", get(url.split('?').next().unwrap())),
        ("another file", get(&url.replace("output.mp4", "output.flac"))),
        ("for longer", get(&url.replace("X-Amz-Expires=14400", "X-Amz-Expires=99999"))),
        ("a file that there is not", get(&files["secret.pdf"])),
        ("POST", ask("POST", url, &["Content-Length: 0"])),
        ("a range beyond its end", ask("GET", url, &["Range: bytes=99999999-"])),
    ] {
        told += &format!("== {label}\n{}", answer.error());
    }
    insta::assert_snapshot!(told, @r#"
    == without its query
    403 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>[RequestId]</RequestId></Error>
    == another file
    403 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided. Check your key and signing method.</Message><RequestId>[RequestId]</RequestId></Error>
    == for longer
    403 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided. Check your key and signing method.</Message><RequestId>[RequestId]</RequestId></Error>
    == a file that there is not
    404 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>[Key]</Key><RequestId>[RequestId]</RequestId></Error>
    == POST
    405 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>MethodNotAllowed</Code><Message>The specified method is not allowed against this resource.</Message><Method>POST</Method><RequestId>[RequestId]</RequestId></Error>
    == a range beyond its end
    416 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message><RangeRequested>bytes=99999999-</RangeRequested><ActualObjectSize>9308</ActualObjectSize><RequestId>[RequestId]</RequestId></Error>
    "#);
}

#[test]
fn heads_and_ranges_are_answered() {
    let (world, handler) = (World::new(), Handler::start());
    let _listen = world.listen(&["--forward", &handler.target(), "--secret", WHSEC]);
    let url = &urls_of(&sent(&world, &handler, &["bot.completed"]))["output.mp4"];
    let whole = get(url);
    let length = whole.body.len();
    let head = ask("HEAD", url, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
    for (range, start, end) in [
        ("bytes=0-3", 0, 4),
        ("bytes=4-", 4, length),
        ("bytes=-10", length - 10, length),
        ("bytes=0-99999999", 0, length),
        ("bytes=0-0", 0, 1),
    ] {
        let part = ask("GET", url, &[&format!("Range: {range}")]);
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[start..end]), "{range}");
        assert_eq!(
            part.header("content-range"),
            Some(format!("bytes {start}-{}/{length}", end - 1).as_str())
        );
    }
    // What is not one range of bytes is as good as nothing.
    for range in ["bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=-", "bytes=5-2"] {
        let answer = ask("GET", url, &[&format!("Range: {range}")]);
        assert_eq!((answer.status, answer.body.len()), (200, length), "{range}");
    }
    // The rest of another file is of no use to whoever has the beginning of this one.
    let tag = whole.header("etag").unwrap();
    assert_eq!(get(url).header("etag"), Some(tag));
    assert_ne!(
        get(&urls_of(&sent(&world, &handler, &["bot.completed"]))["output.flac"]).header("etag"),
        Some(tag)
    );
    for (only_of, status) in
        [(tag, 206), ("\"another\"", 200), ("Tue, 24 Nov 2026 09:00:00 GMT", 200), (&format!("W/{tag}"), 200)]
    {
        let answer = ask("GET", url, &["Range: bytes=4-", &format!("If-Range: {only_of}")]);
        let expected = if status == 206 { &whole.body[4..] } else { &whole.body[..] };
        assert_eq!((answer.status, &answer.body[..]), (status, expected), "{only_of}");
    }
}

#[test]
fn a_url_expires_when_it_was_told_to() {
    let (world, handler) = (World::new(), Handler::start());
    let listen = world.listen(&["--forward", &handler.target(), "--secret", WHSEC, "--artifact-ttl", "1s"]);
    let url = &urls_of(&sent(&world, &handler, &["bot.completed"]))["output_transcription.json"];
    assert!(url.starts_with(listen.ready["artifacts"].as_str().unwrap()), "{url}");
    // A URL that works for ever hangs the test, which ends it.
    let refused = loop {
        let answer = get(url);
        if answer.status != 200 {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    insta::assert_snapshot!(refused.error(), @r#"
    403 application/xml
    <?xml version="1.0" encoding="UTF-8"?>
    <Error><Code>AccessDenied</Code><Message>Request has expired</Message><X-Amz-Expires>1</X-Amz-Expires><Expires>[Expires]</Expires><ServerTime>[ServerTime]</ServerTime><RequestId>[RequestId]</RequestId></Error>
    "#);
}

#[test]
fn without_a_listen_urls_look_as_they_should_and_lead_nowhere() {
    let (world, handler) = (World::new(), Handler::start());
    let to = handler.target();
    let body = sent(&world, &handler, &["bot.completed", "--to", &to, "--secret", WHSEC]);
    for url in urls_of(&body).values() {
        assert!(url.starts_with("https://artifacts.example.test/"), "{url}");
    }
}

#[test]
fn fixtures_that_fire_when_they_are_saved_lead_there_too() {
    let (world, handler) = (World::new(), Handler::start());
    world.write("fixtures/README.md", "");
    let arguments = ["--forward", &handler.target(), "--fixtures", "fixtures", "--secret", WHSEC];
    let _listen = world.listen(&arguments);
    world.write(
        "fixtures/v2/mine.json",
        r#"{"event":"bot.completed","data":{"video":"{{ artifact('output.mp4') }}"}}"#,
    );
    let body: Value = serde_json::from_slice(&handler.next().body).unwrap();
    assert_eq!(get(&urls_of(&body)["output.mp4"]).status, 200, "{body}");
}

#[test]
fn a_scenario_without_a_listen_serves_its_files_while_it_is_played() {
    let fetching = |request: &RawRequest, stream: &mut TcpStream| {
        let found = urls_of(&serde_json::from_slice(&request.body).unwrap());
        let is_served = found.values().all(|url| get(url).status == 200);
        answer(if is_served { 200 } else { 500 }, &[], b"{}")(request, stream)
    };
    let (world, handler) = (World::new(), Handler::scripted(Box::new(fetching)));
    let to = handler.target();
    let arguments = ["scenario", "run", "happy-path", "--contract", "v2", "--speed", "max", "--to", &to];
    let done = world.run(&[&arguments[..], &["--secret", WHSEC]].concat());
    assert_eq!(done.code(), 0, "{}", done.whole());
    let bodies: Vec<Value> =
        handler.drain().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let last = urls_of(bodies.last().unwrap());
    assert!(last.len() >= 5, "{bodies:?}");
    for url in last.values() {
        let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        assert!(TcpStream::connect(address).is_err(), "the server ends with the scenario");
    }
}
