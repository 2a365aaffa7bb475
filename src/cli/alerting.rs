//! The alert that Meeting BaaS raises when every attempt at delivering a webhook failed.

use super::Session;
use super::persisting::{self, exit_of_last};
use super::report::Exit;
use super::roads::{Purpose, RoadArgs};
use crate::model::{Contract, Origin, Speed, Target};
use crate::scenario::Faults;
use crate::signature::{HeaderStyle, SignMode};
use crate::sources::maker::Maker;
use crate::sources::pace::Pace;
use crate::sources::persist::{Sender, Try};

/// The event that says so.
const EXHAUSTED: &str = "alert@webhook_delivery_exhausted";

/// Sends the alert to `target`, as often as alerts are; how that ended.
pub async fn alert(
    target: &Target,
    maker: &Maker,
    (road, speed): (&RoadArgs, Speed),
    session: &Session,
    json: bool,
) -> anyhow::Result<Exit> {
    let entry = session.catalogue.find(&EXHAUSTED.parse()?, Some(Contract::Alert))?.clone();
    let maker = Maker {
        event: entry.into(),
        minutes: None,
        patches: Vec::new(),
        mode: SignMode::Valid,
        style: HeaderStyle::Svix,
        method: None,
        raw: false,
        origin: Origin::Trigger,
        names: maker.names.clone(),
        artifacts: maker.artifacts.clone(),
        environment: maker.environment,
    };
    let ladder = maker.ladder();
    let open = road.towards(target).open(session, ladder.timeout)?;
    let pace = Pace::new(&session.clock, speed, None, None);
    let (keys, faults) = (&open.secret.keys, &Faults::default());
    let sender = Sender { road: &open.road, keys, pace: &pace, ladder: Some(ladder), faults };
    let message = maker.message(&session.clock)?;
    let (kind, purpose) = (message.kind(), Purpose::ToBeTaken);
    let tell = |attempt: &Try| persisting::show(attempt, kind, &open.road, purpose, session, json);
    let ended = tokio::select! {
        ended = sender.send(&maker, &message, tell) => ended.map(|last| exit_of_last(&last)),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    };
    open.close().await;
    ended
}
