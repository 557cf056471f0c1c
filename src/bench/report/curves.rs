//! How a cost grows, as curves: both axes by doublings.

use super::Colours;
use super::markup::escaped;
use crate::bench::results::{Curve, Unit};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// From values to places.
struct Scale {
    start: f64,
    end: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Around all `values`, which are positive, up to the next power of ten.
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (start, end) = (low.log10().floor(), high.log10().ceil());
        Self { start, end: if end > start { end } else { start + 1.0 }, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.start) / (self.end - self.start) * (self.to - self.from)
    }

    /// The powers of ten.
    fn marks(&self) -> impl Iterator<Item = f64> {
        let (start, end) = (self.start as i32, self.end as i32);
        (start..=end).map(|power| 10f64.powi(power))
    }
}

/// All of one measure.
pub fn card(curves: &[&Curve], colours: &Colours) -> String {
    let Some(first) = curves.first() else { return String::new() };
    let points = || {
        curves.iter().flat_map(|curve| &curve.points).filter(|point| point.x > 0.0 && point.y.median > 0.0)
    };
    if points().next().is_none() {
        return String::new();
    }
    let x = Scale::new(points().map(|point| point.x), LEFT, WIDTH - RIGHT);
    let y = Scale::new(points().map(|point| point.y.median), HEIGHT - BOTTOM, TOP);
    let mut drawn = axes(first, &x, &y);
    for curve in curves {
        drawn += &line(curve, &x, &y, colours.get(&curve.driver));
    }
    let words: Vec<String> = curves.iter().filter_map(|curve| words(curve)).collect();
    let (title, axis) = (escaped(&first.title), escaped(&first.axis));
    format!(
        "<figure>\n<figcaption>{title} <span>by {axis}</span></figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title} by {axis}\">\n{drawn}</svg>\n\
         <p>{}</p>\n</figure>\n",
        words.join("<br>")
    )
}

fn axes(curve: &Curve, x: &Scale, y: &Scale) -> String {
    let mut drawn = String::new();
    for mark in y.marks() {
        let at = y.at(mark);
        drawn += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\n",
            WIDTH - RIGHT
        );
        let text = curve.unit.shown(mark);
        drawn += &format!(
            "<text class=\"end soft\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>\n",
            LEFT - 8.0,
            at + 4.0
        );
    }
    let floor = HEIGHT - BOTTOM;
    drawn += &format!(
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{floor}\" y2=\"{floor}\"/>\n",
        WIDTH - RIGHT
    );
    for mark in x.marks() {
        let (at, text) = (x.at(mark), count(mark));
        drawn +=
            &format!("<text class=\"middle soft\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>\n", floor + 16.0);
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    drawn
        + &format!(
            "<text class=\"middle soft\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>\n",
            HEIGHT - 6.0,
            escaped(&curve.axis)
        )
}

fn count(number: f64) -> String {
    match number {
        number if number >= 1e9 => format!("{:.0}G", number / 1e9),
        number if number >= 1e6 => format!("{:.0}M", number / 1e6),
        number if number >= 1e3 => format!("{:.0}k", number / 1e3),
        number => format!("{number:.0}"),
    }
}

fn line(curve: &Curve, x: &Scale, y: &Scale, colour: usize) -> String {
    let places: Vec<(f64, f64)> = curve
        .points
        .iter()
        .filter(|point| point.x > 0.0 && point.y.median > 0.0)
        .map(|point| (x.at(point.x), y.at(point.y.median)))
        .collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dots: String = places
        .iter()
        .map(|(x, y)| format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"var(--c{colour})\"/>\n"))
        .collect();
    format!("<polyline class=\"curve\" stroke=\"var(--c{colour})\" points=\"{}\"/>\n{dots}", path.join(" "))
}

/// What the line through the points says.
fn words(curve: &Curve) -> Option<String> {
    let fit = curve.fit?;
    let last = curve.points.last()?;
    let driver = escaped(&curve.driver);
    let end = curve.unit.shown(last.y.median);
    let each = match curve.unit {
        Unit::Seconds if fit.exponent > 0.5 && fit.step > 0.0 => {
            format!(", {} each", Unit::Seconds.shown(fit.step))
        }
        Unit::Bytes if fit.step > 0.0 => format!(", {} each", Unit::Bytes.shown(fit.step)),
        _ => String::new(),
    };
    Some(format!(
        "{driver}: {} (power {:.2}, r² {:.2}{each}); {end} at {}",
        fit.growth.words(),
        fit.exponent,
        fit.explained,
        count(last.x)
    ))
}
