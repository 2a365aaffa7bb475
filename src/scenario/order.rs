//! The order in which requests are sent, when events are repeated and shuffled.

use super::Faults;

/// One request that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Which event, counting from 0.
    pub event: u32,
    /// No event before this one is sent any more.
    pub since: u32,
}

/// The requests for `count` events: each as often as the faults say, shuffled within their window. `chance` is drawn
/// from 0 to 1, without 1.
pub fn order(count: u32, faults: &Faults, mut chance: impl FnMut() -> f64) -> impl Iterator<Item = Sending> {
    let (copies, size) = (faults.duplicates.saturating_add(1), faults.window.max(1));
    let mut next = 0;
    let mut window: Vec<Sending> = Vec::new();
    std::iter::from_fn(move || {
        if window.is_empty() && next < count {
            let since = next;
            next = count.min(next.saturating_add(size));
            // Backwards, since requests are taken from the end.
            let events = (since..next).rev();
            window.extend(events.flat_map(|event| (0..copies).map(move |_| Sending { event, since })));
            if size > 1 {
                shuffle(&mut window, &mut chance);
            }
        }
        window.pop()
    })
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], chance: &mut impl FnMut() -> f64) {
    for last in (1..items.len()).rev() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "an index into a window, which is small"
        )]
        let other = (chance() * (last + 1) as f64) as usize;
        items.swap(last, other.min(last));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Clock;

    fn events(count: u32, faults: &Faults, seed: u64) -> Vec<u32> {
        let clock = Clock::fixed(jiff::Timestamp::UNIX_EPOCH, seed);
        order(count, faults, || clock.chance()).map(|sending| sending.event).collect()
    }

    #[test]
    fn without_faults_each_event_is_sent_once_in_its_turn() {
        assert_eq!(events(4, &Faults::default(), 1), [0, 1, 2, 3]);
        let twice = Faults { duplicates: 1, ..Faults::default() };
        assert_eq!(events(3, &twice, 1), [0, 0, 1, 1, 2, 2]);
        assert_eq!(order(u32::MAX, &twice, || 0.5).take(3).count(), 3, "nothing is made before it is needed");
    }

    #[test]
    fn a_thousand_seeds_give_every_order_of_a_window() {
        let faults = Faults { window: 3, ..Faults::default() };
        let orders: std::collections::BTreeSet<Vec<u32>> =
            (0..1000).map(|seed| events(3, &faults, seed)).collect();
        assert_eq!(orders.len(), 6);
        assert_eq!(events(9, &faults, 7), events(9, &faults, 7));
    }

    proptest! {
        #[test]
        fn everything_is_sent_as_often_as_asked_and_within_its_window(
            count in 0_u32..60, duplicates in 0_u32..4, window in 0_u32..12, seed: u64,
        ) {
            let faults = Faults { duplicates, window, ..Faults::default() };
            let clock = Clock::fixed(jiff::Timestamp::UNIX_EPOCH, seed);
            let sent: Vec<Sending> = order(count, &faults, || clock.chance()).collect();
            prop_assert_eq!(sent.len(), (count * (duplicates + 1)) as usize);
            let mut events: Vec<u32> = sent.iter().map(|sending| sending.event).collect();
            for (place, sending) in (0..).zip(&sent) {
                prop_assert!(sending.since <= sending.event);
                let size = window.max(1);
                prop_assert_eq!(sending.event / size, place / (size * (duplicates + 1)));
                prop_assert!(sent[..place as usize].iter().all(|before| before.since <= sending.since));
            }
            events.sort_unstable();
            let expected: Vec<u32> = (0..count).flat_map(|event| vec![event; duplicates as usize + 1]).collect();
            prop_assert_eq!(events, expected);
        }
    }
}
