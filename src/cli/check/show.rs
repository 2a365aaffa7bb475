//! How findings are shown: a line for each, and below one that failed what is wrong, why it matters and what to do.

use std::io;

use serde_json::json;

use super::Standing;
use crate::cli::roads::show_answer;
use crate::cli::{Session, Volume};
use crate::conformance::{Expected, Rule, Trial};
use crate::model::{Contract, EventType, FORMAT_VERSION, Outcome, millis};
use crate::observers::advice::{advice, preview};
use crate::observers::terminal::latency;
use crate::sources::trials::Finding;

/// How wide the columns are whose texts differ from run to run.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    title: usize,
    /// None where there is no room for it.
    sent: Option<usize>,
}

/// How wide the others are, with the space between them.
const OTHERS: usize = "warning    protocol   1000.0 ms  #100000".len();

/// The indentation of what stands below a line.
const BELOW: &str = "         ";

impl Columns {
    /// Those of a run.
    pub fn of(trials: &[Trial<'_>], rules: &[&'static Rule], width: Option<usize>) -> Self {
        let titles = trials.iter().map(|trial| trial.title().len());
        let title = titles.chain(rules.iter().map(|rule| rule.name.len())).max().unwrap_or_default();
        let sent = rules.iter().map(|rule| rule.sent.chars().count()).max().unwrap_or_default();
        let fits = width.is_none_or(|width| OTHERS + title + sent + 2 <= width);
        Self { title, sent: fits.then_some(sent) }
    }
}

/// Shows a finding to people; of one that is repeated, only what is wrong.
pub fn lines(
    finding: &Finding,
    standing: Standing,
    is_repeated: bool,
    columns: Columns,
    session: &Session,
) -> io::Result<()> {
    let (output, paint, style) = (&session.output, session.output.paint, session.style());
    let word = match standing {
        Standing::Passed => paint.good("ok     "),
        Standing::Failed => paint.bad("failed "),
        Standing::Warned => paint.odd("warning"),
    };
    let title = paint.strong(format!("{:<1$}", finding.title, columns.title));
    let sent = columns.sent.map(|width| format!("  {:<width$}", finding.rule.sent)).unwrap_or_default();
    let status = format!("{:<8}", status(finding));
    let status = if standing == Standing::Passed { paint.good(status) } else { paint.bad(status) };
    let took = finding.attempt().map(|attempt| latency(attempt.duration)).unwrap_or_default();
    let number = finding.sent.delivery.number;
    output.data(&format!("{word}  {title}{sent}  {status}  {took:>9}  #{number}"))?;
    let most = if is_repeated { 1 } else { usize::MAX };
    for remark in remarks(finding).into_iter().take(most) {
        style.paragraph(&remark, BELOW).iter().try_for_each(|line| output.data(line))?;
    }
    if output.volume >= Volume::Verbose
        && let Some(Outcome::Answered(answer)) = finding.attempt().map(|attempt| &attempt.outcome)
    {
        show_answer(answer, output)?;
    }
    Ok(())
}

/// A finding as JSON.
pub fn object(finding: &Finding, contract: Contract) -> String {
    let Finding { rule, sent, violation, .. } = finding;
    let attempt = finding.attempt();
    let (status, error) = match attempt.map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) => (Some(answer.status), None),
        Some(Outcome::Failed(failure)) => (None, Some(failure.kind.as_str())),
        None => (None, None),
    };
    json!({
        "v": FORMAT_VERSION,
        "type": "rule",
        "rule": rule.name,
        "contract": contract.as_str(),
        "event_type": sent.delivery.kind.event_type.as_ref().map(EventType::as_str),
        "severity": rule.severity.as_str(),
        "expected": rule.expected.as_str(),
        "ok": violation.is_none(),
        "status": status,
        "error": error,
        "duration_ms": attempt.map(|attempt| millis(attempt.duration)),
        "delivery": sent.delivery.number,
        "why": rule.why,
        "hint": hint(finding),
    })
    .to_string()
}

/// What there is to say about a rule that was not kept: what is wrong, why it matters, what to do.
pub fn remarks(finding: &Finding) -> Vec<String> {
    let Some(found) = found(finding) else { return Vec::new() };
    vec![found, finding.rule.why.to_owned(), format!("hint: {}", hint(finding))]
}

/// What is wrong, and what the handler said.
pub fn found(finding: &Finding) -> Option<String> {
    let violation = finding.violation?;
    let answer = match finding.attempt().map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) if finding.rule.expected != Expected::Prompt => preview(answer),
        _ => None,
    };
    Some(match answer {
        Some(answer) => format!("{violation}: {answer}"),
        None => violation.to_string(),
    })
}

/// What to do. Where it is the answer that tells what is wrong, and not what was sent, that counts.
fn hint(finding: &Finding) -> String {
    let of_rule = || finding.rule.hint.to_owned();
    if finding.violation.is_none() || finding.rule.expected != Expected::Acknowledged {
        return of_rule();
    }
    let tells = match finding.attempt().map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) => matches!(answer.status, 300..400 | 404 | 405 | 415 | 500..),
        Some(Outcome::Failed(_)) | None => true,
    };
    advice(&finding.sent.delivery, None).filter(|_| tells).unwrap_or_else(of_rule)
}

/// The status, or why there is none.
fn status(finding: &Finding) -> String {
    match finding.attempt().map(|attempt| &attempt.outcome) {
        Some(Outcome::Answered(answer)) => answer.status.to_string(),
        Some(Outcome::Failed(failure)) => failure.kind.as_str().to_owned(),
        None => "-".to_owned(),
    }
}
