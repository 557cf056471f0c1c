//! What was found, in a terminal.

use std::io::{self, Write};

use crate::bench::{Curve, Group, Lane, Point, Results, Row, Unit, Verdict};
use crate::cli::output::{Output, write_table};
use crate::cli::units;

pub fn print(results: &Results) -> io::Result<()> {
    let mut out = Output::new();
    let image = &results.image;
    let (layers, paths, bytes) = (image.layers, image.paths, units::size(image.bytes));
    writeln!(out, "{}: {layers} layers, {paths} paths, {bytes}", image.name)?;
    for (group, heading) in [
        (Group::Start, "START"),
        (Group::Read, "READING"),
        (Group::Write, "WRITING"),
        (Group::Own, "YOUR OWN"),
    ] {
        let rows: Vec<&Row> =
            results.rows.iter().filter(|row| row.group == group && row.skipped.is_none()).collect();
        if !rows.is_empty() {
            writeln!(out)?;
            write_table(group_table(heading, &rows), &mut out)?;
        }
    }
    if !results.curves.is_empty() {
        writeln!(out)?;
        write_table(growth_table(&results.curves), &mut out)?;
    }
    notes(results, &mut out)?;
    out.finish()
}

/// The first lane's times, and of the others how many times that they took.
fn group_table(heading: &str, rows: &[&Row]) -> Vec<Vec<String>> {
    let mut drivers: Vec<&str> = Vec::new();
    for lane in rows.iter().flat_map(|row| &row.lanes) {
        if !drivers.contains(&lane.driver.as_str()) {
            drivers.push(&lane.driver);
        }
    }
    let names = drivers.iter().map(|driver| (*driver).to_owned());
    let mut table = vec![[heading.to_owned(), String::new()].into_iter().chain(names).collect()];
    for row in rows {
        let lane = |driver: &&str| row.lanes.iter().position(|lane| lane.driver == **driver);
        let cells = drivers
            .iter()
            .map(|driver| lane(driver).map_or_else(String::new, |at| cell(&row.lanes[at], at == 0)));
        table.push(
            [row.workload.clone(), row.temperature.name().to_owned()].into_iter().chain(cells).collect(),
        );
    }
    table
}

fn cell(lane: &Lane, is_base: bool) -> String {
    match (&lane.failed, lane.spread, lane.ratio) {
        (Some(_), ..) => "failed".to_owned(),
        (None, Some(spread), _) if is_base => {
            format!("{} ±{:.0}%", Unit::Seconds.shown(spread.median), spread.relative() * 100.0)
        }
        (None, Some(_), Some(ratio)) => {
            let mark = if ratio.verdict == Verdict::Equal { " =" } else { "" };
            format!("{:.2}{mark}", ratio.median)
        }
        _ => String::new(),
    }
}

fn growth_table(curves: &[Curve]) -> Vec<Vec<String>> {
    let mut table = vec![["GROWTH", "WITH", "DRIVER", "FROM", "TO", "HOW"].map(str::to_owned).to_vec()];
    for curve in curves {
        let end =
            |point: Option<&Point>| point.map_or_else(String::new, |point| curve.unit.shown(point.y.median));
        let how = curve.fit.map_or_else(String::new, |fit| {
            format!("{} (power {:.2}, r² of a line {:.2})", fit.growth.words(), fit.exponent, fit.explained)
        });
        let facts = [curve.title.clone(), curve.axis.clone(), curve.driver.clone()];
        table.push(
            facts.into_iter().chain([end(curve.points.first()), end(curve.points.last()), how]).collect(),
        );
    }
    table
}

fn notes(results: &Results, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\nMedians of {} turns after one that warmed up; the others by the first, turn by turn.",
        results.rounds
    )?;
    writeln!(out, "`=`: no difference that can be told. Caches for cold rows: {}.", results.caches)?;
    for driver in &results.drivers {
        if let Some(absent) = &driver.absent {
            writeln!(out, "Not measured: {}: {absent}.", driver.name)?;
        }
    }
    for row in &results.rows {
        if let Some(why) = &row.skipped {
            writeln!(out, "Not done: {}: {why}.", row.workload)?;
        }
        for lane in &row.lanes {
            if let Some(why) = &lane.failed {
                writeln!(out, "Failed: {} on {}: {why}.", row.workload, lane.driver)?;
            }
        }
    }
    for warning in &results.disturbance.warnings {
        writeln!(out, "Disturbed: {warning}.")?;
    }
    Ok(())
}
