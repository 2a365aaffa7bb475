//! Why a request does not verify, in words: what is wrong, and what to do about it.

use std::fmt;

use crate::json::Serialiser;
use crate::model::Contract;
use crate::signature::BadKey;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing authenticates it.
    NotSigned {
        /// The header that would.
        expected: &'static str,
    },
    /// One of several headers is not there.
    MissingPart {
        /// Which.
        name: &'static str,
    },
    /// A header is there twice.
    Repeated {
        /// Which.
        name: &'static str,
    },
    /// It is authenticated as another contract's requests are.
    OtherContract {
        /// The header of the other contract.
        header: &'static str,
        /// That contract.
        contract: Contract,
        /// The header that would be right.
        expected: &'static str,
    },
    /// The header has no value.
    Empty {
        /// Which.
        header: &'static str,
    },
    /// The secret itself stands where a signature belongs.
    SecretItself {
        /// Where.
        header: &'static str,
    },
    /// A signature stands where the secret itself belongs.
    SignatureInstead {
        /// Where.
        header: &'static str,
    },
    /// Something stands before the value that is not part of it.
    Prefix(&'static str),
    /// A v2 signature without its version.
    NoVersion,
    /// Only v2 signatures that are made with a private key.
    OtherVersion,
    /// The 32 bytes are written in another way.
    Encoding {
        /// How they are written.
        found: Encoding,
        /// How they should be.
        expected: Encoding,
    },
    /// Upper-case letters where receivers compare with lower-case ones.
    UpperCase,
    /// What stands there cannot be a signature.
    NoSignature {
        /// Where.
        header: &'static str,
        /// What would be one.
        expected: &'static str,
    },
    /// The time stamp lies too far back.
    Stale {
        /// By how many seconds.
        seconds: u64,
    },
    /// The time stamp lies too far ahead.
    Early {
        /// By how many seconds.
        seconds: u64,
    },
    /// The time stamp counts milliseconds.
    Milliseconds,
    /// The time stamp is no number.
    NotATime,
    /// Another secret that is known here fits.
    OtherSecret {
        /// Which, for people.
        which: String,
    },
    /// The secret in use is none that v2 can have, so nothing can be checked.
    BadSecret(BadKey),
    /// The right secret, taken wrong.
    KeyForm(KeyForm),
    /// A v2 signature over the body without id and time stamp.
    BodyAlone,
    /// The body was parsed and written again.
    Reserialised {
        /// How it is written here, where that shows.
        found: Option<Serialiser>,
        /// How it was written when it was signed.
        signed: Serialiser,
    },
    /// A line feed at the end was put in or taken away.
    FinalLineFeed(Side),
    /// A byte order mark was put in or taken away.
    ByteOrderMark(Side),
    /// CR LF became LF, or the other way round.
    LineEnds,
    /// The body is in another encoding here than it was when it was signed.
    Charset(Charset),
    /// The body is compressed here, and was not when it was signed.
    Compressed,
    /// The body was compressed on its way and is not here; not proven.
    Decompressed,
    /// There is no body, which no sender signs; not proven.
    EmptyBody,
    /// The body is longer or shorter than announced; not proven.
    OtherLength {
        /// How long it should be, in bytes.
        announced: u64,
        /// How long it is.
        found: u64,
    },
    /// The body is not written as senders write; not proven.
    LooksReserialised(Serialiser),
    /// Nothing that is likely explains it.
    Unknown,
    /// What stands there is none of the secrets that are known.
    UnknownSecret {
        /// Where.
        header: &'static str,
    },
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits.
    Hexadecimal,
    /// Base64 with `+` and `/`.
    Base64,
    /// Base64 with `-` and `_`, or without padding.
    Base64Url,
}

/// How text is written as bytes, where that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-16, with the lower or the higher byte first.
    Utf16,
    /// Latin-1.
    Latin1,
}

