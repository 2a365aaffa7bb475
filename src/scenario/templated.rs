//! Turns recorded bodies into templates: ids and times become expressions, and on demand everything that could be
//! somebody's becomes a fake, the same one wherever the same thing stood.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::json::Json;

/// What stands in the place of names, and of words.
const PEOPLE: [&str; 8] = [
    "Ana Ruiz",
    "Ben Okafor",
    "Mei Tanaka",
    "Jonas Weber",
    "Priya Nair",
    "Tom Clarke",
    "Lea Martin",
    "Omar Haddad",
];
const WORDS: [&str; 26] = [
    "alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo",
    "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor",
    "whiskey", "xray", "yankee", "zulu",
];

/// Parts of keys whose text is what a person is called.
const NAME_KEYS: [&str; 5] = ["name", "speaker", "participant", "author", "host"];

/// Keys whose text is a code of the contract, which handlers branch on.
const CODE_KEYS: [&str; 16] = [
    "event",
    "code",
    "error_code",
    "error",
    "error_type",
    "status",
    "event_type",
    "calendar_platform",
    "meeting_platform",
    "platform",
    "transcription_provider",
    "alert_type",
    "category",
    "sync_type",
    "type",
    "message_type",
];

/// A Unix time in seconds or milliseconds is not smaller than this: other numbers of that name are offsets.
const LEAST_UNIX: f64 = 1e9;

/// How far from the delivery a time may be and still move with it.
const FAR: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The templates of some bodies; what is the same in several of them stays the same.
#[derive(Debug)]
pub struct Templates {
    scrub: bool,
    /// The name in `id('…')` of each UUID.
    ids: HashMap<String, String>,
    /// The fake of each text, with what kind of text it is.
    fakes: HashMap<(Fake, String), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fake {
    Person,
    Email,
    Url,
    Word,
}

impl Templates {
    /// Templates in which ids and times are made afresh and, with `scrub`, names, addresses, links and words are fakes.
    pub fn new(scrub: bool) -> Self {
        Self { scrub, ids: HashMap::new(), fakes: HashMap::new() }
    }

    /// Turns the body of a delivery that came at `at` into a template.
    pub fn apply(&mut self, body: &mut Json, at: Timestamp) {
        self.collect("", body);
        self.rewrite("", body, at, false);
    }

    /// A fixture of one recorded body that came at `at`; none where that is no JSON object.
    pub fn fixture(mut self, body: &[u8], at: Timestamp) -> Option<String> {
        let mut body = Json::parse(body).ok().filter(|body| body.as_object().is_some())?;
        self.apply(&mut body, at);
        Some(format!("{}\n", body.to_pretty()))
    }

