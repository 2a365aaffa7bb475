//! `mbaas-dev deliveries diff`

use clap::Args;

use crate::cli::Session;
use crate::cli::output::Volume;
use crate::cli::report::Exit;
use crate::cli::selection::{find, selector};
use crate::model::Delivery;
use crate::observers::difference::{
    Detail, OutcomeDifference, RequestDifference, header_lines, object, outcome_lines, request_lines,
};
use crate::observers::terminal;
use crate::store::Selector;

/// Show what is different between two recorded deliveries
///
/// Compares methods, paths, headers and bodies. Bodies that are both JSON are compared by structure: the order of keys
/// and the way numbers are written do not matter, and an item put into an array is one difference. Other text is
/// compared by lines. `-` stands before what only the first has, `+` before what only the second has, `~` before what
/// changed. Nothing is printed when they are the same; the exit code is 0 in either case (`--json` says `"same"`).
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The first one: dlv_…, 12 or '#12'
    #[arg(value_name = "A", value_parser = selector)]
    from: Selector,
    /// The second one
    #[arg(value_name = "B", value_parser = selector)]
    to: Selector,
    /// Compare what the handler answered instead: status, latency, headers and body of the newest attempts
    #[arg(long)]
    answers: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &DiffArgs, session: &Session) -> anyhow::Result<Exit> {
    let from = find(&session.state, &arguments.from)?;
    let to = find(&session.state, &arguments.to)?;
    let (output, paint) = (&session.output, session.output.paint);
    let detail = detail(session);
    let (value, is_same, lines) = if arguments.answers {
        let difference = OutcomeDifference::between(from.delivery.last_attempt(), to.delivery.last_attempt());
        let mut lines = outcome_lines(&difference, detail, paint);
        lines.extend(header_lines(&difference.headers, detail, paint));
        (difference.to_value(), difference.is_none(), lines)
    } else {
        let difference = RequestDifference::between(&from.request, &to.request);
        (difference.to_value(), difference.is_none(), request_lines(&difference, detail, paint))
    };
    if arguments.json {
        output.data(&object(&from.delivery, &to.delivery, arguments.answers, value).to_string())?;
        return Ok(Exit::Done);
    }
    // Latency differs from time to time, so it is shown even when nothing else does.
    if is_same && !arguments.answers {
        output.talk("no difference: method, path, headers and body are the same");
        return Ok(Exit::Done);
    }
    output.data(&paint.bad(format!("- {}", title(&from.delivery, session))))?;
    output.data(&paint.good(format!("+ {}", title(&to.delivery, session))))?;
    lines.iter().try_for_each(|line| output.data(line))?;
    Ok(Exit::Done)
}

/// How much of values is shown: all of them with `--verbose`.
pub fn detail(session: &Session) -> Detail {
    if session.output.volume >= Volume::Verbose { Detail::Whole } else { Detail::Glance }
}

fn title(delivery: &Delivery, session: &Session) -> String {
    let received = delivery.received_at.to_zoned_datetime(session.clock.zone());
    let received = received.strftime("%Y-%m-%d %H:%M:%S%.3f");
    format!("#{}  {}  {received}", delivery.number, terminal::name(delivery))
}
