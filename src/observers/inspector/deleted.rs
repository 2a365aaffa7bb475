//! What was deleted since a watcher was told: by this page or another, by `prune` or `--keep`, by any process.

use serde_json::json;

use crate::model::FORMAT_VERSION;
use crate::store::{Reader, StoreError, Stretch};

/// How many stretches of deleted numbers are compared; of a record with more, it is only told that some went.
const MOST: usize = 2000;

/// How many numbers are named one by one.
const MOST_NAMED: i64 = 100;

/// What was deleted so far.
#[derive(Debug, Default)]
pub struct Deleted {
    sum: i64,
    stretches: Vec<Stretch>,
}

impl Deleted {
    /// What is deleted by now.
    pub fn so_far(reader: &Reader) -> Result<Self, StoreError> {
        Ok(Self { sum: reader.gone()?, stretches: reader.gone_stretches(MOST)? })
    }

    /// How many deliveries that were.
    pub fn sum(&self) -> i64 {
        self.sum
    }

    /// The line that tells what went since then, if anything did.
    pub fn since(&mut self, reader: &Reader) -> Result<Option<String>, StoreError> {
        if reader.gone()? == self.sum {
            return Ok(None);
        }
        let before = std::mem::replace(self, Self::so_far(reader)?);
        let went = without(&self.stretches, &before.stretches);
        let is_whole = self.stretches.len() < MOST;
        let count: i64 = went.iter().map(|(first, last)| last - first + 1).sum();
        let mut line = json!({ "v": FORMAT_VERSION, "type": "deleted", "gone": self.sum });
        if is_whole && count <= MOST_NAMED {
            line["deleted"] =
                went.iter().flat_map(|(first, last)| *first..=*last).collect::<Vec<i64>>().into();
        } else {
            line["ranges"] = json!(if is_whole { went } else { Vec::new() });
        }
        Ok(Some(line.to_string()))
    }
}

/// What of some stretches is in none of others; both are in order.
fn without(stretches: &[Stretch], others: &[Stretch]) -> Vec<Stretch> {
    let mut left = Vec::new();
    let mut others = others.iter().peekable();
    for (mut first, last) in stretches.iter().copied() {
        while let Some((from, to)) = others.next_if(|other| other.0 <= last) {
            if *from > first {
                left.push((first, from - 1));
            }
            first = first.max(to + 1);
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_what_was_not_gone_before() {
        for (now, before, went) in [
            (&[(1, 9)][..], &[][..], &[(1, 9)][..]),
            (&[(1, 9)], &[(1, 9)], &[]),
            (&[(1, 9)], &[(1, 3), (5, 5)], &[(4, 4), (6, 9)]),
            (&[(1, 9), (12, 12)], &[(2, 9)], &[(1, 1), (12, 12)]),
            (&[(1, 4), (7, 9)], &[(7, 7)], &[(1, 4), (8, 9)]),
            (&[(3, 9)], &[(9, 9)], &[(3, 8)]),
        ] {
            assert_eq!(without(now, before), went, "{now:?} without {before:?}");
        }
    }
}