/// Where something is that is not on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In the body that is looked at.
    Here,
    /// In what was signed.
    Signed,
}

/// How a secret was turned into the key of an HMAC, where that is not how its contract does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// v2: the text, `whsec_` and all.
    Text,
    /// v2: the text behind `whsec_`. Preview: likewise, where the secret has that prefix.
    WithoutPrefix,
    /// Preview: with `whsec_` put before it.
    WithPrefix,
    /// Preview: the bytes that it is the base64 of.
    FromBase64,
    /// Preview: the bytes that it is the hexadecimal form of.
    FromHexadecimal,
    /// With a line feed behind it.
    WithLineFeed,
    /// Without the white space around it.
    Trimmed,
    /// Without the quotes that are around it here.
    Unquoted,
    /// With quotes around it.
    Quoted,
}

impl Cause {
    /// What is wrong.
    fn fault(&self) -> String {
        match self {
            Self::NotSigned { expected } => format!("nothing authenticates the request, which should carry `{expected}`"),
            Self::MissingPart { name } => format!("`{name}` is missing, and the signature is over it as well"),
            Self::Repeated { name } => format!("`{name}` is there twice, and receivers disagree on which one counts"),
            Self::OtherContract { header, contract, expected } => {
                format!("the request carries `{header}`, as {contract} requests do, and not `{expected}`")
            }
            Self::Empty { header } => format!("`{header}` is empty"),
            Self::SecretItself { header } => format!("`{header}` holds the secret itself and no signature"),
            Self::SignatureInstead { header } => {
                format!("`{header}` holds a signature, and receivers compare it with the secret itself")
            }
            Self::Prefix(prefix) => format!("`{prefix}` stands before the value and is not part of it"),
            Self::NoVersion => "the signature has no `v1,` before it".to_owned(),
            Self::OtherVersion => "there are only `v1a` signatures, which are made with a private key".to_owned(),
            Self::Encoding { found, expected } => format!("the signature is written in {found}, and receivers expect {expected}"),
            Self::UpperCase => "the signature is in upper case, and receivers compare it with a lower-case one".to_owned(),
            Self::NoSignature { header, expected } => format!("`{header}` holds no signature, which is {expected}"),
            Self::Stale { seconds } => format!("the signature fits, but its time stamp is {}", off(*seconds, "old")),
            Self::Early { seconds } => format!("the signature fits, but its time stamp is {}", off(*seconds, "ahead")),
            Self::Milliseconds => "the time stamp counts milliseconds, and seconds are expected".to_owned(),
            Self::NotATime => "the time stamp is not a whole number of seconds since 1970".to_owned(),
            Self::OtherSecret { which } => format!("another secret fits that is known here, {which}"),
            Self::BadSecret(bad) => bad.to_string(),
            Self::KeyForm(form) => form.fault().to_owned(),
            Self::BodyAlone => "the signature is over the body alone, and v2 signs `id.timestamp.body`".to_owned(),
            Self::Reserialised { found, signed } => {
                let found = found.map_or("in another way", Serialiser::manner);
                format!(
                    "the body was parsed and written again: here it is written {found}; what was signed is written {}",
                    signed.manner()
                )
            }
            Self::FinalLineFeed(Side::Here) => "the line feed at the end of the body was not signed".to_owned(),
            Self::FinalLineFeed(Side::Signed) => {
                "a line feed at the end of the body was signed and is missing".to_owned()
            }
            Self::ByteOrderMark(Side::Here) => {
                "the byte order mark at the beginning of the body was not signed".to_owned()
            }
            Self::ByteOrderMark(Side::Signed) => {
                "a byte order mark at the beginning of the body was signed and is missing".to_owned()
            }
            Self::LineEnds => "the line ends in the body are not those that were signed: CR LF and LF were exchanged".to_owned(),
            Self::Charset(charset) => {
                let charset = match charset {
                    Charset::Utf16 => "UTF-16",
                    Charset::Latin1 => "Latin-1",
                };
                format!("the body is in {charset} here, and it was signed in UTF-8")
            }
            Self::Compressed => "the body was signed before it was compressed".to_owned(),
            Self::Decompressed => "the body came compressed (`Content-Encoding`) and is decompressed here, so that the signature may be over the compressed bytes".to_owned(),
            Self::EmptyBody => {
                "the body is empty here, which no sender signs: something has probably read it before".to_owned()
            }
            Self::OtherLength { announced, found } => {
                format!("the body has {found} bytes, and `Content-Length` announced {announced}")
            }
            Self::LooksReserialised(serialiser) => format!(
                "no secret that is known here fits, but the body is written {}, which no sender does: it was probably parsed and written again",
                serialiser.manner()
            ),
            Self::Unknown => "no secret that is known here fits this body, nor one that it may have been before".to_owned(),
            Self::UnknownSecret { header } => format!("what stands in `{header}` is no secret that is known here"),
        }
    }

