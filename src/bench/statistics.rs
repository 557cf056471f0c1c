//! What a handful of times say: their middle and spread, how two drivers compare turn by turn, and whether there is a
//! difference at all. Everything here is a function of its arguments: the chance that is drawn is the same every time.

use serde::Serialize;

/// The middle of some measurements, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    /// A quarter of the measurements is below, and a quarter above.
    pub low: f64,
    pub high: f64,
}

/// One driver's times by another's, pair by pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub median: f64,
    /// Where the median is with 95 % confidence.
    pub low: f64,
    pub high: f64,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Faster,
    /// No difference that these measurements can tell.
    Equal,
    Slower,
}

/// Less than this is not called a difference, however sure it is: the order of turns alone can make it.
const NEGLIGIBLE: f64 = 0.03;
const DRAWS: usize = 2000;
const CONFIDENCE: f64 = 0.95;
/// Of fewer pairs the bounds are Student's: drawing from them again would tell of a certainty that is not there, and so do
/// the farthest of them (four of the same driver's lie all on one side in one of eight comparisons).
const FEW: usize = 6;
/// Student's factors for two to five values, at that confidence.
const STUDENT: [f64; 4] = [12.71, 4.30, 3.18, 2.78];

/// The value that this share of the sorted values does not exceed, between its neighbours where it falls between two.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * sorted.len().saturating_sub(1) as f64;
    let value = |at: f64| sorted.get(at as usize).copied().unwrap_or(f64::NAN);
    value(at.floor()) + (value(at.ceil()) - value(at.floor())) * at.fract()
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

pub fn median(values: &[f64]) -> f64 {
    quantile(&sorted(values.iter().copied()), 0.5)
}

/// `None` of nothing.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let sorted = sorted(values.iter().copied());
    let at = |share| quantile(&sorted, share);
    (!sorted.is_empty()).then(|| Spread { median: at(0.5), low: at(0.25), high: at(0.75) })
}

impl Spread {
    /// Half of the distance of the quarters, as a share of the median.
    pub fn relative(&self) -> f64 {
        if self.median > 0.0 { (self.high - self.low) / 2.0 / self.median } else { 0.0 }
    }
}

/// `times[n]` and `base[n]` are of the same turn. `None` of nothing.
pub fn ratio(times: &[f64], base: &[f64]) -> Option<Ratio> {
    let pairs = times.iter().zip(base).filter(|(_, base)| **base > 0.0);
    let ratios: Vec<f64> = pairs.map(|(time, base)| time / base).collect();
    if ratios.is_empty() {
        return None;
    }
    let (low, high) = bounds(&ratios);
    Some(Ratio { median: median(&ratios), low, high, verdict: verdict(low, high) })
}

fn verdict(low: f64, high: f64) -> Verdict {
    match () {
        () if high < 1.0 - NEGLIGIBLE => Verdict::Faster,
        () if low > 1.0 + NEGLIGIBLE => Verdict::Slower,
        () => Verdict::Equal,
    }
}

/// Of the median: what drawing as many again from the same values, over and over, gives but for the rarest.
fn bounds(ratios: &[f64]) -> (f64, f64) {
    if ratios.len() < FEW {
        return bounds_of_few(ratios);
    }
    let mut chance = Chance::new();
    let draw =
        |chance: &mut Chance| median(&ratios.iter().map(|_| *chance.one_of(ratios)).collect::<Vec<_>>());
    let medians = sorted((0..DRAWS).map(|_| draw(&mut chance)));
    let rest = (1.0 - CONFIDENCE) / 2.0;
    (quantile(&medians, rest), quantile(&medians, 1.0 - rest))
}

/// Of a few factors, which scatter evenly on a logarithmic scale. One alone says nothing of whether there is a difference.
fn bounds_of_few(ratios: &[f64]) -> (f64, f64) {
    if let [only] = ratios {
        return (only.min(1.0), only.max(1.0));
    }
    let count = ratios.len() as f64;
    let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / count;
    let squares: f64 = logarithms.iter().map(|logarithm| (logarithm - mean).powi(2)).sum();
    let reach = STUDENT[ratios.len() - 2] * (squares / (count - 1.0) / count).sqrt();
    ((mean - reach).exp(), (mean + reach).exp())
}

/// A generator that always starts the same: the same work is the same every time it is done.
pub struct Chance(u64);

impl Chance {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.number() >> 11) % end.max(1)
    }

    /// `values` are not none.
    pub fn one_of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around `middle` that scatter by `noise`, with now and then one that is far off.
    fn times(chance: &mut Chance, middle: f64, noise: f64, count: usize) -> Vec<f64> {
        let uniform = |chance: &mut Chance| chance.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5;
        let one = |chance: &mut Chance| {
            let scatter = (0..4).map(|_| uniform(chance)).sum::<f64>() * noise;
            let disturbed = if chance.below(40) == 0 { 0.5 } else { 0.0 };
            middle * (1.0 + scatter + disturbed)
        };
        (0..count).map(|_| one(chance)).collect()
    }

    fn verdicts(slowed: f64, noise: f64, turns: usize) -> [usize; 3] {
        let mut chance = Chance::new();
        let mut found = [0; 3];
        for _ in 0..200 {
            let base = times(&mut chance, 0.1, noise, turns);
            let other = times(&mut chance, 0.1 * slowed, noise, turns);
            found[ratio(&other, &base).unwrap().verdict as usize] += 1;
        }
        found
    }

    #[test]
    fn the_same_driver_twice_is_called_equal() {
        for turns in [1, 3, 4, 5, 9] {
            let [faster, equal, slower] = verdicts(1.0, 0.04, turns);
            assert!(equal >= 190, "{faster} {equal} {slower} of {turns} turns");
        }
    }

    #[test]
    fn a_driver_that_is_a_fifth_slower_is_seen() {
        let [faster, equal, slower] = verdicts(1.2, 0.04, 9);
        assert!(slower >= 195 && faster == 0, "{faster} {equal} {slower}");
        let [faster, ..] = verdicts(1.0 / 1.2, 0.04, 9);
        assert!(faster >= 195, "{faster}");
    }

    #[test]
    fn middle_and_quarters_are_those_of_the_sorted_values() {
        let found = spread(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(found, Spread { median: 3.0, low: 2.0, high: 4.0 });
        assert_eq!(spread(&[1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(spread(&[]), None);
        assert!((found.relative() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        // The machine was three times as slow in the second turn: for both.
        let found = ratio(&[2.0, 6.0, 2.2], &[1.0, 3.0, 1.0]).unwrap();
        assert_eq!((found.median, found.verdict), (2.0, Verdict::Slower));
        assert!((1.7..2.0).contains(&found.low) && (2.2..2.5).contains(&found.high), "{found:?}");
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn the_same_measurements_always_say_the_same() {
        let mut chance = Chance::new();
        let (one, other) = (times(&mut chance, 1.0, 0.1, 11), times(&mut chance, 1.0, 0.1, 11));
        assert_eq!(ratio(&one, &other), ratio(&one, &other));
    }
}
