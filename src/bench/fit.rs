//! A line through points, and what it says of how a cost grows.

use serde::Serialize;

/// How `y` goes with `x`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// `y` grows as `x` to this power: the slope where both are drawn by their logarithms.
    pub exponent: f64,
    /// `y = start + step * x`, as near as a line comes.
    pub start: f64,
    pub step: f64,
    /// The share of the differences that the straight line explains.
    pub explained: f64,
    pub growth: Growth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// Twice as much costs what it did.
    None,
    /// Twice as much costs less than twice.
    Less,
    Proportional,
    /// Twice as much costs more than twice.
    More,
}

impl Growth {
    fn of(exponent: f64) -> Self {
        match exponent {
            exponent if exponent < 0.1 => Self::None,
            exponent if exponent < 0.85 => Self::Less,
            exponent if exponent <= 1.15 => Self::Proportional,
            _ => Self::More,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::None => "does not grow",
            Self::Less => "grows by less than in proportion",
            Self::Proportional => "grows in proportion",
            Self::More => "grows by more than in proportion",
        }
    }
}

/// `None` where there are fewer than three points, or all are above one another.
pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let usable: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
    if usable.len() < 3 {
        return None;
    }
    let logarithms: Vec<(f64, f64)> = usable.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let (exponent, _, _) = line(&logarithms)?;
    let (step, start, explained) = line(&usable)?;
    Some(Fit { exponent, start, step, explained, growth: Growth::of(exponent) })
}

/// The least squares' slope and start, and the share that they explain.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64, f64)> {
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |part: &dyn Fn(f64, f64) -> f64| {
        points.iter().map(|point| part(point.0 - x, point.1 - y)).sum::<f64>()
    };
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 0.0 {
        return None;
    }
    let slope = xy / xx;
    let explained = if yy > 0.0 { slope * xy / yy } else { 1.0 };
    Some((slope, y - slope * x, explained))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 4] = [1e3, 1e4, 1e5, 1e6];

    fn growth(cost: impl Fn(f64) -> f64) -> Growth {
        fit(&SIZES.map(|size| (size, cost(size)))).unwrap().growth
    }

    #[test]
    fn growth_is_told_by_the_power() {
        assert_eq!(growth(|_| 0.02), Growth::None);
        assert_eq!(growth(f64::sqrt), Growth::Less);
        assert_eq!(growth(|size| 3e-6 * size), Growth::Proportional);
        assert_eq!(growth(|size| size * size), Growth::More);
    }

    #[test]
    fn a_straight_line_is_found_as_it_is() {
        let found = fit(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).unwrap();
        assert!((found.step - 2.0).abs() < 1e-9 && (found.start - 3.0).abs() < 1e-9, "{found:?}");
        assert!((found.explained - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_points_make_no_line() {
        assert_eq!(fit(&[(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(fit(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
