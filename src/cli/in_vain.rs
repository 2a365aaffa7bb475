//! Globs that match no event type that is known: most likely somebody mistyped them.

use super::output::Output;
use crate::fixture::Catalogue;
use crate::model::{EventFilter, EventType, Trouble, nearest};

/// What there is to say about them, by the options that they were given with.
pub fn in_vain<'a>(
    given: impl IntoIterator<Item = (&'static str, &'a EventFilter)>,
    catalogue: &Catalogue,
) -> Vec<Trouble> {
    let known: Vec<EventType> = catalogue.entries().map(|entry| entry.name.event_type.clone()).collect();
    let globs = |(option, filter): (_, &EventFilter)| {
        filter.in_vain(&known).into_iter().map(move |glob| (option, glob))
    };
    given.into_iter().flat_map(globs).map(|(option, glob)| trouble(option, &glob, &known)).collect()
}

/// Says it to people, as a part of the greeting.
pub fn warn(output: &Output, in_vain: &[Trouble]) {
    let warning = output.talk_paint.odd("warning");
    for trouble in in_vain {
        output.talk(&format!("  {warning}     {}", trouble.message));
    }
    if let Some(Trouble { hint, .. }) = in_vain.last() {
        output.talk(&format!("              {hint}"));
    }
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
