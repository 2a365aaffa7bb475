//! `mbaas-dev trigger`

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::Session;
use super::alerting::alert;
use super::arguments::{HeaderStyleArg, PatchArgs, whole};
use super::expectation::Expectation;
use super::persisting::{self, SenderArgs, exit_of_last};
use super::report::{Exit, Usage};
use super::roads::{self, Purpose, RoadArgs};
use super::scrutiny::scrutinise;
use crate::contract::retry::Next;
use crate::contract::sender;
use crate::model::{Contract, EventName, Origin, Speed, Target};
use crate::observers::request_text;
use crate::scenario::{Sending, order};
use crate::signature::SignMode;
use crate::sources::dispatch::Sent;
use crate::sources::maker::{Event, Maker, Message};
use crate::sources::persist::{Sender, Try};

/// Send an event as Meeting BaaS would, correctly signed or wrong on purpose
///
/// Without --to it goes to the running listen of this project. It is recorded either way. Exits 0 when the
/// handler acknowledged with a 2xx status, 3 when it did not, 5 when it could not be reached.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
#[command(after_help = "Examples:\n  mbaas-dev trigger meeting.completed\n  \
    mbaas-dev trigger meeting.failed --set data.error='\"access_denied\"'\n  \
    mbaas-dev trigger meeting.completed@long --to localhost:3000/webhooks/meetingbaas\n  \
    mbaas-dev trigger ./my-event.json --sign wrong-secret")]
pub struct TriggerArgs {
    /// An event with or without a variant (see `events list`), a fixture file, or - for standard input
    #[arg(value_name = "EVENT[@VARIANT]|FILE|-")]
    event: String,
    /// The contract that the event belongs to: preview, v2, v1, callback or alert [default: the first that has it]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    #[command(flatten)]
    road: RoadArgs,
    #[command(flatten)]
    patches: PatchArgs,
    /// Make it about a meeting of so many minutes, from 1 to 480: transcripts and times become as long as that
    #[arg(long, value_name = "N", conflicts_with = "raw", value_parser = whole(1..=480_u32))]
    minutes: Option<u32>,
    /// Refuse to send what is not as documented, with exit code 2, instead of warning of it
    #[arg(long)]
    strict: bool,
    /// Send the bytes of FILE as they are, neither filled in nor brought into canonical form
    #[arg(long, conflicts_with_all = ["set", "set_string", "unset"])]
    raw: bool,
    /// Sign right, or wrong in a way that handlers must survive
    #[arg(long, value_name = "MODE", default_value = "valid", value_parser = sign_mode())]
    sign: SignMode,
    /// How the headers that authenticate v2 events are named: svix-id or webhook-id, and so on
    #[arg(long, value_name = "STYLE", value_enum, default_value_t)]
    header_style: HeaderStyleArg,
    /// The method of a callback, which can be told to be a PUT
    #[arg(long, value_name = "METHOD", value_parser = ["POST", "PUT"])]
    method: Option<String>,
    /// How many events to send, each with ids of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1..=1_000_000_000_u32))]
    count: u32,
    /// How many events to send a second [default: each when the one before it was answered]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// What the answer must be, or the exit code is 3: status=2xx,latency<500ms,body.ok=true
    #[arg(long, value_name = "CONDITIONS", conflicts_with_all = ["print", "curl"])]
    expect: Option<Expectation>,
    /// Print the request as HTTP text and send nothing
    #[arg(long, conflicts_with_all = ["curl", "json", "retry", "fault", "duplicate", "count", "rate"])]
    print: bool,
    /// Print the request as a curl command and send nothing
    #[arg(long, conflicts_with_all = ["json", "retry", "fault", "duplicate", "count", "rate"])]
    curl: bool,
    /// Print the recorded delivery as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sender: SenderArgs,
    /// Where to send the alert `webhook_delivery_exhausted` when all attempts at an event have failed
    #[arg(long, value_name = "TARGET", requires = "retry", help_heading = "The sender's retries and faults")]
    alert: Option<Target>,
}

fn sign_mode() -> impl clap::builder::TypedValueParser<Value = SignMode> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(SignMode::ALL.map(SignMode::as_str)).map(|name| {
        SignMode::ALL
            .into_iter()
            .find(|mode| mode.as_str() == name)
            .expect("only names of modes are possible values")
    })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_not_a_number| format!("`{text}` is not a number"))?;
    if (0.001..=100_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("the rate is from 0.001 to 100000".to_owned())
    }
}

