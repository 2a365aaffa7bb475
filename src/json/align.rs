//! Which items of two arrays belong together, so that one that was put in does not make all after it look changed.
//!
//! Equal items in the same order stay together (the longest such sequence); between two of them, items that share most
//! of their members do; and where both sides have equally many left, each goes with the one in its place.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::Json;

/// How many items that occur on both sides are put in order at most; with more, arrays are compared by position.
const MOST_COMMON: usize = 20_000;

/// How many pairs of items are tried for likeness at most; with more, they are paired by position.
const MOST_PAIRS: usize = 10_000;

/// An item of the first array, one of the second, or one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// Only the first has it.
    Left(usize),
    /// Only the second has it.
    Right(usize),
    /// Both have it, equal or changed.
    Both(usize, usize),
}

/// Pairs the items of two arrays, in order.
pub(super) fn align(left: &[Json], right: &[Json]) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(left.len().max(right.len()));
    let (mut from, mut to) = (0, 0);
    for (i, j) in anchors(left, right).into_iter().chain([(left.len(), right.len())]) {
        between(left, from..i, right, to..j, &mut pairs);
        if i < left.len() {
            pairs.push(Pair::Both(i, j));
        }
        (from, to) = (i + 1, j + 1);
    }
    pairs
}

/// Equal items that keep their order: common beginning, longest common sequence of the rest, common end.
fn anchors(left: &[Json], right: &[Json]) -> Vec<(usize, usize)> {
    let start = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let rest = (&left[start..], &right[start..]);
    let end = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let hashes = |items: &[Json]| -> Vec<u64> { items[start..items.len() - end].iter().map(hash).collect() };
    let (a, b) = (hashes(left), hashes(right));
    let middle = common(&a, &b).into_iter().map(|(i, j)| (i + start, j + start));
    let middle = middle.filter(|(i, j)| left[*i] == right[*j]);
    let tail = (0..end).rev().map(|back| (left.len() - 1 - back, right.len() - 1 - back));
    (0..start).map(|i| (i, i)).chain(middle).chain(tail).collect()
}

/// The longest common sequence of two lists of hashes, as pairs of places.
fn common(a: &[u64], b: &[u64]) -> Vec<(usize, usize)> {
    // What occurs on one side only cannot be common; without it, lists that differ throughout cost nothing.
    let only_shared = |list: &[u64], other: &[u64]| -> (Vec<usize>, Vec<u64>) {
        let other: HashSet<u64> = other.iter().copied().collect();
        list.iter().copied().enumerate().filter(|(_, hash)| other.contains(hash)).unzip()
    };
    let ((places_a, a), (places_b, b)) = (only_shared(a, b), only_shared(b, a));
    if a.len() + b.len() > MOST_COMMON {
        return Vec::new();
    }
    let operations = capture_diff_slices(Algorithm::Myers, &a, &b);
    let equal = operations.into_iter().filter(|operation| operation.tag() == DiffTag::Equal);
    equal
        .flat_map(|operation| operation.old_range().zip(operation.new_range()))
        .map(|(i, j)| (places_a[i], places_b[j]))
        .collect()
}

