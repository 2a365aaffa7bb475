//! The way from `trigger` and `replay` to the handler: through the project's running `listen`, or straight to `--to`.

use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Session;
use super::arguments::{SecretArgs, TimeLimit};
use super::listen::new_token;
use super::report::{Exit, Usage, exit_of};
use crate::app::artifacts::ArtifactServer;
use crate::app::secret::ChosenSecret;
use crate::bus::Bus;
use crate::fixture::Artifacts;
use crate::forward::{Forward, Settings, Trust};
use crate::model::{Answer, Headers, Outcome, Place, Printable, Target, printable_lines};
use crate::observers::advice::{advice, hints, size};
use crate::observers::paint::Paint;
use crate::observers::terminal::not_forwarded;
use crate::pipeline::{self, Parts, Pipeline};
use crate::sources::dispatch::{Road, Sent};
use crate::store::Store;

use super::output::{Output, Volume};

/// Where to send, and how long to wait.
#[derive(Clone, Debug, Args)]
pub struct RoadArgs {
    /// Where to send [default: the running listen of this project]
    #[arg(long, value_name = "TARGET")]
    to: Option<Target>,
    #[command(flatten)]
    direct: DirectArgs,
}

/// How to send straight to a handler.
#[derive(Clone, Debug, Args)]
pub struct DirectArgs {
    /// How long the handler may take, with --to; 0 waits for ever [default: as long as the sender of the event
    /// waits, which is 30s, for v1 10s, and for its status changes 5s]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<TimeLimit>,
    /// Take any certificate of an https target, with --to
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

/// A road that is open, and what was found out on the way.
pub struct OpenRoad {
    /// The road.
    pub road: Road,
    /// The secret to sign with.
    pub secret: ChosenSecret,
    store: Option<Store>,
}

impl RoadArgs {
    /// Where requests would be sent, for showing them only.
    pub fn target(&self, session: &Session) -> anyhow::Result<Option<Target>> {
        if let Some(target) = &self.to {
            return Ok(Some(target.clone()));
        }
        let running = session.state.running()?;
        Ok(running.and_then(|(running, ..)| running.ingress.parse().ok()))
    }

    /// The same way to another target.
    #[must_use]
    pub fn towards(&self, target: &Target) -> Self {
        Self { to: Some(target.clone()), ..self.clone() }
    }

    /// The secret to sign with.
    pub fn secret(&self, session: &Session) -> anyhow::Result<ChosenSecret> {
        self.direct.secret.choose_beside(session)
    }

    /// Opens the road; its tasks run on the runtime that is entered. A handler may take as long as `patience`, unless
    /// the user says otherwise.
    pub fn open(&self, session: &Session, patience: Duration) -> anyhow::Result<OpenRoad> {
        let running = session.state.running()?;
        let ingress = match &running {
            Some((running, _, token)) => Some((running.ingress.parse::<Target>()?, token.clone())),
            None => None,
        };
        let is_listen = |to: &Target| is_same(ingress.as_ref().map(|(at, _)| at), to);
        if let Some(target) = self.to.as_ref().filter(|to| !is_listen(to)) {
            return self.direct.open(session, target.clone(), patience, Headers::new());
        }
        let Some((ingress, token)) = ingress else {
            return Err(Usage::new(
                "no listen is running in this project, and no --to says where to send",
                "start `mbaas-dev listen --forward localhost:3000`, or give `--to localhost:3000`",
            )
            .into());
        };
        // The first time generates one, which leaves a trace.
        let secret = self.secret(session)?;
        let forward = Forward::new(Settings::default(), session.clock.clone(), TaskTracker::new());
        let ingress = self.to.clone().unwrap_or(ingress);
        let road = Road::Listen { forward, ingress, token, folder: session.state.path().to_owned() };
        Ok(OpenRoad { road, secret, store: None })
    }
}

impl DirectArgs {
    /// Whether a handler may take as long as its real sender waits, and not as long as the user says.
    pub fn waits_as_sender(&self) -> bool {
        self.timeout.is_none()
    }

