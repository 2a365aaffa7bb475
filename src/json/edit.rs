//! Looking up, setting and removing the value at a path.

use indexmap::IndexMap;

use super::path::{Path, Segment};
use super::path_error::PathError;
use super::{Json, Text};

/// How many of the existing keys a message names.
const NAMED: usize = 3;

impl Json {
    /// The value at this path, if there is one.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Json> {
        let mut segments = path.segments().iter();
        segments.try_fold(self, |here, segment| match (here, segment) {
            (Self::Object(members), Segment::Key(key)) => members.get(key),
            (Self::Array(items), _) => items.get(item_index(items.len(), segment)?),
            _ => None,
        })
    }

    /// Puts a value at this path. What is missing on the way is created; an index equal to the length of an
    /// array appends to it. After an error nothing has changed.
    ///
    /// # Errors
    ///
    /// When the path leads into a value that cannot have such a key or item.
    pub fn set(&mut self, path: &Path, value: Json) -> Result<(), PathError> {
        let mut here = self;
        for (done, segment) in path.segments().iter().enumerate() {
            here = match (here, segment) {
                (Self::Object(members), Segment::Key(key)) => {
                    let Some(place) = members.get_index_of(key) else {
                        members.insert(key.clone(), wrapped(path, done + 1, value)?);
                        return Ok(());
                    };
                    &mut members[place]
                }
                (Self::Array(items), Segment::Index(index)) if *index == items.len() => {
                    items.push(wrapped(path, done + 1, value)?);
                    return Ok(());
                }
                (Self::Array(items), Segment::Index(_) | Segment::FromEnd(_)) => {
                    match item_index(items.len(), segment) {
                        Some(index) => &mut items[index],
                        None => return Err(beyond(path, done, items.len())),
                    }
                }
                (other, _) => return Err(wrong_kind(other, path, done)),
            };
        }
        *here = value;
        Ok(())
    }

    /// Removes the value at this path with its key, or with its place in the array. The rest keeps its order.
    ///
    /// # Errors
    ///
    /// When there is no such value, and when the path is that of the whole.
    pub fn unset(&mut self, path: &Path) -> Result<(), PathError> {
        let Some(last) = path.segments().len().checked_sub(1) else {
            return Err(PathError::Whole);
        };
        let mut here = self;
        for done in 0..last {
            let place = place_of_child(here, path, done)?;
            here = match here {
                Self::Object(members) => &mut members[place],
                Self::Array(items) => &mut items[place],
                _ => unreachable!("what has a child is an object or an array"),
            };
        }
        let place = place_of_child(here, path, last)?;
        match here {
            Self::Object(members) => drop(members.shift_remove_index(place)),
            Self::Array(items) => drop(items.remove(place)),
            _ => unreachable!("what has a child is an object or an array"),
        }
        Ok(())
    }
}

/// The index of the item that the segment means, if the array has it.
fn item_index(length: usize, segment: &Segment) -> Option<usize> {
    match segment {
        Segment::Key(_) => None,
        Segment::Index(index) => (*index < length).then_some(*index),
        Segment::FromEnd(distance) => length.checked_sub(*distance),
    }
}

/// Which of the children of `here` the segment after the first `done` ones means.
fn place_of_child(here: &Json, path: &Path, done: usize) -> Result<usize, PathError> {
    match (here, &path.segments()[done]) {
        (Json::Object(members), Segment::Key(key)) => {
            members.get_index_of(key).ok_or_else(|| no_key(members, path, done, key))
        }
        (Json::Array(items), segment @ (Segment::Index(_) | Segment::FromEnd(_))) => {
            item_index(items.len(), segment).ok_or_else(|| PathError::NoItem {
                at: path.first(done),
                length: items.len(),
                segment: segment.clone(),
            })
        }
        _ => Err(wrong_kind(here, path, done)),
    }
}

/// The value in all that the segments from `from` on need around it.
fn wrapped(path: &Path, from: usize, value: Json) -> Result<Json, PathError> {
    let mut value = value;
    for (done, segment) in path.segments().iter().enumerate().skip(from).rev() {
        value = match segment {
            Segment::Key(key) => Json::Object(IndexMap::from([(key.clone(), value)])),
            Segment::Index(0) => Json::Array(vec![value]),
            Segment::Index(_) | Segment::FromEnd(_) => return Err(beyond(path, done, 0)),
        };
    }
    Ok(value)
}

fn wrong_kind(here: &Json, path: &Path, done: usize) -> PathError {
    PathError::WrongKind { at: path.first(done), kind: here.kind(), segment: path.segments()[done].clone() }
}

fn beyond(path: &Path, done: usize, length: usize) -> PathError {
    PathError::Beyond { at: path.first(done), length, segment: path.segments()[done].clone() }
}

