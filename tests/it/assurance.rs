//! What the tests of threats and faults count, for `docs/assurance.md`, and how much they do.

/// Says what a test fed in and how often something happened that must not: `inputs=300 violations=0 (S8)`.
///
/// `tests/run` sums these lines up by the item of the catalogue that they name.
pub fn report(item: &str, inputs: usize, violations: usize) {
    println!("inputs={inputs} violations={violations} ({item})");
}

/// `few` in ordinary runs, `many` with `tests/run --full`.
pub fn tier<T>(few: T, many: T) -> T {
    if is_full() { many } else { few }
}

/// Whether this is `tests/run --full`.
pub fn is_full() -> bool {
    std::env::var_os("MBAAS_TEST_FULL").is_some_and(|value| !value.is_empty())
}

/// Notes that a test could not do what it is for, where `tests/run` tells it.
pub fn skipped(what: &str) {
    println!("skipped: {what}");
    if let Some(skips) = std::env::var_os("MBAAS_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(skips).unwrap();
        std::io::Write::write_all(&mut file, format!("{what}\n").as_bytes()).unwrap();
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Welch's t: how sure it is that two samples come from different distributions; beyond 4.5 it is.
pub fn welch(samples: &[Vec<f64>; 2]) -> f64 {
    let [one, other] = samples.each_ref().map(|sample| {
        let count = f64::from(u32::try_from(sample.len()).unwrap());
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (one.0 - other.0) / (one.1 + other.1).sqrt()
}