    /// Opens the road to a handler, which may take as long as `patience` unless the user says otherwise. Every request gets
    /// these headers.
    pub fn open(
        &self,
        session: &Session,
        target: Target,
        patience: Duration,
        headers: Headers,
    ) -> anyhow::Result<OpenRoad> {
        // The first time generates one, which leaves a trace.
        let secret = self.secret.choose_beside(session)?;
        session.state.ensure()?;
        let store = Store::open(session.state.path())?;
        let timeout = self.timeout.unwrap_or(TimeLimit(Some(patience))).0;
        let settings = Settings { timeout, trust: insecure(self.insecure), headers };
        let forward = Forward::new(settings, session.clock.clone(), TaskTracker::new());
        // Nobody looks whether the target is back: this command is over by then.
        let stop = CancellationToken::new();
        stop.cancel();
        let (bus, tasks) = (Bus::new(), TaskTracker::new());
        let parts = Parts { store: store.clone(), forward, bus, hold: None, tasks, stop };
        let pipeline = Pipeline::new(parts, &pipeline::Settings { parallel: 1, retries: 0, hold: false });
        let road = Road::Direct { pipeline, target, keys: secret.keys.clone() };
        Ok(OpenRoad { road, secret, store: Some(store) })
    }
}

impl OpenRoad {
    /// Whether nothing stands between us and the handler.
    pub fn is_direct(&self) -> bool {
        handler(&self.road).is_some()
    }