/// Equal values have equal hashes, whatever the order of keys.
fn hash(value: &Json) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.kind().hash(&mut hasher);
    match value {
        Json::Null => {}
        Json::Bool(truth) => truth.hash(&mut hasher),
        // The two zeros are equal.
        Json::Number(number) => (number + 0.0).to_bits().hash(&mut hasher),
        Json::String(text) => text.hash(&mut hasher),
        Json::Array(items) => items.iter().for_each(|item| hash(item).hash(&mut hasher)),
        Json::Object(members) => {
            let member = |(key, value)| {
                let mut hasher = DefaultHasher::new();
                (key, hash(value)).hash(&mut hasher);
                hasher.finish()
            };
            members.iter().map(member).fold(0, u64::wrapping_add).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Pairs what lies between two anchors.
fn between(
    left: &[Json],
    of_left: std::ops::Range<usize>,
    right: &[Json],
    of_right: std::ops::Range<usize>,
    pairs: &mut Vec<Pair>,
) {
    let (rows, columns) = (of_left.len(), of_right.len());
    let matched = if rows != columns && rows * columns <= MOST_PAIRS {
        by_likeness(&left[of_left.clone()], &right[of_right.clone()])
    } else {
        (0..rows.min(columns)).map(|place| (place, place)).collect()
    };
    let (mut i, mut j) = (0, 0);
    for (to_i, to_j) in matched.into_iter().chain([(rows, columns)]) {
        pairs.extend((i..to_i).map(|i| Pair::Left(of_left.start + i)));
        pairs.extend((j..to_j).map(|j| Pair::Right(of_right.start + j)));
        if to_i < rows {
            pairs.push(Pair::Both(of_left.start + to_i, of_right.start + to_j));
        }
        (i, j) = (to_i + 1, to_j + 1);
    }
}

/// The pairs, in order, that are most alike on the whole.
fn by_likeness(left: &[Json], right: &[Json]) -> Vec<(usize, usize)> {
    let columns = right.len() + 1;
    let likeness: Vec<u32> = left.iter().flat_map(|a| right.iter().map(move |b| likeness(a, b))).collect();
    let of_pair = |i: usize, j: usize| likeness[i * right.len() + j];
    // `best[i * columns + j]`: the most that the items from `i` and `j` on can have in common.
    let mut best = vec![0_u32; (left.len() + 1) * columns];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            let paired = best[(i + 1) * columns + j + 1].saturating_add(of_pair(i, j));
            let skipped = best[(i + 1) * columns + j].max(best[i * columns + j + 1]);
            best[i * columns + j] = paired.max(skipped);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < left.len() && j < right.len() {
        let here = best[i * columns + j];
        if of_pair(i, j) > 0 && here == best[(i + 1) * columns + j + 1].saturating_add(of_pair(i, j)) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if here == best[(i + 1) * columns + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// How much two items have in common: 1 for being of one kind, and more for equal members of two objects.
fn likeness(a: &Json, b: &Json) -> u32 {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            let equal = a.iter().filter(|(key, value)| b.get(*key) == Some(*value)).count();
            let shares = equal * 100 / a.len().max(b.len()).max(1);
            1 + u32::try_from(shares).unwrap_or(100)
        }
        _ => u32::from(a.kind() == b.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::Pair::{Both, Left, Right};
    use super::*;

    fn items(source: &str) -> Vec<Json> {
        Json::parse(source.as_bytes()).unwrap().as_array().unwrap().to_vec()
    }

    fn aligned(left: &str, right: &str) -> Vec<Pair> {
        align(&items(left), &items(right))
    }

    #[test]
    fn what_is_equal_stays_together() {
        assert_eq!(aligned("[]", "[]"), []);
        assert_eq!(aligned("[1,2,3]", "[1,3]"), [Both(0, 0), Left(1), Both(2, 1)]);
        assert_eq!(aligned("[1,2]", "[0,1,2]"), [Right(0), Both(0, 1), Both(1, 2)]);
        assert_eq!(aligned("[1]", "[1,1,1]"), [Both(0, 0), Right(1), Right(2)]);
        assert_eq!(aligned("[{\"a\":1,\"b\":2},9]", "[7,{\"b\":2.0,\"a\":1}]").len(), 3);
    }

    #[test]
    fn what_changed_goes_with_what_it_was() {
        assert_eq!(aligned("[1,2,3]", "[1,5,3]"), [Both(0, 0), Both(1, 1), Both(2, 2)]);
        let people = |names: &[(&str, u8)]| -> String {
            let people: Vec<_> =
                names.iter().map(|(name, age)| format!(r#"{{"name":"{name}","age":{age}}}"#)).collect();
            format!("[{}]", people.join(","))
        };
        let (before, after) = (people(&[("Ana", 1), ("Bo", 2)]), people(&[("Ana", 9), ("Cy", 3), ("Bo", 8)]));
        assert_eq!(aligned(&before, &after), [Both(0, 0), Right(1), Both(1, 2)]);
        assert_eq!(aligned(&after, &before), [Both(0, 0), Left(1), Both(2, 1)]);
    }

    #[test]
    fn long_arrays_that_differ_throughout_take_no_time() {
        let left: Vec<Json> = (0..100_000).map(|n| Json::Number(f64::from(n))).collect();
        let right: Vec<Json> = (0..100_000).map(|n| Json::Number(f64::from(n) + 0.5)).collect();
        assert_eq!(align(&left, &right).len(), 100_000);
        let bits = |seed: u64| -> Vec<Json> {
            (0..100_000_u64).map(|n| Json::Bool((n * n * 31 + seed) % 7 > 3)).collect()
        };
        assert!(align(&bits(1), &bits(2)).len() >= 100_000);
    }
}
