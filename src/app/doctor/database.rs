//! The database: that it opens, is sound, and does not grow without end.

use super::Check;
use crate::model::Printable;
use crate::observers::advice::size;
use crate::store::{Health, Repaired, StoreError};

const NAME: &str = "database";

/// From this size on somebody should think of pruning, in bytes.
const LARGE: u64 = 2 * 1024 * 1024 * 1024;

/// From this size on something keeps the log from being copied back, in bytes.
const LARGE_LOG: u64 = 256 * 1024 * 1024;

/// What is said of one whose structure was not looked through.
const UNCHECKED: &str =
    "larger than 1 GB, so it was not looked through (--repair does that, and takes its time)";

/// What repairing it gave; nothing when there was nothing to repair.
pub fn repair(repaired: &Result<Option<Repaired>, StoreError>) -> Option<Check> {
    match repaired {
        Err(error) => Some(Check::finding(NAME, error.to_string(), error.hint())),
        Ok(Some(repaired)) if repaired.saved < repaired.known || repaired.bare > 0 => {
            Some(Check::finding(NAME, repaired.to_string(), repaired.hint()))
        }
        Ok(Some(repaired)) => Some(Check::good(NAME, format!("{repaired}; {}", repaired.hint()))),
        Ok(None) => None,
    }
}

/// What examining it gave.
pub fn database(examined: &Result<Option<Health>, StoreError>) -> Vec<Check> {
    let health = match examined {
        Err(error) => return vec![Check::finding(NAME, error.to_string(), error.hint())],
        Ok(None) => return vec![Check::good(NAME, "there is none yet")],
        Ok(Some(health)) => health,
    };
    let mut checks = Vec::new();
    if let Some(damage) = health.damage.as_deref().and_then(<[String]>::first) {
        let error =
            StoreError::Damaged { file: health.file.clone(), detail: Printable::text(damage).to_string() };
        checks.push(Check::finding(NAME, error.to_string(), error.hint()));
    }
    checks.extend(health.lost.iter().map(|error| Check::finding(NAME, error.to_string(), error.hint())));
    if health.bytes + health.body_bytes > LARGE {
        let said = format!("it takes {}", size(health.bytes + health.body_bytes));
        checks.push(Check::finding(
            NAME,
            said,
            "`mbaas-dev deliveries prune --older-than 7d`, and `listen --keep 7d` from now on",
        ));
    }
    if health.log_bytes > LARGE_LOG {
        let said = format!(
            "its log takes {}, for a program that reads it keeps it from being copied back",
            size(health.log_bytes)
        );
        checks.push(Check::finding(NAME, said, "close other programs that have the file open"));
    }
    if health.damage.is_none() && !checks.is_empty() {
        checks.push(Check::good(NAME, UNCHECKED));
    }
    if checks.is_empty() {
        let looked = if health.damage.is_some() { "sound" } else { UNCHECKED };
        let (deliveries, format) = (health.deliveries, health.format);
        let bodies = match health.body_bytes {
            0 => String::new(),
            bytes => format!(", {} of large bodies", size(bytes)),
        };
        let sizes = format!("{}{bodies} and {} of log", size(health.bytes), size(health.log_bytes));
        checks.push(Check::good(
            NAME,
            format!("{looked}, {deliveries} deliveries, {sizes}, format {format}, SQLite {}", health.sqlite),
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_and_size_are_found() {
        let health = Health {
            file: "/d/deliveries.db".into(),
            format: 1,
            damage: Some(Vec::new()),
            deliveries: 3,
            bytes: 1024,
            log_bytes: 0,
            body_bytes: 0,
            lost: Vec::new(),
            sqlite: "3.54.1",
        };
        let findings = |health: Health| {
            database(&Ok(Some(health))).into_iter().filter(|check| check.advice.is_some()).count()
        };
        assert_eq!(findings(health.clone()), 0);
        assert_eq!(findings(Health { damage: None, ..health.clone() }), 0);
        assert_eq!(findings(Health { damage: Some(vec!["row 1 missing".into()]), ..health.clone() }), 1);
        assert_eq!(findings(Health { bytes: LARGE, body_bytes: 1, ..health.clone() }), 1);
        let lost =
            StoreError::Lost { file: "/d/bodies/000000000001".into(), detail: "it is not there".into() };
        assert_eq!(findings(Health { lost: vec![lost], ..health.clone() }), 1);
        assert_eq!(findings(Health { bytes: LARGE + 1, log_bytes: LARGE_LOG + 1, ..health }), 2);
        let newer = StoreError::Newer { file: "/d/deliveries.db".into(), found: 9, known: 1 };
        assert!(database(&Err(newer))[0].advice.as_deref().is_some_and(|advice| advice.contains("update")));
    }
}
