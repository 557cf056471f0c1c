//! Every figure, for who wants to know it exactly.

use super::markup::escaped;
use crate::bench::results::{Lane, Results, Row, Unit};
use crate::bench::statistics::Verdict;

pub fn all(results: &Results) -> String {
    let measured: Vec<&Row> = results.rows.iter().filter(|row| !row.lanes.is_empty()).collect();
    if measured.is_empty() {
        return String::new();
    }
    let drivers: Vec<&str> = results
        .drivers
        .iter()
        .filter(|driver| driver.absent.is_none())
        .map(|driver| driver.name.as_str())
        .collect();
    let names: String = drivers.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
    let lines: String = measured.iter().map(|row| line(row, &drivers)).collect();
    format!(
        "<section>\n<h2>All figures</h2>\n<p class=\"about\">Median, and behind it the factor to the first driver of the \
         row.</p>\n<div class=\"table\">\n<table>\n<thead><tr><th>Work</th><th></th>{names}</tr></thead>\n\
         <tbody>\n{lines}</tbody>\n</table>\n</div>\n</section>\n"
    )
}

fn line(row: &Row, drivers: &[&str]) -> String {
    let cells: String = drivers
        .iter()
        .map(|driver| row.lanes.iter().position(|lane| lane.driver == *driver))
        .map(|at| format!("<td>{}</td>", at.map(|at| cell(&row.lanes[at], at == 0)).unwrap_or_default()))
        .collect();
    format!("<tr><td>{}</td><td>{}</td>{cells}</tr>\n", escaped(&row.workload), row.temperature.name())
}

fn cell(lane: &Lane, is_base: bool) -> String {
    let Some(spread) = lane.spread.filter(|_| lane.failed.is_none()) else { return "failed".to_owned() };
    let factor = match lane.ratio.filter(|_| !is_base) {
        Some(ratio) if ratio.verdict == Verdict::Equal => "=".to_owned(),
        Some(ratio) => format!("{:.2}", ratio.median),
        None => String::new(),
    };
    format!("{}<small>{factor}</small>", Unit::Seconds.shown(spread.median))
}
