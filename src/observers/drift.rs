//! Where what came over the wire is not as the documentation has it.

use serde_json::{Value, json};

use crate::fixture::{Examined, Examiner, Finding};
use crate::json::Json;
use crate::store::Recorded;

/// A recorded body held against the schema of its event; `None` when it is no JSON, or of no contract that is known.
pub fn drift(recorded: &Recorded) -> Option<Examined> {
    let contract = recorded.delivery.kind.contract?;
    let body = Json::parse(&recorded.request.body).ok()?;
    Some(Examiner::default().examine(contract, None, &body).as_written(&recorded.request.body))
}

/// What came of it in a line.
pub fn summary(examined: &Examined) -> String {
    let schema = examined.schema.as_deref().unwrap_or("none");
    match examined.findings.len() {
        0 => format!("{schema}, as documented"),
        1 => format!("{schema}, 1 difference"),
        more => format!("{schema}, {more} differences"),
    }
}

/// The same for programs.
pub fn object(examined: &Examined) -> Value {
    let findings: Vec<Value> = examined.findings.iter().map(finding_object).collect();
    json!({ "name": examined.schema, "source": examined.source, "findings": findings })
}

/// The object of a finding.
pub fn finding_object(finding: &Finding) -> Value {
    json!({
        "path": finding.path.to_string(),
        "problem": finding.problem,
        "expected": finding.expected,
        "found": finding.found,
        "breaks_schema": finding.breaks_schema,
    })
}