    /// Waits until everything is on disk. What is still under way, since its user did not want to wait, has failed.
    pub async fn close(self) {
        if let Road::Direct { pipeline, .. } = self.road {
            pipeline.end().await;
        }
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}

/// Whether a target is the running listen of this project.
pub fn is_running_listen(target: &Target, session: &Session) -> anyhow::Result<bool> {
    let running = session.state.running()?;
    let ingress = running.map(|(running, ..)| running.ingress.parse::<Target>()).transpose()?;
    Ok(is_same(ingress.as_ref(), target))
}

/// Whether a target is the ingress itself: then it records, and we must not do so a second time.
fn is_same(ingress: Option<&Target>, target: &Target) -> bool {
    let local = |target: &Target| match target.place() {
        Place::Tcp { tls: false, host, port }
            if ["localhost", "::1", "127.0.0.1"].contains(&host.as_str()) =>
        {
            Some(*port)
        }
        _ => None,
    };
    ingress.is_some_and(|ingress| {
        ingress.place() == target.place() || (local(ingress).is_some() && local(ingress) == local(target))
    })
}

/// Refuses faults that concern the connection to the handler where `listen` stands between.
pub fn check_connection(concerned: bool, open: &OpenRoad) -> Result<(), Usage> {
    if !concerned || open.is_direct() {
        return Ok(());
    }
    Err(Usage::new(
        "the faults `slow` and `reset` concern the connection to the handler, and here `listen` stands between",
        "give `--to` with the handler's own address",
    ))
}

/// Where the files of meetings can be fetched: from the running listen, or from nowhere.
pub fn artifacts(session: &Session) -> anyhow::Result<Artifacts> {
    let running = session.state.running()?;
    Ok(running.map(|(running, _, token)| running.artifacts(&token)).unwrap_or_default())
}

/// The same; without a listen from a server of our own, which runs until `stop` is cancelled. A run that has to be the same
/// again has none: the port would differ.
pub async fn serve_artifacts(
    session: &Session,
    is_repeatable: bool,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<Artifacts> {
    if is_repeatable || session.state.running()?.is_some() {
        return artifacts(session);
    }
    let server = ArtifactServer::bind(new_token(&session.clock), session.clock.clone()).await?;
    let artifacts = server.artifacts(None);
    tasks.spawn(server.run(stop.clone(), tasks.clone()));
    Ok(artifacts)
}

/// What `--insecure` means.
pub fn insecure(insecure: bool) -> Trust {
    if insecure { Trust::Anything } else { Trust::System }
}

/// A runtime for a command that does one thing: one thread, and timers.
pub fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// What an event was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be acknowledged.
    ToBeTaken,
    /// To be refused: it is signed wrong.
    ToBeRefused,
}

/// Shows what came of sending: as JSON, or a line and, when it is asked for, the whole answer.
pub fn show(
    sent: &Sent,
    road: &Road,
    purpose: Purpose,
    session: &Session,
    json: bool,
) -> anyhow::Result<Exit> {
    let output = &session.output;
    if json {
        output.data(&serde_json::to_string(&sent.delivery)?)?;
        return Ok(exit_of(sent));
    }
    let style = session.style();
    output.data(&style.line(&sent.delivery))?;
    for line in remarks(sent, handler(road), purpose).iter().flat_map(|remark| style.below(remark)) {
        output.data(&line)?;
    }
    if output.volume >= Volume::Verbose
        && let Some(Outcome::Answered(answer)) = sent.delivery.last_attempt().map(|attempt| &attempt.outcome)
    {
        show_answer(answer, output)?;
    }
    Ok(exit_of(sent))
}

/// The handler that a road leads to without a `listen` in between.
pub fn handler(road: &Road) -> Option<&Target> {
    match road {
        Road::Direct { target, .. } => Some(target),
        Road::Listen { .. } => None,
    }
}

/// What is below the line of a delivery that we sent, straight to the handler `at` that place or to a `listen`.
fn remarks(sent: &Sent, at: Option<&Target>, purpose: Purpose) -> Vec<String> {
    if let Some(remark) = remark(sent, purpose) {
        return vec![remark];
    }
    let hints = match purpose {
        Purpose::ToBeTaken => hints(&sent.delivery, at),
        // Whoever signs wrong on purpose knows why it does not verify.
        Purpose::ToBeRefused => advice(&sent.delivery, at).into_iter().collect(),
    };
    hints.into_iter().map(|hint| format!("hint: {hint}")).collect()
}

/// What there is to say about the purpose, or about a handler that was not asked.
fn remark(sent: &Sent, purpose: Purpose) -> Option<String> {
    if let Some(why) = sent.delivery.not_forwarded {
        return Some(not_forwarded(why));
    }
    if sent.delivery.held {
        return Some("held by the running listen until the handler is back".to_owned());
    }
    let attempt = sent.delivery.last_attempt();
    let status = match attempt.map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) => Some(answer.status),
        Some(Outcome::Failed(_)) => None,
        None if sent.accepted => {
            return Some("recorded, and not forwarded: the running listen says why".to_owned());
        }
        None => return Some("refused by the running listen: its signature is not valid".to_owned()),
    };
    let remark = match (purpose, status) {
        (Purpose::ToBeRefused, Some(202)) => {
            "taken for later (202), by a relay or a queue: what the handler makes of its signature is not known yet"
        }
        (Purpose::ToBeRefused, Some(200..300)) => {
            "hint: the handler took an event that was signed wrong on purpose: does it verify?"
        }
        (Purpose::ToBeRefused, Some(400..500)) => "refused, as it should be: it was signed wrong on purpose",
        (Purpose::ToBeRefused, Some(500..)) => {
            "hint: the handler failed on an event that was signed wrong on purpose; it should answer 401"
        }
        _ => return None,
    };
    Some(remark.to_owned())
}

/// A handler's answer, whole.
pub fn show_answer(answer: &Answer, output: &Output) -> std::io::Result<()> {
    let paint: Paint = output.paint;
    for (name, value) in answer.headers.iter() {
        output.data(&format!("  {}: {}", paint.faint(Printable(name).to_string()), Printable(value)))?;
    }
    if answer.body.contains(&0) {
        let what = format!("  {} of binary data (--json has them)", size(answer.body.len() as u64));
        output.data(&paint.faint(&what))?;
    } else {
        let text = printable_lines(&String::from_utf8_lossy(&answer.body));
        text.lines().try_for_each(|line| output.data(&format!("  {line}")))?;
    }
    if answer.cut {
        output.data(&format!("  {}", paint.odd("… the answer was longer than what is kept")))?;
    }
    Ok(())
}

/// The time between two events at `rate` events a second; none when they follow as fast as they can.
pub fn interval(rate: Option<f64>) -> Option<Duration> {
    rate.map(|rate| Duration::from_secs_f64(1.0 / rate))
}
