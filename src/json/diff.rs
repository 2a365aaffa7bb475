//! What is different between two values, place by place.

use super::align::{Pair, align};
use super::{Json, Path};

/// One difference. Paths are those of the second value, but for what only the first has.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Only the second value has it.
    Added {
        /// Where.
        path: Path,
        /// What.
        value: Json,
    },
    /// Only the first value has it.
    Removed {
        /// Where in the first.
        path: Path,
        /// What.
        value: Json,
    },
    /// Both have something else there.
    Changed {
        /// Where.
        path: Path,
        /// In the first.
        from: Json,
        /// In the second.
        to: Json,
    },
}

/// Every difference between two values, in the order of the first one; what was added to an object comes last in it.
///
/// Numbers are equal when JavaScript holds them for equal (`1` and `1.0`), and the order of keys is none. Items of
/// arrays that stayed are told from those that were put in or taken out, so that one more item is one difference.
#[must_use]
pub fn diff(from: &Json, to: &Json) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(from, to, &Place::default(), &mut changes);
    changes
}

/// Where the comparison is, in both values: after an insertion, items of arrays stand elsewhere in each.
#[derive(Clone, Default)]
struct Place {
    in_from: Path,
    in_to: Path,
}

fn compare(from: &Json, to: &Json, place: &Place, changes: &mut Vec<Change>) {
    match (from, to) {
        (Json::Object(a), Json::Object(b)) => {
            // What is equal needs no path; most of two bodies is.
            for (key, value) in a.iter().filter(|(key, value)| b.get(*key) != Some(*value)) {
                let here = Place {
                    in_from: place.in_from.child_key(key.clone()),
                    in_to: place.in_to.child_key(key.clone()),
                };
                match b.get(key) {
                    Some(other) => compare(value, other, &here, changes),
                    None => changes.push(Change::Removed { path: here.in_from, value: value.clone() }),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                let path = place.in_to.child_key(key.clone());
                changes.push(Change::Added { path, value: value.clone() });
            }
        }
        (Json::Array(a), Json::Array(b)) => {
            for pair in align(a, b) {
                match pair {
                    Pair::Both(i, j) if a[i] == b[j] => {}
                    Pair::Both(i, j) => {
                        let here = Place {
                            in_from: place.in_from.child_index(i),
                            in_to: place.in_to.child_index(j),
                        };
                        compare(&a[i], &b[j], &here, changes);
                    }
                    Pair::Left(i) => {
                        let path = place.in_from.child_index(i);
                        changes.push(Change::Removed { path, value: a[i].clone() });
                    }
                    Pair::Right(j) => {
                        let path = place.in_to.child_index(j);
                        changes.push(Change::Added { path, value: b[j].clone() });
                    }
                }
            }
        }
        (from, to) if from == to => {}
        (from, to) => {
            let path = place.in_to.clone();
            changes.push(Change::Changed { path, from: from.clone(), to: to.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(source: &str) -> Json {
        Json::parse(source.as_bytes()).unwrap()
    }

    /// The differences as lines: `+` added, `-` removed, `~` changed.
    fn lines(from: &str, to: &str) -> Vec<String> {
        let line = |change| match change {
            Change::Added { path, value } => format!("+ {path} {}", value.to_canonical()),
            Change::Removed { path, value } => format!("- {path} {}", value.to_canonical()),
            Change::Changed { path, from, to } => {
                format!("~ {path} {} {}", from.to_canonical(), to.to_canonical())
            }
        };
        diff(&parse(from), &parse(to)).into_iter().map(line).collect()
    }

    #[test]
    fn what_javascript_cannot_tell_apart_is_equal() {
        for (a, b) in [
            (r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1e0}"#),
            ("[0]", "[-0]"),
            (r#""\u0041/""#, r#""A\/""#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert_eq!(lines(a, b), Vec::<String>::new(), "{a} {b}");
        }
    }

    #[test]
    fn each_difference_has_its_path_and_both_values() {
        assert_eq!(lines("1", r#""1""#), [r#"~ . 1 "1""#]);
        assert_eq!(
            lines(
                r#"{"event":"failed","data":{"error":"a","odd key":null,"n":[1,2,3]}}"#,
                r#"{"event":"failed","data":{"error":"b","n":[1,3,4],"mp4":"u"}}"#
            ),
            [
                r#"~ data.error "a" "b""#,
                r#"- data["odd key"] null"#,
                "- data.n[1] 2",
                "+ data.n[2] 4",
                r#"+ data.mp4 "u""#,
            ]
        );
    }

    #[test]
    fn an_item_that_was_put_in_is_one_difference() {
        let before = r#"[{"w":"a","t":1},{"w":"b","t":2},{"w":"c","t":3}]"#;
        let after = r#"[{"w":"new","t":0},{"w":"a","t":1},{"w":"b","t":9},{"w":"c","t":3}]"#;
        assert_eq!(lines(before, after), [r#"+ [0] {"w":"new","t":0}"#, "~ [2].t 2 9"]);
        assert_eq!(lines(after, before), [r#"- [0] {"w":"new","t":0}"#, "~ [1].t 9 2"]);
    }

    #[test]
    fn the_deepest_values_are_compared() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(512), "]".repeat(512));
        assert_eq!(lines(&deep("1"), &deep("1")).len(), 0);
        assert_eq!(lines(&deep("1"), &deep("2")).len(), 1);
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            (0..5_u8).prop_map(|n| Json::Number(f64::from(n))),
            "[ab]{0,2}".prop_map(|text| Json::string(&text)),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                proptest::collection::vec(("[abc]", inner), 0..4).prop_map(|members| {
                    Json::Object(members.into_iter().map(|(k, v)| (k.as_str().into(), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn there_is_a_difference_exactly_when_values_are_not_equal(a in any_json(), b in any_json()) {
            prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
            prop_assert!(diff(&a, &a).is_empty());
        }

        #[test]
        fn paths_lead_to_the_values(a in any_json(), b in any_json()) {
            for change in diff(&a, &b) {
                match change {
                    Change::Added { path, value } => prop_assert_eq!(b.at(&path), Some(&value)),
                    Change::Removed { path, value } => prop_assert_eq!(a.at(&path), Some(&value)),
                    Change::Changed { path, from, to } => {
                        prop_assert_eq!(b.at(&path), Some(&to));
                        prop_assert_ne!(from, to);
                    }
                }
            }
        }
    }
}
