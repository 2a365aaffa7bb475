//! Every cause is named when it is what was done to a request, over many bodies.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use indexmap::IndexMap;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::json::{Json, Text};
use crate::model::Headers;
use crate::signature::{SignMode, Signing, Stamp};

const NOW: i64 = 1_795_510_812;
const ID: &str = "msg_2xH1mbaasdevFixture0000001";
const PLAIN: &str = "your-webhook-secret-key";
const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A request that was signed right, and what is done to it.
#[derive(Clone)]
struct Case {
    contract: Contract,
    secret: String,
    headers: Headers,
    body: Vec<u8>,
    now: i64,
}

impl Case {
    fn new(contract: Contract, secret: &str, body: &[u8]) -> Self {
        let headers = Self::signed(contract, secret, body, SignMode::Valid);
        Self { contract, secret: secret.to_owned(), headers, body: body.to_vec(), now: NOW }
    }

    fn signed(contract: Contract, secret: &str, body: &[u8], mode: SignMode) -> Headers {
        let stamp = Stamp { id: ID.to_owned(), at: Timestamp::from_second(NOW).unwrap() };
        let signing = Signing { mode, ..Signing::right(contract, Key::new(secret.into(), "--secret")) };
        signing.sign(&stamp, body).unwrap()
    }

    /// The signature's or the credential's value in another shape.
    fn with_value(mut self, change: impl Fn(&str) -> String) -> Self {
        let is_it =
            |name: &[u8]| matches!(authenticates(name), Some((_, Part::Signature | Part::Credential)));
        let changed = self.headers.iter().map(|(name, value)| {
            let text = std::str::from_utf8(value).unwrap();
            (name.clone(), if is_it(name) { change(text) } else { text.to_owned() })
        });
        self.headers = changed.collect();
        self
    }

    fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn explain(&self, effort: Effort) -> Option<Explanation> {
        let mut keys = Keyring::new(Key::new(self.secret.as_str().into(), "--secret"));
        keys.give(Contract::Alert, Key::new("whsec_b3RoZXI=".into(), "mbaas-dev.toml"));
        let at = Timestamp::from_second(self.now).unwrap();
        let claim = Claim {
            contract: Some(self.contract),
            event_type: None,
            headers: &self.headers,
            body: &self.body,
            at,
        };
        (claim.verify(&keys) != Verdict::Valid).then(|| claim.explain(&keys, effort)).flatten()
    }

    /// Why it does not verify, in both efforts the same.
    fn causes(&self) -> Vec<Cause> {
        let causes = self.explain(Effort::Thorough).map(|explanation| explanation.causes);
        assert_eq!(self.explain(Effort::Brief).map(|explanation| explanation.causes), causes);
        causes.expect("it does not verify")
    }

    fn cause(&self) -> Cause {
        let causes = self.causes();
        assert_eq!(causes.len(), 1, "{causes:?}");
        causes.into_iter().next().unwrap()
    }
}

/// What is in a v2 signature behind `v1,`, or in a preview signature.
fn bytes_of(value: &str) -> Vec<u8> {
    match value.strip_prefix("v1,") {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => hex::decode(value).unwrap(),
    }
}

fn secret_of(contract: Contract) -> &'static str {
    match contract {
        Contract::V2 => WHSEC,
        Contract::Alert => "whsec_b3RoZXI=",
        _ => PLAIN,
    }
}

const SIGNING: [Contract; 2] = [Contract::Preview, Contract::V2];
const PLAINLY: [Contract; 3] = [Contract::V1, Contract::Callback, Contract::Alert];

/// JSON as it may come in an event.
fn json() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "[a-zA-Zäöüéß会议🎙️ <>&/\"\\\\\u{2028}\u{7f}\n\t]{0,12}",
        Just("https://artifacts.example.test/a/output.mp4?X-Amz-Expires=14400&x=<y>".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        (-1_000_000_000_i32..1_000_000_000).prop_map(|number| Json::Number(number.into())),
        (0.0..10_000.0_f64).prop_map(Json::Number),
        text.prop_map(|text| Json::string(&text)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            prop::collection::vec(("[a-z_]{1,8}", inner), 0..6).prop_map(|members| {
                Json::Object(members.into_iter().map(|(key, value)| (Text::new(&key), value)).collect())
            }),
        ]
    })
}