pub fn run(arguments: &TriggerArgs, mut session: Session) -> anyhow::Result<Exit> {
    let event = find(arguments, &mut session)?;
    arguments.header_style.check(event.contract)?;
    check_method(arguments.method.as_deref(), event.contract)?;
    if arguments.minutes.is_some() {
        check_minutes(&event)?;
    }
    let maker = Maker {
        event,
        minutes: arguments.minutes,
        patches: arguments.patches.patches()?,
        mode: arguments.sign,
        style: arguments.header_style.into(),
        method: arguments.method.clone(),
        raw: arguments.raw,
        origin: Origin::Trigger,
        names: session.catalogue.wire_names(),
        artifacts: roads::artifacts(&session)?,
        environment: session.environment,
    };
    scrutinise(&maker, arguments.strict, &session)?;
    if arguments.print || arguments.curl {
        let secret = arguments.road.secret(&session)?;
        let target = arguments.road.target(&session)?;
        let target = target.unwrap_or_else(|| Target::local("localhost", 4400));
        let pace = arguments.sender.pace(false, Speed::REAL, &session);
        let parcel = maker.make(&pace.clock, &secret.keys)?;
        let text = if arguments.curl {
            request_text::curl(&target, &parcel.request)
        } else {
            request_text::http(&target, &parcel.request)
        };
        session.output.write_data(&text)?;
        if session.output.is_terminal && !text.ends_with(b"\n") {
            session.output.data("")?;
        }
        return Ok(Exit::Done);
    }
    roads::runtime()?.block_on(send(arguments, &maker, &session))
}

fn check_method(method: Option<&str>, contract: Contract) -> Result<(), Usage> {
    let methods = sender::methods(contract);
    match method {
        Some(method) if !methods.contains(&method) => {
            let message = format!("a {contract} request is always a {}", methods.join(" or a "));
            Err(Usage::new(
                message,
                "only callbacks can be told to use another method: `--contract callback`",
            ))
        }
        _ => Ok(()),
    }
}

/// Whether the event is about a meeting whose length can be chosen.
fn check_minutes(event: &Event) -> anyhow::Result<()> {
    let about = event.fixture.about()?;
    if about.is_some_and(|about| !about.minutes.is_empty()) {
        return Ok(());
    }
    let what = match &event.name {
        Some(name) => name.to_string(),
        None => event.fixture.label().to_owned(),
    };
    let message = format!("--minutes is for events of meetings that were recorded, and `{what}` is none");
    let hint = "`meeting.completed`, `bot.completed` and `complete` take it; a fixture of yours does with a key \
                `minutes` in its `$fixture`, as `fixtures init` shows";
    Err(Usage::new(message, hint).into())
}

async fn send(arguments: &TriggerArgs, maker: &Maker, session: &Session) -> anyhow::Result<Exit> {
    let (ladder, faults) = (maker.ladder(), arguments.sender.faults()?);
    let open = arguments.road.open(session, ladder.timeout)?;
    roads::check_connection(faults.concern_the_connection(), &open)?;
    let pace = arguments.sender.pace(faults.are_random(), Speed::REAL, session);
    let sender = Sender {
        road: &open.road,
        keys: &open.secret.keys,
        pace: &pace,
        ladder: arguments.sender.ladder(ladder),
        faults: &faults,
    };
    let mut course = Course { sent: 0, acknowledged: 0, lost: 0, exhausted: 0, exit: Exit::Done };
    let ended = tokio::select! {
        ended = send_all(arguments, maker, &sender, session, &mut course) => ended.map(|()| course.exit),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    };
    let exhausted = course.exhausted;
    let requests = u64::from(arguments.count) * u64::from(faults.duplicates + 1);
    if requests > 1 {
        session.output.talk(&course.sentence(requests));
    }
    open.close().await;
    let mut exit = ended?;
    for target in arguments.alert.iter().cycle().take(exhausted) {
        if exit == Exit::Interrupted {
            break;
        }
        let road = (&arguments.road, arguments.sender.speed(Speed::REAL));
        exit = exit.max(alert(target, maker, road, session, arguments.json).await?);
    }
    Ok(exit)
}

