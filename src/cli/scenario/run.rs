//! `mbaas-dev scenario run`

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::Session;
use super::super::arguments::PatchArgs;
use super::super::persisting::{SenderArgs, object, told};
use super::super::report::{Exit, Usage, exit_of};
use super::super::roads::{self, RoadArgs};
use super::{WhichArgs, events};
use crate::app::listen::GRACE;
use crate::contract::retry::ladder;
use crate::model::{FORMAT_VERSION, span};
use crate::observers::advice::hints;
use crate::scenario::{Scenario, Step};
use crate::sources::dispatch::Road;
use crate::sources::player::{Played, Player, USUAL_SPEED};

/// Play a scenario to the handler
///
/// Its events have their times, as far apart as in reality, and end now, however fast it is played. Each is sent when the
/// one before it was answered. Exits 0 when every event was acknowledged, 3 when one was not; what was lost on purpose
/// does not count, and what is signed wrong on purpose has to be refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mbaas-dev scenario run happy-path --contract v2\n  \
    mbaas-dev scenario run happy-path --contract v2 --speed max --to localhost:3000/webhooks\n  \
    mbaas-dev scenario run ./my-story.toml --set data.bot_id='\"4f1e…\"' --fault jitter=2s")]
pub struct RunArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    road: RoadArgs,
    #[command(flatten)]
    patches: PatchArgs,
    /// Print a JSON object for each attempt, and one with the sums at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sender: SenderArgs,
}

/// What became of the messages of a scenario.
#[derive(Clone, Copy, Debug)]
struct Sums {
    acknowledged: u64,
    refused: u64,
    failed: u64,
    lost: u64,
    exit: Exit,
}

pub fn run(arguments: &RunArgs, mut session: Session) -> anyhow::Result<Exit> {
    let (mut scenario, _) = arguments.which.read(&mut session)?;
    arguments.sender.impose_on(&mut scenario)?;
    roads::runtime()?.block_on(play(arguments, &scenario, &session))
}

async fn play(arguments: &RunArgs, scenario: &Scenario, session: &Session) -> anyhow::Result<Exit> {
    let patches = arguments.patches.patches()?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let player = Player {
        scenario,
        patches: &patches,
        names: session.catalogue.wire_names(),
        artifacts: roads::serve_artifacts(session, arguments.sender.is_repeatable(), &stop, &tasks).await?,
        environment: session.environment,
    };
    if let Some(patch) = player.rehearse(&session.clock)?.first() {
        let message = format!("no event of the scenario has anything at `{}`", patch.path());
        return Err(Usage::new(
            message,
            "--set and --unset change what is there; a scenario can add with its own `set`",
        )
        .into());
    }
    let open = arguments.road.open(session, ladder(scenario.contract, None).timeout)?;
    roads::check_connection(scenario.steps.iter().any(|step| step.faults.concern_the_connection()), &open)?;
    let is_random =
        scenario.steps.iter().any(|step| step.faults.are_random()) || scenario.faults.are_random();
    let pace = arguments.sender.pace(is_random, USUAL_SPEED, session);
    if !arguments.json {
        let (length, quick) = (scenario.duration(), pace.shrink(scenario.duration()));
        let times = match (length.is_zero(), quick.is_zero()) {
            (true, _) => String::new(),
            (false, true) => format!(" over {}, played without pauses", span(length)),
            (false, false) => format!(" over {}, played within {}", span(length), span(quick)),
        };
        session.output.talk(&format!("{}: {}{times}", scenario.label, events(scenario.steps.len())));
    }
    let mut sums = Sums { acknowledged: 0, refused: 0, failed: 0, lost: 0, exit: Exit::Done };
    let tell = |played: &Played<'_>| {
        sums.count(played);
        show(played, scenario, &open.road, arguments.json, session)
    };
    let ended = tokio::select! {
        ended = player.play(&open.road, &open.secret.keys, &pace, tell) => ended.map(|()| None),
        _ = tokio::signal::ctrl_c() => Ok(Some(Exit::Interrupted)),
    };
    open.close().await;
    stop.cancel();
    tasks.close();
    // What a handler still fetches may end; who holds on to a connection is not waited for.
    drop(tokio::time::timeout(GRACE, tasks.wait()).await);
    let interrupted = ended?;
    sums.show(scenario, arguments.json, session)?;
    Ok(interrupted.unwrap_or(sums.exit))
}

