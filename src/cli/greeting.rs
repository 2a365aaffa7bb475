//! What `listen` says at its start.

use std::net::IpAddr;
use std::path::Path;

use super::Session;
use super::output::Output;
use crate::app::endpoints::Endpoint;
use crate::app::secret::ChosenSecret;
use crate::model::Printable;
use crate::sources::routing::Routes;

/// Says where it listens, where it forwards and where the secret came from.
pub fn greet(
    output: &Output,
    (ingress, bound): (&str, IpAddr),
    inspector: Option<&str>,
    (routes, endpoints): (&Routes, &[Endpoint]),
    secret: &ChosenSecret,
) {
    let paint = output.talk_paint;
    output.talk(&format!("{} {}", paint.strong("mbaas-dev listen"), env!("CARGO_PKG_VERSION")));
    output.talk(&format!("  listening   {}", paint.good(ingress)));
    if !bound.is_loopback() {
        output.talk(&format!("              other hosts are let in as well (--bind {bound})"));
    }
    // Routes of endpoints come last, one for each.
    let of_flags = routes.special.len().saturating_sub(endpoints.len());
    for (at, (filter, target)) in routes.special.iter().enumerate() {
        let endpoint = at.checked_sub(of_flags).and_then(|at| endpoints.get(at));
        let events = if filter.to_string().is_empty() { "all else".to_owned() } else { filter.to_string() };
        output.talk(&match target {
            Some(target) => format!("  forwarding  {target}  {filter}").trim_end().to_owned(),
            None if endpoint.is_some_and(|endpoint| endpoint.enabled) => {
                format!(
                    "  recording   {events}: its host is another one, which needs --forward localhost:3000"
                )
            }
            None => format!("  recording   {events}: its endpoint is disabled"),
        });
    }
    match &routes.default {
        Some(target) => output.talk(&format!("  forwarding  {target}")),
        None if routes.special.is_empty() => {
            output.talk("  forwarding  nowhere: deliveries are recorded only (--forward localhost:3000)");
        }
        None => {}
    }
    if let Some(entrance) = inspector {
        output.talk(&format!("  inspector   {}", paint.good(entrance)));
    }
    output.talk(&format!("  secret      from {} (`mbaas-dev secret show` prints it)", secret.source));
    for (contract, key) in secret.keys.by_contract() {
        output.talk(&format!("  secret      for {contract} from {}", key.origin));
    }
}

/// Says which folder of fixtures is watched, and what is the matter with it.
pub fn fixtures(session: &Session, folder: Option<&Path>) {
    let Some(folder) = folder else { return };
    let name = folder.strip_prefix(&session.folder).unwrap_or(folder).display().to_string();
    let name = Printable::text(&name);
    session.output.talk(&match std::fs::metadata(folder) {
        Ok(about) if about.is_dir() => format!("  fixtures    {name}"),
        Ok(_) => format!("  fixtures    {name} is no folder: nothing is fired until it is"),
        Err(_) => {
            format!("  fixtures    {name} is not there yet (`mbaas-dev fixtures init {name}` makes it)")
        }
    });
}

/// Says what there is to try, or to know, in this project.
pub fn project(output: &Output, is_found: bool, left: usize, holds: bool) {
    output.talk(&if is_found {
        let command = output.talk_paint.strong("mbaas-dev trigger meeting.completed");
        format!("  try         {command}")
    } else {
        "  note        another listen of this project runs: `trigger` goes to that one".to_owned()
    });
    if left > 0 {
        let plural = if left == 1 { "y" } else { "ies" };
        let what = if holds { "they are sent on now" } else { "`mbaas-dev replay --failed` sends them" };
        output.talk(&format!("  note        {left} deliver{plural} of an earlier run had no answer: {what}"));
    }
}
