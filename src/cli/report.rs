//! The end of a command: turns an error into a sentence, a hint and an exit code. No other file picks exit codes.

use std::borrow::Cow;
use std::io;
use std::process::ExitCode;

use super::output::Output;
use crate::app::endpoints::BadConfig;
use crate::app::listen::ListenError;
use crate::app::secret::SecretError;
use crate::app::state::StateError;
use crate::fixture::{FixtureError, UnknownEvent};
use crate::json::SyntaxError;
use crate::model::{FailureKind, Outcome, Verdict, printable_lines};
use crate::relay::RelayError;
use crate::scenario::{ScenarioError, UnknownScenario};
use crate::signature::{BadKey, CannotSign, Unsupported};
use crate::sources::compose::EditError;
use crate::sources::dispatch::{DispatchError, Sent};
use crate::sources::tunnel::{Kept, Unusable};
use crate::store::StoreError;

/// How a command ended; of several ends, the greater is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The handler did not acknowledge.
    NotAcknowledged = 3,
    /// The signature is not valid.
    InvalidSignature = 4,
    /// The target is unreachable, or took too long.
    Unreachable = 5,
    /// The relay cannot be used.
    Relay = 6,
    /// What was waited for did not come in time.
    TooLate = 124,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Something that the user got wrong, in our own words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Usage {
    message: String,
    hint: Cow<'static, str>,
}

