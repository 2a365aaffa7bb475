//! What is signed verifies, in every contract; nothing else does.

use proptest::prelude::*;

use super::*;
use crate::model::Secret;

/// Vectors that the three sample handlers of the Webhooks API page accepted: secret, body, signature.
const VECTORS: [(&str, &str, &str); 5] = [
    (
        "your-webhook-secret-key",
        r#"{"event":"transcription_complete","data":{"bot_id":"123e4567-e89b-12d3-a456-426614174000"}}"#,
        "84308eded0c86e084abb2663652a1dfa00aca72bba0d3c98b080a6211700626f",
    ),
    ("your-webhook-secret-key", "", "55e8c53b9a9ccf9a83003c70ee2f5725183c628ff0be602b6ed0c09744345b93"),
    (
        "your-webhook-secret-key",
        include_str!("vectors/meeting.completed.json"),
        "ed83f0f9030524b45c8dd2b6d87845290f478f33fc7fd77796f8a978a213f93a",
    ),
    (
        "your-webhook-secret-key",
        "{\"event\":\"failed\",\"data\":{\"bot_id\":\"x\",\"error\":\"e\",\"message\":\"réunion 会议 🎙️\"}}",
        "583e94c8b755a9456ee2bda55f27a162cd8097d333d95886839a7f487b49c4c6",
    ),
    (
        "clé-秘密",
        r#"{"event":"transcription_complete","data":{"bot_id":"123e4567-e89b-12d3-a456-426614174000"}}"#,
        "e8596145d9a4b0209cf4de8ad4303ed90616d6eead13de82c3bac900f6ba2ca0",
    ),
];

/// A v2 secret with its id, its time and its body; the vector of the official libraries.
const SVIX: (&str, &str, i64, &[u8]) = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1_614_265_330,
    br#"{"test": 2432232314}"#,
);
const SVIX_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn keys(secret: impl Into<Secret>) -> Keyring {
    Keyring::new(Key::new(secret.into(), "--secret"))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn stamp() -> Stamp {
    Stamp { id: SVIX.1.to_owned(), at: at(SVIX.2) }
}

fn verdict(contract: Contract, keys: &Keyring, headers: &Headers, body: &[u8], second: i64) -> Verdict {
    Claim { contract: Some(contract), event_type: None, headers, body, at: at(second) }.verify(keys)
}

fn signed(contract: Contract, secret: &str, mode: SignMode, body: &[u8]) -> Headers {
    let key = Key::new(secret.into(), "--secret");
    Signing { mode, ..Signing::right(contract, key) }.sign(&stamp(), body).unwrap()
}

/// The headers of the official vector.
fn vector() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("svix-id", SVIX.1.into()),
        ("svix-timestamp", SVIX.2.to_string().into()),
        ("svix-signature", SVIX_SIGNATURE.into()),
    ]
}