/// A body as senders write it.
fn body() -> impl Strategy<Value = String> {
    (json(), "[a-z.]{1,20}").prop_map(|(data, event)| {
        let members = [("event", Json::string(&event)), ("data", data)];
        let object: IndexMap<Text, Json> =
            members.into_iter().map(|(key, value)| (Text::new(key), value)).collect();
        Json::Object(object).to_canonical()
    })
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_right_needs_no_explanation(body in body()) {
        for contract in Contract::ALL {
            let case = Case::new(contract, secret_of(contract), body.as_bytes());
            prop_assert_eq!(case.explain(Effort::Thorough), None);
        }
    }

    #[test]
    fn a_body_that_was_written_again_is_named_with_who_wrote_it(body in body()) {
        let original = Written::read(body.as_bytes()).unwrap();
        for contract in SIGNING {
            let case = Case::new(contract, secret_of(contract), body.as_bytes());
            for serialiser in Serialiser::ALL {
                let written = original.written_by(serialiser);
                if written == body {
                    continue;
                }
                let found = Written::read(written.as_bytes()).unwrap().serialiser();
                let cause = case.clone().with_body(written.clone()).cause();
                if matches!(serialiser, Serialiser::GoSorted | Serialiser::PythonSorted)
                    && !matches!(cause, Cause::Reserialised { .. })
                {
                    // The order is lost, so it cannot be proven; that it was written again shows all the same, unless
                    // nothing but the order has changed.
                    let traces = [found.map(Cause::LooksReserialised), Some(Cause::Unknown)];
                    prop_assert!(traces.contains(&Some(cause.clone())), "{cause:?} {written}");
                    continue;
                }
                let Cause::Reserialised { found: named, signed } = cause else {
                    return Err(TestCaseError::fail(format!("{cause:?} for {serialiser:?}: {written}")));
                };
                prop_assert_eq!(named, found);
                prop_assert_eq!(original.written_by(signed), body.as_str());
                // And the other way round: that form was signed, and it is in the usual form here.
                let signed = Case::new(contract, secret_of(contract), written.as_bytes()).with_body(body.clone());
                let Cause::Reserialised { signed, .. } = signed.cause() else {
                    return Err(TestCaseError::fail(format!("{serialiser:?} was signed: {written}")));
                };
                prop_assert_eq!(original.written_by(signed), written);
            }
        }
    }

    #[test]
    fn what_was_put_around_a_body_or_taken_away_is_named(body in body()) {
        let pretty = Written::read(body.as_bytes()).unwrap().written_by(Serialiser::PrettyTwo);
        for contract in SIGNING {
            let secret = secret_of(contract);
            let signed = |body: &str| Case::new(contract, secret, body.as_bytes());
            for end in ["\n", "\r\n"] {
                let longer = format!("{body}{end}");
                prop_assert_eq!(signed(&body).with_body(longer.as_str()).cause(), Cause::FinalLineFeed(Side::Here));
                prop_assert_eq!(signed(&longer).with_body(body.as_str()).cause(), Cause::FinalLineFeed(Side::Signed));
            }
            let marked = format!("\u{feff}{body}");
            prop_assert_eq!(signed(&body).with_body(marked.as_str()).cause(), Cause::ByteOrderMark(Side::Here));
            prop_assert_eq!(signed(&marked).with_body(body.as_str()).cause(), Cause::ByteOrderMark(Side::Signed));
            let other_ends = pretty.replace('\n', "\r\n");
            prop_assert_eq!(signed(&pretty).with_body(other_ends.as_str()).cause(), Cause::LineEnds);
            prop_assert_eq!(signed(&other_ends).with_body(pretty.as_str()).cause(), Cause::LineEnds);
            let utf_16 = |bytes: fn(u16) -> [u8; 2]| body.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
            for (mark, bytes) in [(&b"\xff\xfe"[..], u16::to_le_bytes as fn(_) -> _), (b"\xfe\xff", u16::to_be_bytes)] {
                for mark in [mark, b""] {
                    let case = signed(&body).with_body([mark, &utf_16(bytes)].concat());
                    prop_assert_eq!(case.cause(), Cause::Charset(Charset::Utf16));
                }
            }
            let accented = body.replace('{', "{\"é\":\"ü\",").replace(|c: char| u32::from(c) > 0xff, "?");
            let latin_1: Vec<u8> = accented.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            prop_assert_eq!(signed(&accented).with_body(latin_1).cause(), Cause::Charset(Charset::Latin1));
            prop_assert_eq!(signed(&body).with_body("").cause(), Cause::EmptyBody);
            prop_assert_eq!(signed(&body).with_body(gzip(body.as_bytes())).cause(), Cause::Compressed);
            prop_assert_eq!(signed(&body).with_body(deflate(body.as_bytes())).cause(), Cause::Compressed);
            let mut unpacked = Case::new(contract, secret, &gzip(body.as_bytes())).with_body(body.as_str());
            unpacked.headers.push("Content-Encoding", "gzip");
            prop_assert_eq!(unpacked.cause(), Cause::Decompressed);
            let mut cut = signed(&body).with_body(&body.as_bytes()[..body.len() / 2]);
            cut.headers.push("Content-Length", body.len().to_string());
            let (announced, found) = (body.len() as u64, cut.body.len() as u64);
            prop_assert_eq!(cut.cause(), Cause::OtherLength { announced, found });
        }
    }

    #[test]
    fn another_shape_of_the_value_is_named(body in body()) {
        for contract in SIGNING {
            let case = Case::new(contract, secret_of(contract), body.as_bytes());
            let shaped = |change: &dyn Fn(&str) -> String| case.clone().with_value(change).causes();
            let encoding = |found, expected| Cause::Encoding { found, expected };
            let is_of_v2 = contract == Contract::V2;
            if is_of_v2 {
                let hexadecimal = encoding(Encoding::Hexadecimal, Encoding::Base64);
                let in_hex = |value: &str| format!("v1,{}", hex::encode(bytes_of(value)));
                prop_assert_eq!(shaped(&in_hex), [hexadecimal.clone()]);
                prop_assert_eq!(shaped(&|value| value.trim_start_matches("v1,").to_owned()), [Cause::NoVersion]);
                prop_assert_eq!(shaped(&|value| value.replace("v1,", "v1,sha256=")), [Cause::Prefix("sha256=")]);
                let generic = |value: &str| format!("sha256={}", hex::encode(bytes_of(value)));
                prop_assert_eq!(shaped(&generic), [Cause::NoVersion, Cause::Prefix("sha256="), hexadecimal]);
                prop_assert_eq!(shaped(&|value| value.replace("v1,", "v1a,")), [Cause::OtherVersion]);
                let rotated = case.clone().with_value(|value| format!("v1,{} {value}x", STANDARD.encode([7; 32])));
                prop_assert_eq!(rotated.causes(), [Cause::Unknown]);
            } else {
                let base64 = encoding(Encoding::Base64, Encoding::Hexadecimal);
                prop_assert_eq!(shaped(&|value| STANDARD.encode(bytes_of(value))), [base64.clone()]);
                prop_assert_eq!(shaped(&|value| format!("sha256={value}")), [Cause::Prefix("sha256=")]);
                prop_assert_eq!(shaped(&str::to_uppercase), [Cause::UpperCase]);
                let as_v2 = |value: &str| format!("v1,{}", STANDARD.encode(bytes_of(value)));
                prop_assert_eq!(shaped(&as_v2), [Cause::Prefix("v1,"), base64]);
                prop_assert_eq!(shaped(&|value| format!("\"{value}\"")), [Cause::Prefix("\"")]);
            }
            let header = if is_of_v2 { "svix-signature" } else { preview::HEADER };
            prop_assert_eq!(shaped(&|_| "   ".to_owned()), [Cause::Empty { header }]);
            prop_assert_eq!(shaped(&|_| case.secret.clone()), [Cause::SecretItself { header }]);
            let no_signature = shaped(&|_| "deadbeef".to_owned());
            prop_assert!(matches!(no_signature[..], [Cause::NoSignature { .. }]), "{:?}", no_signature);
        }
    }

    #[test]
    fn a_wrong_key_is_named(body in body()) {
        let body = body.as_bytes();
        let preview = |key: &[u8]| hex::encode(mac(key, body));
        let v2 = |key: &[u8]| format!("v1,{}", STANDARD.encode(svix::mac(key, ID.as_bytes(), NOW.to_string().as_bytes(), body)));
        let bytes = STANDARD.decode(&WHSEC[6..]).unwrap();
        let form = |form| [Cause::KeyForm(form)];
        let case = |contract, secret: &str, value: String| {
            Case::new(contract, secret, body).with_value(|_| value.clone()).causes()
        };
        prop_assert_eq!(case(Contract::V2, WHSEC, v2(WHSEC.as_bytes())), form(KeyForm::Text));
        prop_assert_eq!(case(Contract::V2, WHSEC, v2(&WHSEC.as_bytes()[6..])), form(KeyForm::WithoutPrefix));
        let other = || [Cause::OtherSecret { which: "the one for alert from mbaas-dev.toml".to_owned() }];
        prop_assert_eq!(case(Contract::V2, WHSEC, v2(b"other")), other());
        prop_assert_eq!(case(Contract::Preview, WHSEC, preview(&bytes)), form(KeyForm::FromBase64));
        prop_assert_eq!(case(Contract::Preview, WHSEC, preview(&WHSEC.as_bytes()[6..])), form(KeyForm::WithoutPrefix));
        prop_assert_eq!(case(Contract::Preview, WHSEC, preview(b"whsec_b3RoZXI=")), other());
        let prefixed = format!("whsec_{PLAIN}");
        prop_assert_eq!(case(Contract::Preview, PLAIN, preview(prefixed.as_bytes())), form(KeyForm::WithPrefix));
        let fed = format!("{PLAIN}\n");
        prop_assert_eq!(case(Contract::Preview, PLAIN, preview(fed.as_bytes())), form(KeyForm::WithLineFeed));
        prop_assert_eq!(case(Contract::Preview, &fed, preview(PLAIN.as_bytes())), form(KeyForm::Trimmed));
        for quote in ["\"", "'"] {
            let quoted = [quote, PLAIN, quote].concat();
            prop_assert_eq!(case(Contract::Preview, &quoted, preview(PLAIN.as_bytes())), form(KeyForm::Unquoted));
            prop_assert_eq!(case(Contract::Preview, PLAIN, preview(quoted.as_bytes())), form(KeyForm::Quoted));
        }
        prop_assert_eq!(case(Contract::Preview, "c0ffee00", preview(b"\xc0\xff\xee\0")), form(KeyForm::FromHexadecimal));
        prop_assert_eq!(case(Contract::Preview, PLAIN, preview(b"nobody knows")), [Cause::Unknown]);
        prop_assert_eq!(case(Contract::V2, WHSEC, v2(b"nobody knows")), [Cause::Unknown]);
        let alone = format!("v1,{}", STANDARD.encode(mac(&bytes, body)));
        prop_assert_eq!(case(Contract::V2, WHSEC, alone), [Cause::BodyAlone]);
    }

    #[test]
    fn a_time_stamp_that_is_off_is_named_with_by_how_much(body in body(), seconds in 301..1_000_000_000_u32) {
        let mut case = Case::new(Contract::V2, WHSEC, body.as_bytes());
        case.now = NOW + i64::from(seconds);
        prop_assert_eq!(case.cause(), Cause::Stale { seconds: seconds.into() });
        case.now = NOW - i64::from(seconds);
        prop_assert_eq!(case.cause(), Cause::Early { seconds: seconds.into() });
        let millis = (NOW * 1000).to_string();
        let value = STANDARD.encode(svix::mac(&STANDARD.decode(&WHSEC[6..]).unwrap(), ID.as_bytes(), millis.as_bytes(), body.as_bytes()));
        case.headers = [("svix-id", ID.to_owned()), ("svix-timestamp", millis), ("svix-signature", format!("v1,{value}"))]
            .into_iter()
            .collect();
        case.now = NOW;
        prop_assert_eq!(case.cause(), Cause::Milliseconds);
    }

    #[test]
    fn headers_that_are_missing_or_of_another_contract_are_named(body in body()) {
        let body = body.as_bytes();
        for (mode, name) in [
            (SignMode::MissingId, "svix-id"),
            (SignMode::MissingTimestamp, "svix-timestamp"),
            (SignMode::MissingSignature, "svix-signature"),
        ] {
            let mut case = Case::new(Contract::V2, WHSEC, body);
            case.headers = Case::signed(Contract::V2, WHSEC, body, mode);
            prop_assert_eq!(case.cause(), Cause::MissingPart { name });
        }
        for (contract, expected) in [
            (Contract::Preview, preview::HEADER),
            (Contract::V2, "svix-signature"),
            (Contract::V1, "x-meeting-baas-api-key"),
            (Contract::Callback, "x-mb-secret"),
            (Contract::Alert, "x-mb-alert-secret"),
        ] {
            let mut case = Case::new(contract, secret_of(contract), body);
            case.headers = Headers::new();
            prop_assert_eq!(case.cause(), Cause::NotSigned { expected });
            for other in Contract::ALL.into_iter().filter(|other| *other != contract) {
                case.headers = Case::signed(other, secret_of(other), body, SignMode::Valid);
                let cause = case.cause();
                prop_assert!(
                    matches!(cause, Cause::OtherContract { contract: named, expected: name, .. } if named == other && name == expected),
                    "{contract} {other}: {cause:?}"
                );
            }
            let mut twice = Case::new(contract, secret_of(contract), body);
            let (name, value) = twice.headers.iter().last().map(|(name, value)| (name.clone(), value.clone())).unwrap();
            twice.headers.push(name, value);
            prop_assert_eq!(twice.cause(), Cause::Repeated { name: expected });
        }
    }

    #[test]
    fn a_credential_that_is_none_is_named(body in body()) {
        for contract in PLAINLY {
            let header = field_names(contract, Part::Credential).next().unwrap();
            let case = Case::new(contract, "s3cret", body.as_bytes());
            let given = |value: &str| {
                let mut case = case.clone().with_value(|_| value.to_owned());
                // In the place of the key of alerts, so that it is known and is not the right one.
                case.contract = contract;
                case.cause()
            };
            if contract == Contract::Alert {
                prop_assert_eq!(given("s3cret"), Cause::OtherSecret { which: "the one from --secret".to_owned() });
                continue;
            }
            let signature = mac(b"s3cret", body.as_bytes());
            prop_assert_eq!(given(""), Cause::Empty { header });
            prop_assert_eq!(given("nobody knows"), Cause::UnknownSecret { header });
            prop_assert_eq!(given("Bearer s3cret"), Cause::Prefix("Bearer "));
            prop_assert_eq!(given("'s3cret'"), Cause::KeyForm(KeyForm::Quoted));
            let mut quoted = Case::new(contract, "\"s3cret\"", body.as_bytes()).with_value(|_| "s3cret".to_owned());
            quoted.contract = contract;
            prop_assert_eq!(quoted.cause(), Cause::KeyForm(KeyForm::Unquoted));
            prop_assert_eq!(given(&hex::encode(signature)), Cause::SignatureInstead { header });
            prop_assert_eq!(given(&STANDARD.encode(signature)), Cause::SignatureInstead { header });
            let known = Cause::OtherSecret { which: "the one for alert from mbaas-dev.toml".to_owned() };
            prop_assert_eq!(given("whsec_b3RoZXI="), known);
        }
    }
}