impl Usage {
    /// A sentence about what is wrong, and one about what to do; the latter may be empty.
    pub fn new(message: impl Into<String>, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// A target that there is nothing to say about, since there was no answer from it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unreachable {
    message: String,
    hint: &'static str,
}

impl Unreachable {
    /// A sentence about what happened, and one about what to do.
    pub fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

/// What a delivery that was sent means for the exit code.
pub fn exit_of(sent: &Sent) -> Exit {
    if sent.delivery.held {
        return Exit::Done;
    }
    match sent.delivery.last_attempt().map(|attempt| &attempt.outcome) {
        Some(Outcome::Failed(failure)) => match failure.kind {
            FailureKind::Refused | FailureKind::Timeout | FailureKind::Dns | FailureKind::Tls => {
                Exit::Unreachable
            }
            FailureKind::Reset | FailureKind::TooLarge | FailureKind::Protocol => Exit::NotAcknowledged,
        },
        Some(outcome) if outcome.is_acknowledged() => Exit::Done,
        None if sent.accepted => Exit::Done,
        Some(Outcome::Answered(_)) | None => Exit::NotAcknowledged,
    }
}

/// What the verdict on a signature means for the exit code.
pub fn exit_of_verdict(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Valid => Exit::Done,
        Verdict::Invalid | Verdict::Missing => Exit::InvalidSignature,
        Verdict::Unchecked => Exit::Failed,
    }
}

/// Says what went wrong and what to do about it; how the command ended.
pub fn report(error: &anyhow::Error, output: &Output) -> Exit {
    if error.chain().any(is_closed_pipe) {
        return Exit::Done;
    }
    let (exit, hint) = meaning(error);
    let message = printable_lines(&format!("{error:#}"));
    output.complain(&format!("{} {message}", output.talk_paint.bad("error:")));
    if !hint.is_empty() {
        output.complain(&format!("{} {}", output.talk_paint.odd("hint:"), printable_lines(&hint)));
    }
    exit
}

/// Whoever read our output has seen enough: that is not a failure.
fn is_closed_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn meaning(error: &anyhow::Error) -> (Exit, String) {
    let (exit, hint) = error.chain().find_map(meaning_of_cause).unwrap_or((Exit::Failed, String::new()));
    let system =
        || error.chain().find_map(|cause| cause.downcast_ref()).map(hint_of_system).unwrap_or_default();
    (exit, if hint.is_empty() { system().to_owned() } else { hint })
}

fn meaning_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<(Exit, String)> {
    if let Some(usage) = cause.downcast_ref::<Usage>() {
        return Some((Exit::Usage, usage.hint.clone().into_owned()));
    }
    if let Some(unreachable) = cause.downcast_ref::<Unreachable>() {
        return Some((Exit::Unreachable, unreachable.hint.to_owned()));
    }
    if let Some(error) = store_error(cause) {
        return Some((Exit::Failed, error.hint()));
    }
    if let Some(ListenError::Bind { address, source }) = cause.downcast_ref::<ListenError>() {
        return Some((Exit::Failed, hint_to_bind(address.port(), source.kind(), "--port 0", "--bind")));
    }
    match cause.downcast_ref::<RelayError>() {
        Some(RelayError::Bind { address, source }) => {
            let any = "--listen 127.0.0.1:0";
            return Some((Exit::Relay, hint_to_bind(address.port(), source.kind(), any, "--listen")));
        }
        Some(RelayError::Tokens { .. }) => {
            let hint = "each is a table of its own: `[[token]]`, `name = \"…\"`, and `token = \"…\"` or its `sha256`";
            return Some((Exit::Usage, hint.to_owned()));
        }
        Some(RelayError::Tls(bad)) => return Some((Exit::Usage, bad.hint.to_owned())),
        Some(RelayError::Store(_)) | None => {}
    }
    match cause.downcast_ref::<Kept>() {
        Some(Kept::Waiting(_)) => {
            let hint = "`listen --tunnel` takes them first; `--discard` lets them go";
            return Some((Exit::Failed, hint.to_owned()));
        }
        Some(Kept::NotNow(_)) => return Some((Exit::Relay, "nothing was changed: try again".to_owned())),
        Some(Kept::Unusable(unusable)) => return Some((Exit::Relay, unusable.hint.to_owned())),
        None => {}
    }
    if let Some(unusable) = cause.downcast_ref::<Unusable>() {
        return Some((Exit::Relay, unusable.hint.to_owned()));
    }
    if let Some(DispatchError::NotTaken { unreachable, .. }) = cause.downcast_ref::<DispatchError>() {
        let exit = if *unreachable { Exit::Unreachable } else { Exit::Failed };
        return Some((exit, String::new()));
    }
    if let Some(error) = state_error(cause) {
        return Some((Exit::Failed, error.hint()));
    }
    if cause.is::<UnknownScenario>() {
        return Some((Exit::Usage, "`mbaas-dev scenario list` shows every one that is built in".to_owned()));
    }
    if cause.is::<UnknownEvent>() {
        return Some((Exit::Usage, "`mbaas-dev events list` shows every event".to_owned()));
    }
    if let Some(hint) = hint_to_sign(cause) {
        return Some((Exit::Usage, hint));
    }
    let is_usage = cause.is::<FixtureError>()
        || cause.is::<ScenarioError>()
        || cause.is::<SyntaxError>()
        || cause.is::<EditError>()
        || cause.is::<SecretError>()
        || cause.is::<BadConfig>();
    is_usage.then(|| (Exit::Usage, String::new()))
}

/// A store's error, also where another error stands for it: such errors are not part of the chain.
fn store_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a StoreError> {
    if let Some(ListenError::Store(error)) = cause.downcast_ref() {
        return Some(error);
    }
    if let Some(RelayError::Store(error)) = cause.downcast_ref() {
        return Some(error);
    }
    if let Some(DispatchError::Store(error)) = cause.downcast_ref() {
        return Some(error);
    }
    cause.downcast_ref()
}

/// What is wrong with the state folder, likewise.
fn state_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a StateError> {
    if let Some(ListenError::State(error)) = cause.downcast_ref() {
        return Some(error);
    }
    if let Some(SecretError::State(error)) = cause.downcast_ref() {
        return Some(error);
    }
    cause.downcast_ref()
}

/// What to do about a message that cannot be signed, or a secret that cannot check one.
fn hint_to_sign(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    match (cause.downcast_ref::<CannotSign>(), cause.downcast_ref::<Unsupported>()) {
        (Some(CannotSign::Mode(unsupported)), _) | (_, Some(unsupported)) => return Some(unsupported.hint()),
        (Some(CannotSign::Credential(contract)), _) => {
            return Some(format!("give another one with `--secret {contract}=…`"));
        }
        (Some(CannotSign::Key(_)), _) => {}
        (None, None) if cause.is::<BadKey>() => {}
        (None, None) => return None,
    }
    Some(
        "`mbaas-dev secret new --contract v2` makes one for this project; that of a real endpoint is `whsec_` and \
         base64 as well, and is given with `--secret v2=whsec_…`"
            .to_owned(),
    )
}

/// What to do when nothing can listen at a port; `any` has it take any port, and `address` is the option that names the address.
fn hint_to_bind(port: u16, error: io::ErrorKind, any: &str, address: &str) -> String {
    match error {
        io::ErrorKind::AddrInUse => {
            format!(
                "`ss -ltnp 'sport = :{port}'` (or `lsof -i :{port}`) tells who has it; `{any}` takes any free port"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 are for root; give another one, or let `{any}` take any")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: give `{address}` one that `ip addr` shows")
        }
        _ => String::new(),
    }
}

/// What to do about trouble of the system that says itself too little.
fn hint_of_system(error: &io::Error) -> &'static str {
    /// Too many open files, of this process and of all: what Unix systems call `EMFILE` and `ENFILE`.
    const NO_DESCRIPTORS: [Option<i32>; 2] = [Some(24), Some(23)];
    match error.kind() {
        io::ErrorKind::StorageFull => "make space where it goes",
        _ if NO_DESCRIPTORS.contains(&error.raw_os_error()) => {
            "`ulimit -n` says how many files may be open at a time: raise it, to 256 or more"
        }
        _ => "",
    }
}
