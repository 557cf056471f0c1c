//! A kind of work as bars: one for each driver, with its spread.

use super::Colours;
use super::markup::{escaped, shortened};
use crate::bench::results::{Lane, Row, Unit};
use crate::bench::statistics::Verdict;

const WIDTH: f64 = 360.0;
const LABELS: f64 = 118.0;
const VALUES: f64 = 104.0;
const LINE: f64 = 22.0;
const THICK: f64 = 13.0;
const LONGEST_LABEL: usize = 19;
/// Bars of more than this many times the first one's time are torn off: the others would be too short to compare.
const TORN: f64 = 6.0;

pub fn card(row: &Row, colours: &Colours) -> String {
    let scale = scale(row);
    let height = LINE * row.lanes.len() as f64;
    let mut lines = base_line(row, scale, height);
    for (number, lane) in row.lanes.iter().enumerate() {
        lines += &line(lane, number, scale, colours);
    }
    let (title, temperature) = (escaped(&row.title), row.temperature.name());
    format!(
        "<figure>\n<figcaption>{title} <span>{temperature}</span></figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}, {temperature}\">\n{lines}</svg>\n</figure>\n"
    )
}

/// How long a second is. The longest bar that is whole has all the room.
fn scale(row: &Row) -> f64 {
    let medians = row.lanes.iter().filter_map(|lane| lane.spread).map(|spread| spread.median);
    let base = medians.clone().next().unwrap_or(0.0);
    let torn = medians.clone().filter(|median| *median > base * TORN).count();
    // Where most are far from the first, it is the others that are to be compared.
    let limit = if torn * 2 > medians.clone().count() { f64::MAX } else { base * TORN };
    let longest = medians.map(|median| median.min(limit)).fold(0.0, f64::max);
    (WIDTH - LABELS - VALUES) / if longest > 0.0 { longest } else { 1.0 }
}

/// Where the first bar ends, so that the eye need not go back.
fn base_line(row: &Row, scale: f64, height: f64) -> String {
    let base = row.lanes.first().and_then(|lane| lane.spread);
    base.map_or_else(String::new, |base| {
        let x = LABELS + base.median * scale;
        format!("<line class=\"base\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height}\"/>\n")
    })
}

fn line(lane: &Lane, number: usize, scale: f64, colours: &Colours) -> String {
    let top = LINE * number as f64;
    let text = top + LINE / 2.0 + 4.0;
    let name = escaped(&shortened(&lane.driver, LONGEST_LABEL));
    let label = format!("<text class=\"end\" x=\"{:.1}\" y=\"{text:.1}\">{name}</text>\n", LABELS - 8.0);
    match (&lane.failed, lane.spread) {
        (Some(why), _) => {
            let why = escaped(why);
            label
                + &format!(
                    "<text class=\"soft\" x=\"{LABELS}\" y=\"{text:.1}\">failed<title>{why}</title></text>\n"
                )
        }
        (None, None) => label,
        (None, Some(spread)) => {
            let room = WIDTH - LABELS - VALUES;
            let length = |seconds: f64| (seconds * scale).min(room);
            let (bar, middle) = (top + (LINE - THICK) / 2.0, top + LINE / 2.0);
            let width = length(spread.median).max(1.0);
            let colour = colours.get(&lane.driver);
            let mut drawn = format!(
                "<rect x=\"{LABELS}\" y=\"{bar:.1}\" width=\"{width:.1}\" height=\"{THICK}\" rx=\"2\" fill=\"var(--c{colour})\"/>\n"
            );
            if spread.median * scale > room + 0.5 {
                drawn += &torn(bar);
            } else {
                let (low, high) = (LABELS + length(spread.low), LABELS + length(spread.high));
                drawn += &whisker(low, high, middle);
            }
            let (time, factor) = (Unit::Seconds.shown(spread.median), factor(lane, number));
            label
                + &drawn
                + &format!("<text class=\"end\" x=\"{:.1}\" y=\"{text:.1}\">{time}</text>\n", WIDTH - 46.0)
                + &format!("<text class=\"end soft\" x=\"{WIDTH}\" y=\"{text:.1}\">{factor}</text>\n")
        }
    }
}

fn factor(lane: &Lane, number: usize) -> String {
    match lane.ratio {
        Some(ratio) if number > 0 && ratio.verdict == Verdict::Equal => "=".to_owned(),
        Some(ratio) if number > 0 && ratio.median >= 99.5 => format!("{:.0}×", ratio.median),
        Some(ratio) if number > 0 && ratio.median >= 9.95 => format!("{:.1}×", ratio.median),
        Some(ratio) if number > 0 => format!("{:.2}×", ratio.median),
        _ => String::new(),
    }
}

fn whisker(low: f64, high: f64, y: f64) -> String {
    let end = |x: f64| format!("M{x:.1} {:.1}V{:.1}", y - 3.0, y + 3.0);
    format!("<path class=\"whisker\" d=\"M{low:.1} {y:.1}H{high:.1}{}{}\"/>\n", end(low), end(high))
}

/// It goes on for longer than there is room.
fn torn(top: f64) -> String {
    let (x, bottom) = (WIDTH - VALUES - 14.0, top + THICK);
    format!(
        "<path class=\"torn\" d=\"M{x} {bottom}L{:.1} {top}H{:.1}L{:.1} {bottom}Z\"/>\n",
        x + 5.0,
        x + 9.0,
        x + 4.0
    )
}