#[test]
fn several_things_at_a_time_are_named_for_whoever_waits() {
    // v2 taken for one HMAC like any other: over the body alone, with the secret as text, in hexadecimal digits.
    let body = br#"{"event":"bot.failed"}"#;
    let value = format!("sha256={}", hex::encode(mac(WHSEC.as_bytes(), body)));
    let case = Case::new(Contract::V2, WHSEC, body).with_value(|_| value.clone());
    let explanation = case.explain(Effort::Thorough).unwrap();
    insta::assert_snapshot!(explanation, @"several things are wrong: the signature has no `v1,` before it (put it there); `sha256=` stands before the value and is not part of it (leave it out); the signature is written in hexadecimal digits, and receivers expect base64 (write the 32 bytes of the HMAC in base64); the secret was taken as text, `whsec_` included (decode what follows `whsec_` from base64: those bytes are the key); the signature is over the body alone, and v2 signs `id.timestamp.body` (put id and time stamp before the body, each with a full stop behind it)");
    assert_eq!(case.explain(Effort::Brief).unwrap().causes, [Cause::Unknown]);
}

#[test]
fn a_secret_that_v2_cannot_have_is_said_to_be_none() {
    let mut case = Case::new(Contract::V2, WHSEC, b"{}");
    PLAIN.clone_into(&mut case.secret);
    insta::assert_snapshot!(case.explain(Effort::Brief).unwrap(), @"the secret from --secret is not a v2 secret, which begins with `whsec_`; give that of v2 with `--secret v2=whsec_…`");
}

