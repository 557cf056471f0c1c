//! What mounts counted, in the text that Prometheus and its like read.

use std::io::{self, Write};

use super::Counted;
use crate::cli::output::Output;
use crate::stats::{Counter, Opcode};

const TIMES: &str = "plyfs_request_duration_seconds";

pub fn print(counted: &[Counted]) -> io::Result<()> {
    let mut out = Output::new();
    heading(&mut out, "plyfs_request_errors_total", "counter", "Requests that were answered with an errno.")?;
    for (labels, one) in labelled(counted) {
        for (opcode, answers) in &one.snapshot.requests {
            writeln!(
                out,
                "plyfs_request_errors_total{{{labels},kind=\"{}\"}} {}",
                opcode.name(),
                answers.failed
            )?;
        }
    }
    heading(&mut out, TIMES, "histogram", "From when a request was read to when it was answered.")?;
    for (labels, one) in labelled(counted) {
        for (opcode, _) in &one.snapshot.requests {
            times(&mut out, &labels, one, *opcode)?;
        }
    }
    for counter in Counter::ALL {
        let name = format!("plyfs_{}_total", counter.name());
        heading(&mut out, &name, "counter", about(*counter))?;
        for (labels, one) in labelled(counted) {
            writeln!(out, "{name}{{{labels}}} {}", one.snapshot.counter(*counter))?;
        }
    }
    out.finish()
}

fn heading(out: &mut impl Write, name: &str, kind: &str, about: &str) -> io::Result<()> {
    writeln!(out, "# HELP {name} {about}\n# TYPE {name} {kind}")
}

fn labelled(counted: &[Counted]) -> impl Iterator<Item = (String, &Counted)> {
    counted.iter().map(|one| {
        let record = &one.mount.record;
        let (target, image) = (escaped(&record.target.to_string_lossy()), escaped(&record.image));
        (format!("mount=\"{target}\",image=\"{image}\""), one)
    })
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

fn times(out: &mut impl Write, labels: &str, one: &Counted, wanted: Opcode) -> io::Result<()> {
    let Some((_, answers)) = one.snapshot.requests.iter().find(|(opcode, _)| *opcode == wanted) else {
        return Ok(());
    };
    let labels = format!("{labels},kind=\"{}\"", wanted.name());
    for (end, count) in answers.times.cumulative() {
        writeln!(out, "{TIMES}_bucket{{{labels},le=\"{}\"}} {count}", seconds(end))?;
    }
    let count = answers.times.total();
    writeln!(out, "{TIMES}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
    writeln!(out, "{TIMES}_sum{{{labels}}} {}", seconds(answers.total))?;
    writeln!(out, "{TIMES}_count{{{labels}}} {count}")
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn about(counter: Counter) -> &'static str {
    match counter {
        Counter::BytesServed => "Bytes that reads were answered with.",
        Counter::BytesWritten => "Bytes that came to be written.",
        Counter::ChunkHits => "Chunks that were wanted and in memory.",
        Counter::ChunkMisses => "Chunks that were wanted and had to be had first.",
        Counter::BytesInflated => "Bytes that decoders gave out.",
        Counter::ChunksAhead => "Chunks that were asked for ahead of their readers.",
        Counter::WholeFileReads => "Reads from files that are cached whole.",
        Counter::CopyUps => "Objects that were copied to the upper.",
        Counter::BytesCopiedUp => "Bytes of files that were copied to the upper.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_hold_any_path() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
