use super::super::fit::fit;
use super::super::machine::{Disturbance, Machine};
use super::super::results::{DriverFacts, ImageFacts, Lane, Point};
use super::super::statistics::Spread;
use super::super::workload::Temperature;
use super::*;

const HOSTILE: &str = "<script src=\"http://x\">alert('&')</script>";

fn lane(driver: &str, seconds: &[f64], failed: Option<&str>) -> Lane {
    let failed = failed.map(str::to_owned);
    Lane { driver: driver.to_owned(), seconds: seconds.to_vec(), spread: None, ratio: None, failed }
}

fn curve(driver: &str) -> Curve {
    let points: Vec<Point> = [(1e3, 0.01), (1e4, 0.011), (1e5, 0.0102)]
        .map(|(x, y)| Point { x, y: Spread { median: y, low: y, high: y } })
        .to_vec();
    let fit = fit(&points.iter().map(|point| (point.x, point.y.median)).collect::<Vec<_>>());
    let (title, axis) = (HOSTILE.to_owned(), "entries".to_owned());
    Curve { title, axis, unit: Unit::Seconds, driver: driver.to_owned(), points, fit }
}

fn results() -> Results {
    let driver = |name: &str, absent: Option<&str>| DriverFacts {
        name: name.to_owned(),
        version: Some("1".to_owned()),
        absent: absent.map(str::to_owned),
    };
    let mut row = Row {
        workload: "find".to_owned(),
        title: HOSTILE.to_owned(),
        group: Group::Read,
        temperature: Temperature::Warm,
        lanes: vec![
            lane("native", &[1.0, 1.1, 1.0], None),
            lane(HOSTILE, &[90.0, 99.0, 91.0], None),
            lane("third", &[], Some(HOSTILE)),
        ],
        skipped: None,
    };
    row.compare();
    let machine = Machine {
        processor: HOSTILE.to_owned(),
        cores: 2,
        memory: 8 << 30,
        kernel: "6.1".to_owned(),
        file_system: "ext4".to_owned(),
        at: 0,
    };
    Results {
        version: "1".to_owned(),
        image: ImageFacts {
            name: HOSTILE.to_owned(),
            layers: 3,
            paths: 12_345,
            bytes: 7_000_000,
            many: 10,
            big: 100,
        },
        machine,
        rounds: 3,
        caches: "dropped".to_owned(),
        drivers: vec![driver("native", None), driver(HOSTILE, None), driver("third", Some("missing"))],
        rows: vec![row],
        curves: vec![curve("native"), curve(HOSTILE)],
        disturbance: Disturbance { load: 2.0, stolen: 0.0, jitter: 0.0, warnings: vec![HOSTILE.to_owned()] },
        seconds: 12.0,
    }
}

/// The names of elements as they open and close; what closes without having been opened is told.
fn unbalanced(page: &str) -> Vec<String> {
    let (mut open, mut wrong) = (Vec::new(), Vec::new());
    let body = &page[page.find("<body>").unwrap()..];
    for tag in body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap().to_owned();
        match (tag.starts_with('/'), tag.ends_with('/') || name == "br") {
            (true, _) if open.last() == Some(&name) => drop(open.pop()),
            (true, _) => wrong.push(tag.to_owned()),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    wrong.extend(open.into_iter().filter(|name| name != "html"));
    wrong.retain(|name| name != "/html");
    wrong
}

#[test]
fn the_page_is_well_formed_whatever_things_are_called() {
    assert_eq!(unbalanced(&html(&results())), Vec::<String>::new());
}

#[test]
fn no_name_becomes_markup() {
    let page = html(&results());
    assert!(
        !page.contains("<script")
            && page.contains("&lt;script src=&quot;http://x&quot;&gt;alert(&#39;&amp;&#39;)")
    );
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    // As text, an address is none.
    let page = html(&results()).replace(" src=&quot;http:", "");
    for foreign in ["http:", "https:", "url(", "@import", " src=", " href="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn a_bar_that_would_leave_no_room_for_the_others_is_torn_off() {
    let page = html(&results());
    assert_eq!(page.matches("class=\"torn\"").count(), 1);
    assert_eq!(page.matches("class=\"whisker\"").count(), 1);
    assert!(page.contains("91 s") && page.contains("90.0×"), "{page}");
}

#[test]
fn figures_are_grouped_by_thousands() {
    assert_eq!([1, 999, 12_345, 1_000_000].map(thousands), ["1", "999", "12,345", "1,000,000"]);
}
