//! `mbaas-dev deliveries prune`

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::app::retention::PAUSE;
use crate::cli::Session;
use crate::cli::arguments::{age, size as size_argument};
use crate::cli::report::Exit;
use crate::model::FORMAT_VERSION;
use crate::observers::advice::size;
use crate::store::{Limits, Pruned, Pruner};

/// Delete old deliveries, and give their space on disk back
///
/// What is outside of any limit that is given goes, oldest first, but for what waits for its target. A listen that runs is
/// not held up. Numbers are never given again. `listen --keep` does it by itself.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limits").required(true).multiple(true).args(["older_than", "keep", "max_size", "held"]))]
#[command(after_help = "Examples:\n  mbaas-dev deliveries prune --older-than 7d\n  \
    mbaas-dev deliveries prune --keep 1000 --max-size 500M --dry-run")]
pub struct PruneArgs {
    /// Those that arrived longer ago than this: 12h, 7d, 2w
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// All but the newest N
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
    /// The oldest ones, until the record is not larger: 500M, 1G
    #[arg(long, value_name = "SIZE", value_parser = size_argument)]
    max_size: Option<u64>,
    /// All that wait for their target (`listen --hold`), and will not be sent then
    #[arg(long)]
    held: bool,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &PruneArgs, session: &Session) -> anyhow::Result<Exit> {
    let limits = Limits {
        before: arguments.older_than.map(|age| session.clock.now() - age),
        keep: arguments.keep,
        max_bytes: arguments.max_size,
        held: arguments.held,
    };
    let (mut pruned, mut bytes) = (Pruned::default(), (0, 0));
    if let Some(mut pruner) = Pruner::open(session.state.path(), session.clock.clone())? {
        bytes.0 = pruner.bytes_on_disk();
        pruned = if arguments.dry_run {
            pruner.plan(&limits)?
        } else {
            // Nobody waits for the file unless somebody listens.
            let pause = if session.state.running()?.is_some() { PAUSE } else { Duration::ZERO };
            pruner.prune(&limits, pause, || true)?
        };
        bytes.1 = pruner.bytes_on_disk();
    }
    let line = if arguments.json {
        object(pruned, arguments.dry_run, bytes)
    } else {
        sentence(pruned, arguments.dry_run, bytes)
    };
    session.output.data(&line)?;
    Ok(Exit::Done)
}

fn object(pruned: Pruned, dry_run: bool, (before, after): (u64, u64)) -> String {
    json!({
        "v": FORMAT_VERSION,
        "dry_run": dry_run,
        "deleted": pruned.gone(),
        "by_age": pruned.by_age,
        "by_count": pruned.by_count,
        "by_size": pruned.by_size,
        "by_held": pruned.by_held,
        "left": pruned.left,
        "held": pruned.held,
        "bytes_before": before,
        "bytes_after": (!dry_run).then_some(after),
    })
    .to_string()
}

fn sentence(pruned: Pruned, dry_run: bool, (before, after): (u64, u64)) -> String {
    let plural = if pruned.gone() == 1 { "y" } else { "ies" };
    let (gone, left) = (pruned.gone(), pruned.left);
    let held = match pruned.held {
        0 => String::new(),
        held => format!(", {held} of which wait for their target (`--held` deletes those)"),
    };
    if dry_run {
        return format!(
            "would delete {gone} deliver{plural} · {left} would be left{held} · {} on disk now",
            size(before)
        );
    }
    let (before, after) = (size(before), size(after));
    format!("deleted {gone} deliver{plural} · {left} left{held} · {after} on disk, {before} before")
}
