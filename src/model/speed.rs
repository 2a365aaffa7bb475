//! How much faster than in reality time passes for a simulated sender.

use std::str::FromStr;
use std::time::Duration;

/// A factor that waiting is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as in reality, from 0.001 to 1,000,000.
    Times(f64),
    /// There is no waiting at all.
    Max,
}

impl Speed {
    /// As in reality.
    pub const REAL: Self = Self::Times(1.0);

    /// How long is really waited for what should take so long.
    pub fn shrink(self, duration: Duration) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            // Beyond all bounds is what would last for centuries.
            Self::Times(times) => {
                Duration::try_from_secs_f64(duration.as_secs_f64() / times).unwrap_or(Duration::MAX)
            }
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times: Option<f64> = text.parse().ok();
        times.filter(|times| (0.001..=1_000_000.0).contains(times)).map(Self::Times).ok_or_else(|| {
            format!("`{}` is not a speed: a number from 0.001 to 1000000, or `max`", text.escape_debug())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_divided_by_the_speed() {
        let hour = Duration::from_hours(1);
        let shrunk = |speed: &str| speed.parse::<Speed>().unwrap().shrink(hour);
        assert_eq!(shrunk("600"), Duration::from_secs(6));
        assert_eq!(shrunk("0.5"), Duration::from_hours(2));
        assert_eq!(shrunk("max"), Duration::ZERO);
        assert_eq!(Speed::REAL.shrink(hour), hour);
        for bad in ["", "0", "-1", "fast", "NaN", "inf", "1e300", "MAX"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
