//! A report as JUnit writes it, which every CI reads: a suite for the contract, a case for each trial.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::Standing;
use super::show::{found, remarks};
use crate::model::Contract;
use crate::sources::trials::Finding;

/// The report. The format has no warnings: they are cases that were skipped, which every CI shows and none counts.
pub fn report(contract: Contract, at: Timestamp, cases: &[(&Finding, Standing)]) -> io::Result<Vec<u8>> {
    let count =
        |wanted: Standing| cases.iter().filter(|(_, standing)| *standing == wanted).count().to_string();
    let sums = [
        ("tests", cases.len().to_string()),
        ("failures", count(Standing::Failed)),
        ("errors", "0".to_owned()),
        ("skipped", count(Standing::Warned)),
        ("time", seconds(cases.iter().map(|(finding, _)| took(finding)).sum())),
    ];
    let sums: Vec<(&str, &str)> = sums.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let suite = format!("mbaas-dev check {contract}");
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = writer.create_element("testsuites").with_attributes(sums.iter().copied());
    suites.write_inner_content(|writer| {
        let of_suite = [("name", suite.as_str()), ("timestamp", at.as_str())];
        let element = writer.create_element("testsuite").with_attributes(of_suite).with_attributes(sums);
        element.write_inner_content(|writer| {
            cases.iter().try_for_each(|(finding, standing)| case(writer, contract, finding, *standing))
        })?;
        Ok(())
    })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn case(
    writer: &mut Writer<Vec<u8>>,
    contract: Contract,
    finding: &Finding,
    standing: Standing,
) -> io::Result<()> {
    let (class, time) = (format!("mbaas-dev.check.{contract}"), seconds(took(finding)));
    let title = lawful(&finding.title);
    let attributes = [("name", title.as_str()), ("classname", class.as_str()), ("time", time.as_str())];
    let element = writer.create_element("testcase").with_attributes(attributes);
    let problem = match standing {
        Standing::Passed => return element.write_empty().map(drop),
        Standing::Failed => "failure",
        Standing::Warned => "skipped",
    };
    let message = lawful(&found(finding).unwrap_or_default());
    let details = [
        format!("sent: {}", finding.rule.sent),
        format!("mbaas-dev deliveries show '#{}'", finding.sent.delivery.number),
    ];
    let text = lawful(&[remarks(finding), details.into()].concat().join("\n"));
    element.write_inner_content(|writer| {
        let problem = writer.create_element(problem).with_attribute(("message", message.as_str()));
        problem.write_text_content(BytesText::new(&text)).map(drop)
    })?;
    Ok(())
}

fn took(finding: &Finding) -> Duration {
    finding.attempt().map_or(Duration::ZERO, |attempt| attempt.duration)
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

/// A text without the characters that XML 1.0 cannot have, not even escaped.
fn lawful(text: &str) -> String {
    let is_lawful = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_lawful(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}
