//! `mbaas-dev check`

mod junit;
mod show;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::show::Columns;
use super::Session;
use super::arguments::header;
use super::report::{Exit, Unreachable, Usage, exit_of};
use super::roads::{self, DirectArgs};
use crate::app::listen::GRACE;
use crate::app::private_file::PrivateFile;
use crate::conformance::{Expected, Probe, RULES, Rule, Severity, Trial, plan};
use crate::contract::retry::ladder;
use crate::model::{Answer, Contract, FORMAT_VERSION, FailureKind, Outcome, Printable, Target};
use crate::signature::SignMode;
use crate::sources::trials::{Examiner, Finding, slowest};

/// Hold a handler to what handlers of these webhooks must do
///
/// Sends a series of events straight to TARGET, right ones and wrong ones, and compares each answer with what is expected:
/// that a right one is acknowledged with a 2xx status while its sender waits, and that a wrong one is refused with a 4xx
/// status. Each is recorded, and can be looked at by its number. Exits 0 when every rule was kept, 3 when one was not, 5
/// when the handler could not be reached.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mbaas-dev check localhost:3000/webhooks/meetingbaas\n  \
    mbaas-dev check 3000 --contract v2 --secret v2=whsec_…\n  \
    mbaas-dev check 3000 --only wrong-secret,missing\n  \
    mbaas-dev check 3000 --junit check.xml --strict")]
pub struct CheckArgs {
    /// Where the handler listens: 3000, localhost:3000/hooks, https://…
    #[arg(value_name = "TARGET")]
    target: Target,
    /// The contract by which events come: preview, v2, v1, callback or alert
    #[arg(long, value_name = "CONTRACT", default_value = "preview")]
    contract: Contract,
    /// Try these rules only; several are divided by commas
    #[arg(long, value_name = "RULE", value_delimiter = ',', value_parser = rule())]
    only: Vec<&'static Rule>,
    /// Let what is only a warning count as well
    #[arg(long)]
    strict: bool,
    /// Write a report in the format of JUnit to this file, for CI
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Add a header to every request, in the place of one of that name
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    direct: DirectArgs,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn rule() -> impl TypedValueParser<Value = &'static Rule> {
    let names = RULES.iter().map(|rule| PossibleValue::new(rule.name).help(rule.sent));
    PossibleValuesParser::new(names).map(|name| {
        RULES.iter().find(|rule| rule.name == name).expect("only names of rules are possible values")
    })
}

/// The options that it shares with commands that may go through a `listen`, which it never does.
pub fn in_its_words(command: clap::Command) -> clap::Command {
    let timeout = "How long the handler may take; 0 waits for ever [default: as long as the sender of the event waits, \
        which is 30s, for v1 10s, and for its status changes 5s]";
    command
        .mut_arg("timeout", |option| option.help(timeout))
        .mut_arg("insecure", |option| option.help("Take any certificate of an https target"))
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It was kept.
    Passed,
    /// It was not.
    Failed,
    /// It was not, and that is no failure.
    Warned,
}

/// What was found out, and how it is told.
struct Report<'a> {
    arguments: &'a CheckArgs,
    session: &'a Session,
    columns: Columns,
    findings: Vec<Finding>,
}

pub fn run(arguments: &CheckArgs, session: &Session) -> anyhow::Result<Exit> {
    if roads::is_running_listen(&arguments.target, session)? {
        return Err(Usage::new(
            "the running listen of this project listens there, and not the handler",
            "give the handler's own address, to which that listen forwards",
        )
        .into());
    }
    let rules = rules(arguments)?;
    // Whether it can be written is known before anything is sent.
    let file = match &arguments.junit {
        Some(path) => Some(writable(&session.folder.join(path))?),
        None => None,
    };
    roads::runtime()?.block_on(check(arguments, &rules, file, session))
}

/// The file of the report, which others than this user read.
fn writable(path: &Path) -> Result<PrivateFile, Usage> {
    PrivateFile::at(path).and_then(PrivateFile::readable_by_all).map_err(|cannot| {
        let hint = "`--junit` makes a file or replaces one, and no folders: give it one that is there, and that you may write to";
        Usage::new(cannot.to_string(), hint)
    })
}