    /// Gives each UUID that stands alone a name: that of its key.
    fn collect(&mut self, key: &str, value: &Json) {
        match value {
            Json::String(text) => {
                if let Some(text) = text.to_plain().filter(|text| is_uuid(text))
                    && !self.ids.contains_key(text.as_ref())
                {
                    let name = self.free_name(key);
                    self.ids.insert(text.into_owned(), name);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.collect(key, item)),
            Json::Object(members) => {
                for (key, member) in members {
                    self.collect(&key.to_plain().unwrap_or_default(), member);
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn free_name(&self, key: &str) -> String {
        let key = key.trim_end_matches('s');
        let stem = ["_id", "_uuid"].iter().find_map(|end| key.strip_suffix(end)).unwrap_or(key);
        let mut stem: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        if !stem.starts_with(|c: char| c.is_ascii_lowercase()) {
            stem.insert_str(0, "id_");
        }
        stem.truncate(40);
        let is_taken = |name: &String| self.ids.values().any(|taken| taken == name);
        let numbered = (2..).map(|number| format!("{stem}_{number}"));
        std::iter::once(stem.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(stem)
    }

    /// `within_extra`: inside what the user gave Meeting BaaS along, of which nobody knows what it says.
    fn rewrite(&mut self, key: &str, value: &mut Json, at: Timestamp, within_extra: bool) {
        match value {
            Json::String(text) => {
                let plain = text.to_plain().map(std::borrow::Cow::into_owned);
                if let Some(plain) = plain {
                    *value = Json::string(&self.text(key, &plain, at, within_extra));
                }
            }
            Json::Number(number) if key == "start_time" && *number >= LEAST_UNIX => {
                if let Some(template) = unix(*number, at) {
                    *value = Json::string(&template);
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.rewrite(key, item, at, within_extra)),
            Json::Object(members) => {
                for (key, member) in members {
                    let key = key.to_plain().unwrap_or_default().into_owned();
                    self.rewrite(&key, member, at, within_extra || key == "extra");
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn text(&mut self, key: &str, text: &str, at: Timestamp, within_extra: bool) -> String {
        if let Some(name) = self.ids.get(text) {
            return format!("{{{{ id('{name}') }}}}");
        }
        if let Some(template) = time(text, at) {
            return template;
        }
        if self.scrub {
            return self.scrubbed(key, text, within_extra);
        }
        let mut template = escaped(text);
        for (id, name) in &self.ids {
            if template.contains(id.as_str()) {
                template = template.replace(id.as_str(), &format!("{{{{ id('{name}') }}}}"));
            }
        }
        template
    }

    /// A fake of the same kind.
    fn scrubbed(&mut self, key: &str, text: &str, within_extra: bool) -> String {
        if text.is_empty() || (!within_extra && CODE_KEYS.contains(&key) && is_code(text)) {
            return escaped(text);
        }
        if text.contains("://") {
            return self.fake(Fake::Url, text, |number| {
                let file = text.split(['?', '#']).next().and_then(|path| path.rsplit_once('.'));
                let end = file.map(|(_, end)| end).filter(|end| end.len() <= 5 && is_code(end));
                format!(
                    "https://files.example.test/{number}{}",
                    end.map(|end| format!(".{end}")).unwrap_or_default()
                )
            });
        }
        if text.contains('@') {
            return self.fake(Fake::Email, text, |number| format!("person{number}@example.test"));
        }
        if !within_extra && NAME_KEYS.iter().any(|part| key.contains(part)) {
            return self.fake(Fake::Person, text, |number| numbered(&PEOPLE, number));
        }
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            words.push(self.fake(Fake::Word, word, |number| numbered(&WORDS, number)));
        }
        words.join(" ")
    }

    /// The fake of a text; `make` makes the n-th of its kind, counting from 1.
    fn fake(&mut self, kind: Fake, text: &str, make: impl FnOnce(usize) -> String) -> String {
        let number = self.fakes.keys().filter(|(other, _)| *other == kind).count() + 1;
        self.fakes.entry((kind, text.to_owned())).or_insert_with(|| make(number)).clone()
    }
}

fn numbered(list: &[&str], number: usize) -> String {
    let (round, place) = ((number - 1) / list.len(), (number - 1) % list.len());
    if round == 0 { list[place].to_owned() } else { format!("{}{}", list[place], round + 1) }
}

fn is_code(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.parse::<uuid::Uuid>().is_ok()
}

/// A text in which nothing is taken for an expression.
fn escaped(text: &str) -> String {
    text.replace("{{", "{{ '{{' }}")
}

/// The expression of a time in ISO 8601 and UTC, with the precision that it had.
fn time(text: &str, at: Timestamp) -> Option<String> {
    let looks_right = (20..=30).contains(&text.len()) && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    let then: Timestamp = looks_right.then(|| text.parse().ok())??;
    let now = offset(then, at)?;
    Some(match text.get(19..) {
        Some("Z") => format!("{{{{ {now}[:19] }}}}Z"),
        Some(".000Z") => format!("{{{{ {now}[:19] }}}}.000Z"),
        _ => format!("{{{{ {now} }}}}"),
    })
}

/// The expression of a Unix time, in seconds or, where it is so large, in milliseconds.
fn unix(number: f64, at: Timestamp) -> Option<String> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a time within a year of the delivery, or none at all"
    )]
    let whole = number as i64;
    let (then, function) = if number >= LEAST_UNIX * 1000.0 {
        (Timestamp::from_millisecond(whole).ok()?, "unix_ms")
    } else {
        (Timestamp::from_second(whole).ok()?, "unix")
    };
    Some(format!("{{{{ {} }}}}", offset(then, at)?.replacen("now", function, 1)))
}

/// `now()`, or with how far a time is from the delivery.
fn offset(then: Timestamp, at: Timestamp) -> Option<String> {
    let apart = then.duration_since(at);
    if apart.abs() > FAR {
        return None;
    }
    let millis = apart.as_millis();
    Some(match millis {
        -999..=999 => "now()".to_owned(),
        _ if millis % 1000 == 0 => format!("now('{}s')", millis / 1000),
        _ => format!("now('{millis}ms')"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, Run};
    use crate::model::Clock;

    const AT: &str = "2026-11-24T09:05:52.208Z";

    fn templated(scrub: bool, source: &str) -> String {
        let mut body = Json::parse(source.as_bytes()).unwrap();
        Templates::new(scrub).apply(&mut body, AT.parse().unwrap());
        body.to_canonical()
    }

    const BODY: &str = r#"{"event":"bot.completed","data":{"bot_id":"3f2c8a51-0d8e-4b77-9a63-5e1f0c2d7b94","event_id":null,"participants":[{"id":1,"name":"Zaphod Beeblebrox"},{"id":2,"name":"Trillian"}],"speakers":[{"id":1,"name":"Zaphod Beeblebrox"}],"joined_at":"2026-11-24T08:30:00.000Z","sent_at":"2026-11-24T09:05:51.900Z","video":"https://s3.host/3f2c8a51-0d8e-4b77-9a63-5e1f0c2d7b94/output.mp4?X-Amz-Signature=abc","duration_seconds":1800,"status":{"code":"in_call_recording","start_time":1795510000}},"extra":{"customer":"ACME","braces":"{{ x }}","mail":"zaphod@heart.gold"}}"#;

    #[test]
    fn ids_and_times_become_expressions_and_the_rest_stays() {
        let template = templated(false, BODY);
        assert!(template.contains(r#""bot_id":"{{ id('bot') }}""#), "{template}");
        assert!(template.contains(r#""joined_at":"{{ now('-2152208ms')[:19] }}.000Z""#), "{template}");
        assert!(template.contains(r#""sent_at":"{{ now() }}""#) && template.contains("Zaphod"), "{template}");
        assert!(template.contains("https://s3.host/{{ id('bot') }}/output.mp4"), "{template}");
        // At the same time it gives the same body, but for the id and what is less than a second off.
        let clock = Clock::fixed(AT.parse().unwrap(), 1);
        let rendered = Fixture::new("x", template.into_bytes()).render(&Run::new(&clock, |_| None)).unwrap();
        let bot = rendered.at(&"data.bot_id".parse().unwrap()).unwrap().as_str().unwrap().into_owned();
        let expected = BODY
            .replace("3f2c8a51-0d8e-4b77-9a63-5e1f0c2d7b94", &bot)
            .replace("2026-11-24T09:05:51.900Z", AT);
        let expected = Json::parse(expected.as_bytes()).unwrap();
        assert_eq!(rendered.to_canonical(), expected.to_canonical());
    }

    #[test]
    fn scrubbing_leaves_nothing_of_anybody_and_keeps_what_is_the_same_the_same() {
        let scrubbed = templated(true, BODY);
        let canaries =
            ["Zaphod", "Beeblebrox", "Trillian", "s3.host", "abc", "ACME", "heart.gold", "3f2c8a51", " x "];
        let left: Vec<&str> = canaries.into_iter().filter(|canary| scrubbed.contains(canary)).collect();
        println!("inputs={} violations={}", canaries.len(), left.len());
        assert_eq!(left, [] as [&str; 0], "{scrubbed}");
        assert_eq!(scrubbed.matches("Ana Ruiz").count(), 2, "{scrubbed}");
        assert!(
            scrubbed.contains(r#""code":"in_call_recording""#)
                && scrubbed.contains("files.example.test/1.mp4")
        );
    }

    #[test]
    fn words_of_a_transcript_are_other_words() {
        let source = r#"{"event":"complete","data":{"transcript":[{"speaker":"Ford","offset":1.5,"words":[{"start":1,"end":2,"word":"secret"},{"start":2,"end":3,"word":"plans"},{"start":3,"end":4,"word":"secret"}]}],"event":"complete"}}"#;
        let scrubbed = templated(true, source);
        let expected = source.replace("Ford", "Ana Ruiz").replace("secret", "alfa").replace("plans", "bravo");
        assert_eq!(scrubbed, expected);
    }

    #[test]
    fn several_ids_of_one_key_have_names_of_their_own() {
        let id = |digit: char| format!("{}-0d8e-4b77-9a63-5e1f0c2d7b94", digit.to_string().repeat(8));
        let source =
            format!(r#"{{"affected_event_uuids":["{}","{}","{0}"],"7_id":"{}"}}"#, id('a'), id('b'), id('c'));
        let template = templated(false, &source);
        assert_eq!(
            template,
            r#"{"affected_event_uuids":["{{ id('affected_event') }}","{{ id('affected_event_2') }}","{{ id('affected_event') }}"],"7_id":"{{ id('id_7') }}"}"#
        );
    }
}
