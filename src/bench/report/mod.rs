//! The results as one page that needs nothing else: no script, no font, no other file; light and dark as its reader
//! likes it, and on paper.

mod bars;
mod curves;
mod markup;
mod table;

use std::collections::BTreeMap;

use markup::escaped;

use super::results::{Curve, Results, Row, Unit};
use super::workload::Group;

const STYLE: &str = include_str!("style.css");
/// Of them the first is the grey of what others are held against.
const COLOURS: usize = 10;

/// Which colour a driver has, everywhere on the page.
struct Colours(BTreeMap<String, usize>);

impl Colours {
    fn of(results: &Results) -> Self {
        let names = results.drivers.iter().map(|driver| driver.name.clone());
        Self(names.enumerate().map(|(number, name)| (name, number % COLOURS)).collect())
    }

    fn get(&self, driver: &str) -> usize {
        self.0.get(driver).copied().unwrap_or(0)
    }
}

pub fn html(results: &Results) -> String {
    let colours = Colours::of(results);
    let sections = [
        (
            Group::Start,
            "To the first file",
            "From the image's file, or from what is kept of it, until a file in it was read.",
        ),
        (
            Group::Read,
            "Reading",
            "Cold: nothing was cached and the mount was new. Forgotten: contents were cached, names and inodes were not. Warm: it was done before.",
        ),
        (Group::Write, "Writing", "Each turn in a new tree, which nobody had written to."),
        (Group::Own, "Your own", "Commands done by a shell in a new tree."),
    ];
    let mut body = head(results, &colours);
    for (group, title, about) in sections {
        let rows: Vec<&Row> =
            results.rows.iter().filter(|row| row.group == group && !row.lanes.is_empty()).collect();
        if !rows.is_empty() {
            let cards: String = rows.iter().map(|row| bars::card(row, &colours)).collect();
            body += &section(title, about, &cards);
        }
    }
    body += &growth(&results.curves, &colours);
    body += &table::all(results);
    body += &foot(results);
    let title = format!("plyfs bench: {}", escaped(&results.image.name));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n"
    )
}

fn section(title: &str, about: &str, cards: &str) -> String {
    format!(
        "<section>\n<h2>{title}</h2>\n<p class=\"about\">{about}</p>\n<div class=\"cards\">\n{cards}</div>\n</section>\n"
    )
}

fn head(results: &Results, colours: &Colours) -> String {
    let image = &results.image;
    let drivers = results.drivers.iter().filter(|driver| driver.absent.is_none());
    let chips: String = drivers
        .map(|driver| {
            let (colour, name) = (colours.get(&driver.name), escaped(&driver.name));
            format!("<li><i style=\"background:var(--c{colour})\"></i>{name}</li>\n")
        })
        .collect();
    let mut head = format!(
        "<header>\n<h1>What makes a directory of an image, compared</h1>\n<p class=\"lead\">{}: {} layers, {} paths, {} of \
         files. Medians of up to {} turns, taken in turns; thin lines reach from the first quarter to the third. The \
         factor is to the first driver, turn by turn; = is no difference that can be told.</p>\n",
        escaped(&image.name),
        image.layers,
        thousands(image.paths),
        Unit::Bytes.shown(image.bytes as f64),
        results.rounds,
    );
    if !results.disturbance.warnings.is_empty() {
        let warnings = escaped(&results.disturbance.warnings.join("; "));
        head += &format!(
            "<div class=\"note\"><p><strong>The machine was not quiet.</strong> It seems that {warnings}.</p></div>\n"
        );
    }
    head + &format!("<ul class=\"key\">\n{chips}</ul>\n</header>\n")
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A plot for each measure, with a curve for each driver.
fn growth(curves: &[Curve], colours: &Colours) -> String {
    let mut plots: Vec<(&str, &str, Vec<&Curve>)> = Vec::new();
    for curve in curves {
        match plots.iter_mut().find(|(title, axis, _)| *title == curve.title && *axis == curve.axis) {
            Some((_, _, of)) => of.push(curve),
            None => plots.push((&curve.title, &curve.axis, vec![curve])),
        }
    }
    if plots.is_empty() {
        return String::new();
    }
    let cards: String = plots.iter().map(|(_, _, curves)| curves::card(curves, colours)).collect();
    let about = "Both axes by doublings: what grows in proportion rises as steeply as it goes to the right, and what does \
                 not grow is level.";
    section("As work grows", about, &cards)
}

fn foot(results: &Results) -> String {
    let machine = &results.machine;
    let mut facts = vec![
        (
            "Machine",
            format!(
                "{}, {} cores, {} of memory",
                machine.processor,
                machine.cores,
                Unit::Bytes.shown(machine.memory as f64)
            ),
        ),
        ("Kernel", format!("Linux {}; file system {}", machine.kernel, machine.file_system)),
        ("Caches", format!("for what is cold, {}", results.caches)),
        (
            "Quiet",
            format!(
                "load {:.2} before; {:.1} % of the time stolen; the same computation ±{:.1} %",
                results.disturbance.load,
                results.disturbance.stolen * 100.0,
                results.disturbance.jitter * 100.0
            ),
        ),
        ("Took", format!("{} with plyfs {}", Unit::Seconds.shown(results.seconds), results.version)),
    ];
    for driver in &results.drivers {
        match (&driver.absent, &driver.version) {
            (Some(absent), _) => facts.push(("Not measured", format!("{}: {absent}", driver.name))),
            (None, Some(version)) => facts.push(("Version", format!("{}: {version}", driver.name))),
            (None, None) => {}
        }
    }
    for row in results.rows.iter() {
        facts.extend(row.skipped.as_ref().map(|why| ("Not done", format!("{}: {why}", row.title))));
    }
    let facts: String =
        facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value))).collect();
    format!("<footer>\n<dl>\n{facts}</dl>\n</footer>\n")
}

#[cfg(test)]
mod tests;