/// The rules that are tried: those that apply to the contract, or of those the ones that are asked for.
fn rules(arguments: &CheckArgs) -> anyhow::Result<Vec<&'static Rule>> {
    let contract = arguments.contract;
    for rule in &arguments.only {
        if let Probe::Signed(mode) = rule.probe {
            mode.check(contract)?;
        }
        if !rule.applies_to(contract) {
            let message = format!("the rule `{}` is not about {contract} events", rule.name);
            return Err(
                Usage::new(message, "without `--only`, every rule is tried that is about them").into()
            );
        }
    }
    let is_asked_for = |rule: &&Rule| arguments.only.is_empty() || arguments.only.contains(rule);
    let rules: Vec<&Rule> =
        RULES.iter().filter(|rule| rule.applies_to(contract)).filter(is_asked_for).collect();
    if rules.iter().all(|rule| rule.expected != Expected::Acknowledged)
        && rules.iter().any(|rule| rule.expected == Expected::Prompt)
    {
        return Err(Usage::new(
            "the rule `prompt` looks at what other events are answered, and none is sent",
            "add one that is to be acknowledged: `--only valid,prompt`",
        )
        .into());
    }
    Ok(rules)
}

async fn check(
    arguments: &CheckArgs,
    rules: &[&'static Rule],
    file: Option<PrivateFile>,
    session: &Session,
) -> anyhow::Result<Exit> {
    let trials = plan(&session.catalogue, arguments.contract, rules);
    let limits = trials.iter().map(|trial| limit(trial));
    let patience = limits.max().unwrap_or_default();
    let headers = arguments.headers.iter().cloned().collect();
    let open = arguments.direct.open(session, arguments.target.clone(), patience, headers)?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let examiner = Examiner {
        road: &open.road,
        keys: &open.secret.keys,
        clock: &session.clock,
        names: session.catalogue.wire_names(),
        artifacts: roads::serve_artifacts(session, false, &stop, &tasks).await?,
        environment: session.environment,
        waits_as_sender: arguments.direct.waits_as_sender(),
    };
    let columns = Columns::of(&trials, rules, session.output.width);
    let mut report = Report { arguments, session, columns, findings: Vec::new() };
    let ended = tokio::select! {
        ended = report.fill(&examiner, &trials, rules) => ended.map(|()| None),
        _ = tokio::signal::ctrl_c() => Ok(Some(Exit::Interrupted)),
    };
    open.close().await;
    stop.cancel();
    tasks.close();
    // What a handler still fetches may end; who holds on to a connection is not waited for.
    drop(tokio::time::timeout(GRACE, tasks.wait()).await);
    let is_told = match &ended {
        Ok(interrupted) => interrupted.is_none(),
        // A report of before would tell CI that all is well.
        Err(error) => error.is::<Unreachable>(),
    };
    if let Some(file) = file.filter(|_| is_told) {
        report.write(file)?;
    }
    match ended? {
        Some(exit) => Ok(exit),
        None => report.end(),
    }
}

/// How long the real sender of an event waits for the answer.
fn limit(trial: &Trial<'_>) -> Duration {
    ladder(trial.entry.contract, trial.entry.fixture.wire_event().as_deref()).timeout
}

impl Report<'_> {
    /// Tries every rule, and tells what comes of each.
    async fn fill(
        &mut self,
        examiner: &Examiner<'_>,
        trials: &[Trial<'_>],
        rules: &[&'static Rule],
    ) -> anyhow::Result<()> {
        for trial in trials {
            let finding = examiner.examine(trial).await?;
            let is_first = self.findings.is_empty();
            let unreachable = unreachable(&finding).filter(|_| is_first);
            self.findings.push(finding);
            if let Some(unreachable) = unreachable {
                return Err(unreachable.into());
            }
            self.show_last()?;
        }
        for rule in rules.iter().filter(|rule| rule.probe == Probe::Nothing) {
            if let Some(finding) = slowest(rule, &self.findings) {
                self.findings.push(finding);
                self.show_last()?;
            }
        }
        Ok(())
    }

    fn show_last(&self) -> io::Result<()> {
        let Some(finding) = self.findings.last() else { return Ok(()) };
        if self.arguments.json {
            return self.session.output.data(&show::object(finding, self.arguments.contract));
        }
        let is_repeated = self.is_repeated(finding);
        show::lines(finding, self.standing(finding), is_repeated, self.columns, self.session)
    }

    /// Whether the same was said already, of the same rule or of the plainest of all events: then it is that which counts.
    fn is_repeated(&self, finding: &Finding) -> bool {
        let before = self.findings.split_last().map_or(&[][..], |(_, before)| before);
        before
            .iter()
            .filter(|before| before.violation == finding.violation)
            .any(|before| before.rule == finding.rule || before.rule.probe == Probe::Signed(SignMode::Valid))
    }

    fn standing(&self, finding: &Finding) -> Standing {
        match (&finding.violation, finding.rule.severity) {
            (None, _) => Standing::Passed,
            (Some(_), Severity::Should) if !self.arguments.strict => Standing::Warned,
            (Some(_), _) => Standing::Failed,
        }
    }

    fn count(&self, standing: Standing) -> usize {
        self.findings.iter().filter(|finding| self.standing(finding) == standing).count()
    }

    fn write(&self, mut file: PrivateFile) -> anyhow::Result<()> {
        let cases: Vec<(&Finding, Standing)> =
            self.findings.iter().map(|finding| (finding, self.standing(finding))).collect();
        file.write(&junit::report(self.arguments.contract, self.session.clock.now(), &cases)?)?;
        Ok(file.finish()?)
    }

    /// The sums, and how the command ends.
    fn end(&self) -> anyhow::Result<Exit> {
        let [passed, failed, warned] =
            [Standing::Passed, Standing::Failed, Standing::Warned].map(|standing| self.count(standing));
        let output = &self.session.output;
        if self.arguments.json {
            let object = json!({
                "v": FORMAT_VERSION, "type": "summary", "passed": passed, "failed": failed, "warned": warned,
            });
            output.data(&object.to_string())?;
        } else {
            let mut parts = vec![format!("{passed} of {} held", self.findings.len())];
            if failed > 0 {
                parts.push(format!("{failed} failed"));
            }
            if warned > 0 {
                let plural = if warned == 1 { "" } else { "s" };
                parts.push(format!("{warned} warning{plural}"));
            }
            output.talk(&parts.join(" · "));
        }
        if self.has_another_secret() {
            let hint = output.talk_paint.odd("hint:");
            output.talk(&format!(
                "{hint} it refuses what is signed right, so it probably has another secret than the one in use, which \
                 `mbaas-dev secret show` prints"
            ));
        }
        Ok(if failed == 0 { Exit::Done } else { Exit::NotAcknowledged })
    }

    /// Whether the handler refuses the plainest of all events as if it were forged.
    fn has_another_secret(&self) -> bool {
        let of_valid =
            self.findings.iter().find(|finding| finding.rule.probe == Probe::Signed(SignMode::Valid));
        let outcome = of_valid.and_then(Finding::attempt).map(|attempt| &attempt.outcome);
        matches!(outcome, Some(Outcome::Answered(Answer { status: 401 | 403, .. })))
    }
}

/// Why nothing more needs to be tried, where there is nobody to try it on.
fn unreachable(finding: &Finding) -> Option<Unreachable> {
    if exit_of(&finding.sent) != Exit::Unreachable {
        return None;
    }
    let Some((url, Outcome::Failed(failure))) =
        finding.attempt().map(|attempt| (&attempt.target, &attempt.outcome))
    else {
        return None;
    };
    let hint = match failure.kind {
        FailureKind::Timeout => {
            "it has to answer first and work later; `--timeout` says how long it may take, and 0 waits for ever"
        }
        FailureKind::Tls => {
            "`--insecure` takes any certificate; `SSL_CERT_FILE=ca.pem` trusts those that a CA of yours has signed"
        }
        _ => "start the handler, or give the address at which it listens",
    };
    let (url, detail) = (Printable::text(url), Printable::text(&failure.detail));
    Some(Unreachable::new(format!("nothing can be checked at {url}: {detail}"), hint))
}