    /// What to do about it.
    fn fix(&self) -> String {
        match self {
            Self::NotSigned { .. } => "see whether a proxy dropped the header".to_owned(),
            Self::MissingPart { .. } => {
                "see whether a proxy dropped it, and take all headers along".to_owned()
            }
            Self::Repeated { .. } => "send it once".to_owned(),
            Self::OtherContract { contract, .. } => {
                format!("verify it as {contract} (`--contract {contract}`)")
            }
            Self::Empty { .. } => "see whether the sender has its secret".to_owned(),
            Self::SecretItself { .. } => {
                "sign with it, and get another one, since it was sent in clear".to_owned()
            }
            Self::SignatureInstead { .. } => "send the secret as it is".to_owned(),
            Self::Prefix(_) => "leave it out".to_owned(),
            Self::NoVersion => "put it there".to_owned(),
            Self::OtherVersion => "verify them with the endpoint's public key".to_owned(),
            Self::Encoding { expected, .. } => format!("write the 32 bytes of the HMAC in {expected}"),
            Self::UpperCase => "write it in lower case".to_owned(),
            Self::NoSignature { .. } => "send the whole signature".to_owned(),
            Self::Stale { .. } => {
                "sign every attempt anew (`mbaas-dev replay` does), or set the clock right".to_owned()
            }
            Self::Early { .. } => "set the sender's clock right, or that of this machine".to_owned(),
            Self::Milliseconds | Self::NotATime => "send whole seconds since 1970".to_owned(),
            Self::OtherSecret { .. } => "give both sides the same one".to_owned(),
            Self::BadSecret(_) => "give that of v2 with `--secret v2=whsec_…`".to_owned(),
            Self::KeyForm(form) => form.fix().to_owned(),
            Self::BodyAlone => {
                "put id and time stamp before the body, each with a full stop behind it".to_owned()
            }
            Self::Reserialised { .. } | Self::LooksReserialised(_) => {
                "verify the bytes as they came, before anything parses them".to_owned()
            }
            Self::FinalLineFeed(Side::Here) | Self::ByteOrderMark(Side::Here) => {
                "leave it out: editors and `echo` put it in by themselves".to_owned()
            }
            Self::FinalLineFeed(Side::Signed)
            | Self::ByteOrderMark(Side::Signed)
            | Self::LineEnds
            | Self::Charset(_) => "verify the bytes as they came".to_owned(),
            Self::Compressed => "decompress it before verifying, or sign what is sent".to_owned(),
            Self::Decompressed => "verify before anything decompresses it".to_owned(),
            Self::EmptyBody => "verify the bytes before anything else reads the request".to_owned(),
            Self::OtherLength { .. } => "verify the whole body, as it came".to_owned(),
            Self::Unknown => {
                "compare the secret with the sender's, and see that nothing changes the body".to_owned()
            }
            Self::UnknownSecret { .. } => "compare the secret with the sender's".to_owned(),
        }
    }

