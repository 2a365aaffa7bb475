//! What was asked for in vain: globs that match no event type that is known, most likely mistyped ones, and endpoints that
//! an earlier one takes events from.

use super::output::Output;
use crate::app::endpoints::Endpoint;
use crate::fixture::Catalogue;
use crate::model::{EventFilter, EventType, Target, Trouble, nearest};

/// What there is to say about them, by the options that they were given with.
pub fn in_vain<'a>(
    given: impl IntoIterator<Item = (&'static str, &'a EventFilter)>,
    catalogue: &Catalogue,
) -> Vec<Trouble> {
    let known = known(catalogue);
    let globs = |(option, filter): (_, &EventFilter)| {
        filter.in_vain(&known).into_iter().map(move |glob| (option, glob))
    };
    given.into_iter().flat_map(globs).map(|(option, glob)| trouble(option, &glob, &known)).collect()
}

/// The events that an endpoint lists and does not get, since an earlier one takes them.
pub fn taken(endpoints: &[Endpoint], catalogue: &Catalogue) -> Vec<Trouble> {
    let mut known = known(catalogue);
    known.sort_unstable();
    known.dedup();
    let fits = |endpoint: &Endpoint, event: &EventType| {
        endpoint.events.as_ref().is_none_or(|events| events.matches(Some(event)))
    };
    let mut taken = Vec::new();
    let lists = |endpoint: &Endpoint| endpoint.enabled && endpoint.events.is_some();
    for (at, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| lists(endpoint)) {
        let listed: Vec<&EventType> = known.iter().filter(|event| fits(endpoint, event)).collect();
        for (earlier, other) in endpoints[..at].iter().enumerate() {
            let is_first = |event: &EventType| !endpoints[..earlier].iter().any(|first| fits(first, event));
            let names = listed.iter().filter(|event| fits(other, event) && is_first(event));
            let names: Vec<String> = names.map(|event| format!("`{event}`")).collect();
            if !names.is_empty() {
                taken.push(Trouble {
                    code: "taken",
                    message: format!(
                        "endpoint {} of webhook_config.json does not get {}: endpoint {} does",
                        endpoint.number,
                        names.join(", "),
                        other.number
                    ),
                    hint: "a delivery goes to the first endpoint that it fits, and to that one only"
                        .to_owned(),
                });
            }
        }
    }
    taken
}

/// What `--forward` says and does not count for, beside the endpoints of the file.
pub fn forward_in_vain(forward: Option<&Target>, endpoints: &[Endpoint]) -> Option<Trouble> {
    let forward = forward.filter(|_| !endpoints.is_empty())?;
    let message = if endpoints.iter().all(|endpoint| endpoint.local.is_some()) {
        format!(
            "nothing goes to {forward}: each endpoint of webhook_config.json names a handler on this machine itself"
        )
    } else if forward.path_for("/") == "/" {
        return None;
    } else {
        "the path of --forward does not count: webhook_config.json says the paths at the handler".to_owned()
    };
    let hint = "an empty file, `[]`, given with `--config` leaves everything to --forward".to_owned();
    Some(Trouble { code: "forward", message, hint })
}

/// Says it to people, as a part of the greeting; a hint that several have once.
pub fn warn(output: &Output, in_vain: &[Trouble]) {
    let warning = output.talk_paint.odd("warning");
    for alike in in_vain.chunk_by(|one, next| one.hint == next.hint) {
        for trouble in alike {
            output.talk(&format!("  {warning}     {}", trouble.message));
        }
        output.talk(&format!("              {}", alike[0].hint));
    }
}

fn known(catalogue: &Catalogue) -> Vec<EventType> {
    catalogue.entries().map(|entry| entry.name.event_type.clone()).collect()
}

fn trouble(option: &str, glob: &str, known: &[EventType]) -> Trouble {
    let names = known.iter().map(EventType::as_str);
    let families: Vec<String> =
        names.clone().filter_map(|name| Some(format!("{}.*", name.split_once('.')?.0))).collect();
    let nearest = if glob.contains(['*', '?']) {
        nearest(glob, families.iter().map(String::as_str))
    } else {
        nearest(glob, names)
    };
    let nearest = nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
    Trouble {
        code: "unknown_event",
        message: format!("no known event matches `{glob}` of {option}{nearest}"),
        // An event may be newer than this program.
        hint: "it counts all the same; `mbaas-dev events list` shows what is known".to_owned(),
    }
}