/// How sending goes.
struct Course {
    /// How many requests were sent.
    sent: u64,
    /// How many of them were acknowledged.
    acknowledged: u64,
    /// How many were lost on purpose.
    lost: u64,
    /// How many of them were given up.
    exhausted: usize,
    /// The worst end so far.
    exit: Exit,
}

impl Course {
    fn sentence(&self, requests: u64) -> String {
        let Self { sent, acknowledged, lost, .. } = self;
        let mut sentence = format!("{sent} of {requests} sent · {acknowledged} acknowledged");
        if *lost > 0 {
            sentence += &format!(" · {lost} lost on purpose");
        }
        sentence
    }
}

/// Sends every event as often and in the order that the faults want; counts them, and keeps the worst end.
async fn send_all(
    arguments: &TriggerArgs,
    maker: &Maker,
    sender: &Sender<'_>,
    session: &Session,
    course: &mut Course,
) -> anyhow::Result<()> {
    let purpose = if maker.mode.is_right() { Purpose::ToBeTaken } else { Purpose::ToBeRefused };
    let clock = &sender.pace.clock;
    let mut rate = roads::interval(arguments.rate).map(interval);
    // Those that some request of the same window still needs.
    let mut made: BTreeMap<u32, Message> = BTreeMap::new();
    let mut next = 0;
    for Sending { event, since } in order(arguments.count, sender.faults, || clock.chance()) {
        if let Some(rate) = &mut rate {
            rate.tick().await;
        }
        made.retain(|event, _| *event >= since);
        while next <= event {
            made.insert(next, maker.message(clock)?);
            next += 1;
        }
        let Some(message) = made.get(&event) else { continue };
        let (kind, json) = (message.kind(), arguments.json);
        let tell = |attempt: &Try| persisting::show(attempt, kind, sender.road, purpose, session, json);
        let last = sender.send(maker, message, tell).await?;
        let shown = exit_of_last(&last);
        course.exit = course.exit.max(judge(arguments.expect.as_ref(), last.sent.as_ref(), shown, session));
        match &last.sent {
            Some(_) => course.sent += 1,
            None => course.lost += 1,
        }
        course.acknowledged += u64::from(last.sent.is_some() && shown == Exit::Done);
        course.exhausted += usize::from(last.next == Some(Next::Exhausted));
    }
    Ok(())
}

/// How sending one event ended: as the handler answered, or, when something is expected, whether that holds.
fn judge(expected: Option<&Expectation>, sent: Option<&Sent>, exit: Exit, session: &Session) -> Exit {
    let Some(expected) = expected else { return exit };
    let violations = match sent {
        Some(sent) => expected.violations(sent.delivery.last_attempt()),
        None => vec!["expected an answer, and the request was lost on purpose".to_owned()],
    };
    for violation in &violations {
        session.output.complain(&session.output.talk_paint.bad(violation));
    }
    match (violations.is_empty(), exit) {
        (true, _) => Exit::Done,
        (false, Exit::Unreachable) => exit,
        (false, _) => Exit::NotAcknowledged,
    }
}

/// Ticks for a rate; events that a slow handler held up are not made up for in a burst.
fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

/// What is sent: an event of the catalogue, or the user's own bytes.
fn find(arguments: &TriggerArgs, session: &mut Session) -> anyhow::Result<Event> {
    let (text, contract) = (arguments.event.as_str(), arguments.contract);
    let looks_like_file = text == "-" || text.contains(['/', '\\']) || is_json_file(text);
    if !looks_like_file {
        let name: Result<EventName, _> = text.parse();
        match name.map(|name| session.catalogue.find(&name, contract).cloned()) {
            Ok(Ok(_)) if arguments.raw => {
                return Err(Usage::new("--raw sends the bytes of a file: give a FILE or -", "").into());
            }
            Ok(Ok(entry)) => return Ok(entry.into()),
            _ if session.folder.join(text).is_file() => {}
            Ok(Err(unknown)) => return Err(unknown.into()),
            Err(bad_name) => {
                return Err(Usage::new(bad_name.to_string(), "see `mbaas-dev events list`").into());
            }
        }
    }
    let bytes = session.read(text)?;
    let label = if text == "-" { "<stdin>" } else { text };
    Ok(Event::of_user(&session.catalogue.wire_names(), contract, label, bytes))
}

fn is_json_file(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