    /// The name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotSigned { .. } => "not_signed",
            Self::MissingPart { .. } => "missing_part",
            Self::Repeated { .. } => "repeated_header",
            Self::OtherContract { .. } => "other_contract",
            Self::Empty { .. } => "empty_header",
            Self::SecretItself { .. } => "secret_itself",
            Self::SignatureInstead { .. } => "signature_instead_of_secret",
            Self::Prefix(_) => "prefix",
            Self::NoVersion => "no_version",
            Self::OtherVersion => "other_version",
            Self::Encoding { .. } => "encoding",
            Self::UpperCase => "upper_case",
            Self::NoSignature { .. } => "no_signature",
            Self::Stale { .. } => "stale",
            Self::Early { .. } => "early",
            Self::Milliseconds => "milliseconds",
            Self::NotATime => "not_a_time",
            Self::OtherSecret { .. } => "other_secret",
            Self::BadSecret(_) => "bad_secret",
            Self::KeyForm(_) => "key_form",
            Self::BodyAlone => "body_alone",
            Self::Reserialised { .. } | Self::LooksReserialised(_) => "reserialised",
            Self::FinalLineFeed(_) => "final_line_feed",
            Self::ByteOrderMark(_) => "byte_order_mark",
            Self::LineEnds => "line_ends",
            Self::Compressed | Self::Decompressed => "compressed",
            Self::Charset(_) => "charset",
            Self::EmptyBody => "empty_body",
            Self::OtherLength { .. } => "length",
            Self::Unknown | Self::UnknownSecret { .. } => "unknown",
        }
    }
}

impl KeyForm {
    fn fault(self) -> &'static str {
        match self {
            Self::Text => "the secret was taken as text, `whsec_` included",
            Self::WithoutPrefix => "the secret was taken as the text behind `whsec_`",
            Self::WithPrefix => "the secret was taken with `whsec_` before it",
            Self::FromBase64 => "the secret was taken for base64 and decoded",
            Self::FromHexadecimal => "the secret was taken for hexadecimal digits and decoded",
            Self::WithLineFeed => "the secret was taken with a line feed behind it",
            Self::Trimmed => "the secret was taken without the white space around it",
            Self::Unquoted => "the secret here stands in quotes, and was taken without them",
            Self::Quoted => "the secret was taken with quotes around it",
        }
    }

    fn fix(self) -> &'static str {
        match self {
            Self::Text => "decode what follows `whsec_` from base64: those bytes are the key",
            Self::WithoutPrefix => {
                "the key of v2 is what that decodes to from base64, and the key of preview is the secret as it is"
            }
            Self::WithPrefix | Self::FromBase64 | Self::FromHexadecimal => {
                "take the secret as it is, as UTF-8"
            }
            Self::WithLineFeed | Self::Trimmed => {
                "see how the secret is read: files and `echo` end with a line feed that is not part of it"
            }
            Self::Unquoted | Self::Quoted => {
                "leave the quotes out: they belong to the `.env` file or the shell, and not to the secret"
            }
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hexadecimal => "hexadecimal digits",
            Self::Base64 => "base64",
            Self::Base64Url => "the base64 of URLs",
        })
    }
}

/// How far a time stamp is off, and how much more that is than receivers allow.
fn off(seconds: u64, where_to: &str) -> String {
    let over = seconds.saturating_sub(300);
    format!("{seconds} s {where_to}, {over} s more than the 300 s that receivers allow")
}

/// Why a request does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong, all of it together: at least one thing.
    pub causes: Vec<Cause>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [cause] = self.causes.as_slice() {
            return write!(f, "{}; {}", cause.fault(), cause.fix());
        }
        let each: Vec<String> =
            self.causes.iter().map(|cause| format!("{} ({})", cause.fault(), cause.fix())).collect();
        write!(f, "several things are wrong: {}", each.join("; "))
    }
}