#[test]
fn a_large_body_is_not_looked_into_in_passing() {
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(BRIEF_BODY));
    let case = Case::new(Contract::Preview, PLAIN, body.as_bytes()).with_body(format!("{body}\n"));
    assert_eq!(case.explain(Effort::Brief), None);
    assert_eq!(case.explain(Effort::Thorough).unwrap().causes, [Cause::FinalLineFeed(Side::Here)]);
}

#[test]
fn sentences_say_what_is_wrong_and_what_to_do() {
    let sentence = |cause| Explanation { causes: vec![cause] }.to_string();
    let reserialised =
        Cause::Reserialised { found: Some(Serialiser::Python), signed: Serialiser::JavaScript };
    insta::assert_snapshot!(sentence(reserialised), @"the body was parsed and written again: here it is written as Python's json.dumps does, with a space after each `,` and `:`; what was signed is written compactly, as JavaScript's JSON.stringify does; verify the bytes as they came, before anything parses them");
    insta::assert_snapshot!(sentence(Cause::Stale { seconds: 301 }), @"the signature fits, but its time stamp is 301 s old, 1 s more than the 300 s that receivers allow; sign every attempt anew (`mbaas-dev replay` does), or set the clock right");
    insta::assert_snapshot!(sentence(Cause::KeyForm(KeyForm::Unquoted)), @"the secret here stands in quotes, and was taken without them; leave the quotes out: they belong to the `.env` file or the shell, and not to the secret");
    insta::assert_snapshot!(sentence(Cause::EmptyBody), @"the body is empty here, which no sender signs: something has probably read it before; verify the bytes before anything else reads the request");
    insta::assert_snapshot!(sentence(Cause::Charset(Charset::Utf16)), @"the body is in UTF-16 here, and it was signed in UTF-8; verify the bytes as they came");
    insta::assert_snapshot!(sentence(Cause::FinalLineFeed(Side::Here)), @"the line feed at the end of the body was not signed; leave it out: editors and `echo` put it in by themselves");
}