impl Sums {
    /// Counts the last attempt at sending a message.
    fn count(&mut self, played: &Played<'_>) {
        if played.attempt.is_tried_again() {
            return;
        }
        let Some(sent) = &played.attempt.sent else {
            self.lost += 1;
            return;
        };
        let is_taken = exit_of(sent) == Exit::Done;
        match (is_taken, played.step.sign.is_right()) {
            (true, true) => self.acknowledged += 1,
            (false, false) => self.refused += 1,
            (false, true) => {
                self.failed += 1;
                self.exit = self.exit.max(exit_of(sent));
            }
            (true, false) => {
                self.failed += 1;
                self.exit = self.exit.max(Exit::NotAcknowledged);
            }
        }
    }

    fn show(&self, scenario: &Scenario, json: bool, session: &Session) -> std::io::Result<()> {
        let Self { acknowledged, refused, failed, lost, .. } = *self;
        let all = scenario.requests();
        let left = all.saturating_sub(acknowledged + refused + failed + lost);
        if json {
            let object = json!({
                "v": FORMAT_VERSION, "type": "summary", "scenario": scenario.label,
                "contract": scenario.contract.as_str(), "events": all, "acknowledged": acknowledged,
                "refused": refused, "failed": failed, "lost": lost, "not_sent": left,
            });
            return session.output.data(&object.to_string());
        }
        let mut parts = vec![format!("{acknowledged} of {all} acknowledged")];
        let more = [
            (refused, "refused, as they should be"),
            (failed, "not as they should be"),
            (lost, "lost on purpose"),
            (left, "not sent"),
        ];
        parts.extend(
            more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")),
        );
        session.output.talk(&parts.join(" · "));
        Ok(())
    }
}

/// Shows an attempt, and below it what went wrong.
fn show(
    played: &Played<'_>,
    scenario: &Scenario,
    road: &Road,
    json: bool,
    session: &Session,
) -> anyhow::Result<()> {
    let Played { step, number, at, attempt } = *played;
    let of = scenario.steps.len();
    let output = &session.output;
    if json {
        let kind = kind(step);
        let mut object = object(attempt, &kind)?;
        object["type"] = if attempt.sent.is_some() { "attempt" } else { "lost" }.into();
        object["step"] = json!({
            "number": number, "of": of, "event": step.title(), "at_ms": crate::model::millis(at),
        });
        return Ok(output.data(&object.to_string())?);
    }
    let style = session.style();
    let delivery = attempt.sent.as_ref().map(|sent| &sent.delivery);
    output.data(&style.step((number, of), at, &step.title(), delivery))?;
    let is_final = !attempt.is_tried_again() && step.sign.is_right();
    let hints = delivery
        .filter(|_| is_final)
        .map(|delivery| hints(delivery, roads::handler(road)))
        .unwrap_or_default();
    let remarks = hints.into_iter().map(|hint| format!("hint: {hint}")).chain(told(attempt));
    for line in remarks.flat_map(|remark| style.paragraph(&remark, "         ")) {
        output.data(&line)?;
    }
    Ok(())
}

/// What a step is, for one that was lost.
fn kind(step: &Step) -> crate::model::Kind {
    crate::model::Kind {
        contract: Some(step.contract),
        event_type: step.name.as_ref().map(|name| name.event_type.clone()),
        wire_event: step.fixture.wire_event(),
    }
}