fn no_key(members: &IndexMap<Text, Json>, path: &Path, done: usize, key: &Text) -> PathError {
    let mut nearest: Vec<_> = members.keys().collect();
    nearest.sort_by_cached_key(|candidate| strsim::osa_distance(key.escaped(), candidate.escaped()));
    PathError::NoKey {
        at: path.first(done),
        key: key.clone(),
        nearest: nearest.into_iter().take(NAMED).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Json, Path};
    use crate::json::write::tests::{any_json, any_text};

    const BODY: &str = r#"{"data":{"bot_id":"b","bot_name":"n","words":[1,2,3],"none":null},"event":"x"}"#;

    fn body() -> Json {
        Json::parse(BODY.as_bytes()).expect("the sample is well formed")
    }

    fn path(source: &str) -> Path {
        source.parse().expect("the sample is a path")
    }

    fn after_set(target: &str) -> String {
        let mut body = body();
        body.set(&path(target), Json::Bool(true)).expect("the path fits");
        body.to_canonical()
    }

    fn set_error(target: &str) -> String {
        let mut changed = body();
        let error = changed.set(&path(target), Json::Null).expect_err("the path does not fit");
        assert_eq!(changed.to_canonical(), BODY, "after an error nothing has changed");
        error.to_string()
    }

    fn unset_error(target: &str) -> String {
        let mut changed = body();
        let error = changed.unset(&path(target)).expect_err("there is no such value");
        assert_eq!(changed.to_canonical(), BODY, "after an error nothing has changed");
        error.to_string()
    }

    #[test]
    fn at_finds_what_is_there() {
        let body = body();
        let at = |target: &str| body.at(&path(target)).map(Json::to_canonical);
        assert_eq!(at(".").as_deref(), Some(BODY));
        assert_eq!(at("data.words[1]").as_deref(), Some("2"));
        assert_eq!(at("data.words[-1]").as_deref(), Some("3"));
        assert_eq!(at(r#"["event"]"#).as_deref(), Some(r#""x""#));
        for missing in ["date", "data.words[3]", "data.words[-4]", "data[0]", "event.x", "data.words.x"] {
            assert_eq!(at(missing), None, "{missing}");
        }
    }

    #[test]
    fn set_replaces_in_place_and_adds_at_the_end() {
        for (target, from, to) in [
            ("data.bot_id", r#""b""#, "true"),
            ("data.words[-2]", "1,2,3", "1,true,3"),
            ("data.words[3]", "1,2,3", "1,2,3,true"),
            ("data.words[3].a", "1,2,3", r#"1,2,3,{"a":true}"#),
            ("data.none", "null", "true"),
            ("data.extra.a[0].b", r#""none":null"#, r#""none":null,"extra":{"a":[{"b":true}]}"#),
            (".", BODY, "true"),
        ] {
            assert_eq!(after_set(target), BODY.replace(from, to), "{target}");
        }
    }

    #[test]
    fn set_says_what_is_in_the_way() {
        for (target, expected) in [
            ("data.bot_id.x", "`data.bot_id` is a string, so it has no key `x`"),
            ("data.none.x", "`data.none` is null, so it has no key `x`"),
            ("event[0]", "`event` is a string, so it has no item `[0]`"),
            ("data.words[0].a.b", "`data.words[0]` is a number, so it has no key `a`"),
            ("data.words.x", "`data.words` is an array, so it has no key `x`; its items are `[0]` to `[-1]`"),
            (
                "[0]",
                "the whole (`.`) is an object, so it has no item `[0]`; its keys are written `.key` or `[\"key\"]`",
            ),
            ("data.words[7]", "`data.words` has 3 items, so there is no item `[7]`; `[3]` appends one"),
            ("data.words[-4].x", "`data.words` has 3 items, so there is no item `[-4]`; `[3]` appends one"),
            (
                "data.extra.a[-1]",
                "`data.extra.a` has no items, so there is no item `[-1]`; `[0]` appends one",
            ),
        ] {
            assert_eq!(set_error(target), expected);
        }
    }

    #[test]
    fn unset_keeps_the_order_of_the_rest() {
        for (target, from) in [
            ("data.bot_id", r#""bot_id":"b","#),
            ("data.words[0]", "1,"),
            ("data.words[-1]", ",3"),
            ("event", r#","event":"x""#),
        ] {
            let mut body = body();
            body.unset(&path(target)).expect("there is such a value");
            assert_eq!(body.to_canonical(), BODY.replacen(from, "", 1), "{target}");
        }
    }

    #[test]
    fn unset_names_what_is_there() {
        for (target, expected) in [
            ("data.bot_di", "`data` has no key `bot_di`; the nearest it has: `bot_id`, `bot_name`, `words`"),
            ("dat.bot_id", "the whole (`.`) has no key `dat`; the nearest it has: `data`, `event`"),
            ("data.words[3]", "`data.words` has 3 items, so there is no item `[3]`"),
            ("event.x", "`event` is a string, so it has no key `x`"),
            (".", "the whole (`.`) cannot be removed"),
        ] {
            assert_eq!(unset_error(target), expected);
        }
        let mut empty = Json::Object(indexmap::IndexMap::new());
        let error = empty.unset(&path("x")).expect_err("there is no such value");
        assert_eq!(error.to_string(), "the whole (`.`) has no key `x`; it is empty");
    }

    proptest! {
        #[test]
        fn what_was_set_is_there(mut body in any_json(), value in any_json(), steps in prop::collection::vec(
            prop_oneof![any_text().prop_map(Some), Just(None)], 0..5,
        )) {
            let target = steps.into_iter().fold(Path::root(), |path, key| match key {
                Some(key) => path.child_key(key),
                None => path.child_index(0),
            });
            let before = body.clone();
            if body.set(&target, value.clone()).is_ok() {
                prop_assert_eq!(body.at(&target), Some(&value));
            } else {
                prop_assert_eq!(body, before);
            }
        }

        #[test]
        fn what_was_set_anew_can_be_unset(key in any_text(), value in any_json()) {
            let mut body = body();
            let target = path("data").child_key(key);
            prop_assume!(body.at(&target).is_none());
            body.set(&target, value).expect("an object takes any key");
            body.unset(&target).expect("it was set");
            prop_assert_eq!(body.to_canonical(), BODY);
        }
    }
}
