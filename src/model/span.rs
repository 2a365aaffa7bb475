//! Spans of time as people write and say them.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads a duration: `10m`, `1h 30m`, `500ms`, or a plain number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let parsed: Result<SignedDuration, _> = text.parse();
    parsed.ok().and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| {
        format!("`{}` is not a duration such as `30s`, `10m` or `1h 30m`", text.escape_debug())
    })
}

/// A long time for people: `450 ms`, `4.8 s`, `5 min 12 s`, `2 h 3 min`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match whole {
        0 => format!("{:.0} ms", seconds * 1000.0),
        1..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert!(["", "-5s", "soon", "10 parsecs"].into_iter().all(|text| duration(text).is_err()));
    }

    #[test]
    fn spans_are_written_as_people_say_them() {
        let written = [450, 4_812, 59_949, 312_000, 7_391_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(written, ["450 ms", "4.8 s", "59.9 s", "5 min 12 s", "2 h 3 min"]);
    }
}