fn verdict_of_vector(fields: Vec<(&'static str, Vec<u8>)>, body: &[u8], second: i64) -> Verdict {
    let headers: Headers = fields.into_iter().collect();
    verdict(Contract::V2, &keys(SVIX.0), &headers, body, second)
}

#[test]
fn the_vectors_hold() {
    for (secret, body, signature) in VECTORS {
        let headers = signed(Contract::Preview, secret, SignMode::Valid, body.as_bytes());
        let expected: Headers = [("X-MeetingBaas-Signature", signature)].into_iter().collect();
        assert_eq!(headers, expected);
    }
    assert_eq!(signed(Contract::V2, SVIX.0, SignMode::Valid, SVIX.3), vector().into_iter().collect());
    assert_eq!(verdict_of_vector(vector(), SVIX.3, SVIX.2), Verdict::Valid);
    for (contract, name) in [
        (Contract::Callback, "x-mb-secret"),
        (Contract::V1, "x-meeting-baas-api-key"),
        (Contract::Alert, "x-mb-alert-secret"),
    ] {
        let expected: Headers = [(name, "s3cret")].into_iter().collect();
        assert_eq!(signed(contract, "s3cret", SignMode::Valid, b"{}"), expected);
    }
}

#[test]
fn what_is_no_preview_signature_is_invalid() {
    let (secret, body, signature) = VECTORS[0];
    let upper = signature.to_uppercase();
    let prefixed = format!("sha256={signature}");
    let check = |headers: &Headers| verdict(Contract::Preview, &keys(secret), headers, body.as_bytes(), 0);
    for value in ["", "deadbeef", &upper, &prefixed, &signature[1..], "not hex"] {
        let headers: Headers = [(preview::HEADER.as_bytes(), value.to_owned())].into_iter().collect();
        assert_eq!(check(&headers), Verdict::Invalid, "{value}");
    }
    let twice: Headers = [("X-MeetingBaas-Signature", signature), ("x-meetingbaas-signature", signature)]
        .into_iter()
        .collect();
    assert_eq!(check(&twice), Verdict::Invalid);
}

#[test]
fn a_time_stamp_may_be_five_minutes_off_and_not_a_second_more() {
    for (off, expected) in [
        (-301, Verdict::Invalid),
        (-300, Verdict::Valid),
        (-299, Verdict::Valid),
        (299, Verdict::Valid),
        (300, Verdict::Valid),
        (301, Verdict::Invalid),
    ] {
        assert_eq!(verdict_of_vector(vector(), SVIX.3, SVIX.2 + off), expected, "{off}");
    }
}

#[test]
fn any_of_several_signatures_and_secrets_is_enough() {
    let mut rotating = keys("of the others");
    let secrets = vec!["whsec_bmV3".into(), SVIX.0.into()];
    rotating.give(Contract::V2, Key { secrets, origin: "--secret".to_owned() });
    let headers: Headers = vector().into_iter().collect();
    assert_eq!(verdict(Contract::V2, &rotating, &headers, SVIX.3, SVIX.2), Verdict::Valid);
    let both = Signing::right(Contract::V2, rotating.key(Contract::V2, None)).sign(&stamp(), SVIX.3).unwrap();
    let value = both.get_str("svix-signature").unwrap();
    assert!(value.ends_with(&format!(" {SVIX_SIGNATURE}")) && value.matches("v1,").count() == 2, "{value}");
    for secret in ["whsec_bmV3", SVIX.0] {
        assert_eq!(verdict(Contract::V2, &keys(secret), &both, SVIX.3, SVIX.2), Verdict::Valid);
    }
    for around in [
        format!("v1a,{SVIX_SIGNATURE} {SVIX_SIGNATURE}"),
        format!("{SVIX_SIGNATURE} v1,bm9uZQ=="),
        format!("  nonsense v1 v1, ,v1 {SVIX_SIGNATURE} "),
        format!("{}{SVIX_SIGNATURE}", "v1,AAAA ".repeat(500)),
    ] {
        let mut fields = vector();
        fields[2].1 = around.clone().into();
        assert_eq!(verdict_of_vector(fields, SVIX.3, SVIX.2), Verdict::Valid, "{around}");
    }
}

#[test]
fn a_secret_that_v2_cannot_have_checks_nothing() {
    let headers: Headers = vector().into_iter().collect();
    assert_eq!(verdict(Contract::V2, &keys("plain"), &headers, SVIX.3, SVIX.2), Verdict::Unchecked);
    let error =
        Signing::right(Contract::V2, Key::new("plain".into(), "MBAAS_DEV_SECRET")).sign(&stamp(), b"");
    let message = "the secret from MBAAS_DEV_SECRET is not a v2 secret, which begins with `whsec_`";
    assert_eq!(error.unwrap_err().to_string(), message);
}

/// Every way to change one thing about the official vector: which, the headers, the body, when it arrives.
type Mutation = (String, Vec<(&'static str, Vec<u8>)>, Vec<u8>, i64);

/// Changes of the official vector, each of which must make it fail.
fn mutations() -> Vec<Mutation> {
    let mut mutations: Vec<Mutation> = Vec::new();
    let mut field = |what: &str, index: usize, value: Vec<u8>| {
        let mut fields = vector();
        fields[index].1 = value;
        mutations.push((what.to_owned(), fields, SVIX.3.to_vec(), SVIX.2));
    };
    for (index, (name, value)) in vector().into_iter().enumerate() {
        // The first bit of the first byte, the last of the last, and some between.
        for (byte, bit) in [(0, 0), (value.len() / 3, 3), (value.len() / 2, 6), (value.len() - 1, 7)] {
            let mut changed = value.clone();
            changed[byte] ^= 1 << bit;
            field(&format!("{name}, byte {byte}, bit {bit}"), index, changed);
        }
        field(&format!("{name} empty"), index, Vec::new());
        field(&format!("{name} not UTF-8"), index, [value.as_slice(), b"\xff"].concat());
        // Before the signatures, which are divided by spaces, one more is of no account.
        if index < 2 {
            field(&format!("{name} with a space before it"), index, [b" ", value.as_slice()].concat());
        }
    }
    for timestamp in
        ["-9223372036854775808", "9223372036854775807", "-1", "0", "1e20", "1614265330.0", "+1614265330"]
    {
        field(&format!("time stamp {timestamp}"), 1, timestamp.into());
    }
    for timestamp in
        ["01614265330", "1614265330 ", "1614265330000", "99999999999999999999999", "٣", "2021-02-25"]
    {
        field(&format!("time stamp {timestamp}"), 1, timestamp.into());
    }
    for id in
        [SVIX.1.to_uppercase(), SVIX.1.replace("msg_", ""), format!("{}.", SVIX.1), format!("{}.1", SVIX.1)]
    {
        field(&format!("id {id}"), 0, id.into());
    }
    let bare = SVIX_SIGNATURE.trim_start_matches("v1,");
    for (what, signature) in [
        ("v1a", format!("v1a,{bare}")),
        ("v2", format!("v2,{bare}")),
        ("V1", format!("V1,{bare}")),
        ("no version", bare.to_owned()),
        ("no comma", format!("v1{bare}")),
        ("base64 without its end", format!("v1,{}", bare.trim_end_matches('='))),
        ("base64 of URLs", format!("v1,{}", bare.replace('+', "-").replace('/', "_"))),
        ("base64 with other last bits", format!("v1,{}", bare.replace("E=", "F="))),
        ("lower case", format!("v1,{}", bare.to_lowercase())),
        ("hexadecimal", format!("v1,{}", hex::encode(bare))),
        ("cut", SVIX_SIGNATURE[..20].to_owned()),
        ("one byte more", format!("v1,{}AAAA", bare.trim_end_matches('='))),
        ("500 wrong ones", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ".repeat(500)),
        ("commas", ",".repeat(100)),
    ] {
        field(&format!("signature: {what}"), 2, signature.into());
    }
    for left_out in 0..3 {
        let mut fields = vector();
        let (name, _) = fields.remove(left_out);
        mutations.push((format!("{name} missing"), fields, SVIX.3.to_vec(), SVIX.2));
    }
    for repeated in 0..3 {
        let fields = [vector(), vec![vector().remove(repeated)]].concat();
        mutations.push((format!("{} twice", vector()[repeated].0), fields, SVIX.3.to_vec(), SVIX.2));
    }
    for (what, body) in [
        ("first bit", b"z\"test\": 2432232314}".to_vec()),
        ("last bit", b"{\"test\": 2432232314\xfd".to_vec()),
        ("empty", Vec::new()),
        ("not UTF-8", b"\xff".to_vec()),
        ("compact", br#"{"test":2432232314}"#.to_vec()),
        ("a line feed more", [SVIX.3, b"\n"].concat()),
        ("a byte order mark", [b"\xef\xbb\xbf", SVIX.3].concat()),
    ] {
        mutations.push((format!("body: {what}"), vector(), body, SVIX.2));
    }
    for off in [-301, 301, i64::from(i32::MAX)] {
        mutations.push((format!("arrives {off} s off"), vector(), SVIX.3.to_vec(), SVIX.2 + off));
    }
    mutations
}

#[test]
fn every_change_of_the_official_vector_fails() {
    let mutations = mutations();
    let mut violations = Vec::new();
    for (what, fields, body, second) in &mutations {
        match verdict_of_vector(fields.clone(), body, *second) {
            Verdict::Invalid => {}
            Verdict::Missing if fields.len() == 2 && what == "svix-signature missing" => {}
            verdict => violations.push(format!("{what}: {verdict:?}")),
        }
    }
    println!("inputs={} violations={} (S21)", mutations.len(), violations.len());
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(mutations.len() >= 64, "{}", mutations.len());
}

/// A secret that a contract can have.
fn secret_for(contract: Contract, bytes: &[u8], text: String) -> String {
    use base64::Engine as _;
    match contract {
        Contract::V2 => format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes)),
        Contract::Preview => text,
        // They go into a header as they are.
        Contract::V1 | Contract::Callback | Contract::Alert => {
            format!("a{}z", text.replace(char::is_control, ""))
        }
    }
}

#[test]
fn a_secret_that_no_header_can_carry_signs_nothing_where_it_is_sent_as_it_is() {
    for secret in ["a\r\nX-Injected: 1", "a\n", "a\u{85}b", "\u{1b}[2J", " a", "a "] {
        for contract in [Contract::V1, Contract::Callback, Contract::Alert] {
            let signing = Signing::right(contract, Key::new(secret.into(), "--secret"));
            let refused = signing.sign(&stamp(), b"{}");
            assert_eq!(refused.unwrap_err(), CannotSign::Credential(contract), "{secret:?}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_every_wrong_mode_does_not(
        text in "[^\\x00-\\x1f]{1,40}", bytes in proptest::collection::vec(any::<u8>(), 1..64),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        for contract in Contract::ALL {
            let secret = secret_for(contract, &bytes, text.clone());
            for mode in SignMode::ALL.into_iter().filter(|mode| mode.check(contract).is_ok()) {
                let headers = signed(contract, &secret, mode, &body);
                let expected = match mode {
                    mode if mode.is_right() => Verdict::Valid,
                    SignMode::Missing | SignMode::MissingSignature => Verdict::Missing,
                    _ => Verdict::Invalid,
                };
                let found = verdict(contract, &keys(secret.as_str()), &headers, &body, SVIX.2);
                prop_assert_eq!(found, expected, "{} {}", contract, mode);
            }
        }
    }

    #[test]
    fn one_bit_is_enough_to_fail(
        bytes in proptest::collection::vec(any::<u8>(), 1..64), body in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(), field in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        for contract in Contract::ALL {
            let secret = secret_for(contract, &bytes, hex::encode(&bytes));
            let keys = keys(secret.as_str());
            let headers = signed(contract, &secret, SignMode::Valid, &body);
            if matches!(contract, Contract::Preview | Contract::V2) {
                let mut changed = body.clone();
                changed[at.index(body.len())] ^= 1 << bit;
                prop_assert_eq!(verdict(contract, &keys, &headers, &changed, SVIX.2), Verdict::Invalid);
            }
            let mut fields: Vec<(Vec<u8>, Vec<u8>)> =
                headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let field = field.index(fields.len());
            let byte = at.index(fields[field].1.len());
            fields[field].1[byte] ^= 1 << bit;
            let changed: Headers = fields.into_iter().collect();
            prop_assert_eq!(verdict(contract, &keys, &changed, &body, SVIX.2), Verdict::Invalid);
        }
    }
}
