//! Says before sending where an event is not as documented, and refuses it when that is asked for.

use super::Session;
use super::report::Usage;
use crate::fixture::{Examined, Examiner, Finding};
use crate::json::Json;
use crate::model::Clock;
use crate::sources::maker::{Event, Maker};

/// The most findings that are shown of one event.
const MOST_SHOWN: usize = 5;

/// Warns of what is not as documented in an event that is about to be sent, or refuses it when `strict`.
///
/// What is built in and not edited is as documented, so nothing is checked then.
pub fn scrutinise(maker: &Maker, strict: bool, session: &Session) -> anyhow::Result<()> {
    let Maker { event, patches, .. } = maker;
    if event.name.is_some() && patches.is_empty() {
        return Ok(());
    }
    // On a clock of its own, so that what is sent is the same whether or not it is checked.
    let trial = maker.message(&Clock::fixed(session.clock.now(), 0))?;
    let found = findings(event, trial.body());
    if found.is_empty() {
        return Ok(());
    }
    if strict {
        let message = format!("the event is not as documented\n  {}", found.join("\n  "));
        return Err(Usage::new(message, "without --strict it is sent all the same").into());
    }
    let output = &session.output;
    for finding in &found {
        output.talk(&format!("{} {finding}", output.talk_paint.odd("warning:")));
    }
    output.talk("  it is sent all the same; --strict refuses what is not as documented");
    Ok(())
}

/// What is not as documented, each in a sentence, with the schema that says so.
fn findings(event: &Event, source: &[u8]) -> Vec<String> {
    let body = match Json::parse(source) {
        Ok(body) => body,
        Err(error) => return vec![format!("the body is not JSON: {error}")],
    };
    let examined = Examiner::default().examine(event.contract, event.name.as_ref(), &body);
    let examined = examined.as_written(source);
    let Examined { schema, findings, .. } = examined;
    let origin = schema.map(|schema| format!(" ({schema})")).unwrap_or_default();
    let tell = |finding: &Finding| format!("{finding}{origin}");
    let mut told: Vec<String> = findings.iter().take(MOST_SHOWN).map(tell).collect();
    if findings.len() > MOST_SHOWN {
        told.push(format!("and {} more", findings.len() - MOST_SHOWN));
    }
    told
}
