//! What a mount counted, for a person.

use std::io::{self, Write};

use super::{Counted, nanoseconds};
use crate::cli::output::{Output, write_table};
use crate::cli::units;
use crate::stats::{Answers, Counter, Opcode};

pub fn print(counted: &[Counted]) -> io::Result<()> {
    let mut out = Output::new();
    for (at, one) in counted.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        write(one, &mut out)?;
    }
    out.finish()
}

fn write(one: &Counted, out: &mut impl Write) -> io::Result<()> {
    let record = &one.mount.record;
    writeln!(out, "{}: {}", record.target.display(), record.image)?;
    let heading = ["REQUEST", "COUNT", "ERRORS", "MEAN", "P50", "P90", "P99"].map(str::to_owned).to_vec();
    let rows = one.snapshot.requests.iter().map(|(opcode, answers)| row(*opcode, answers));
    write_table(std::iter::once(heading).chain(rows).collect(), out)?;
    Counter::ALL
        .iter()
        .map(|counter| (*counter, one.snapshot.counter(*counter)))
        .filter(|(_, value)| *value > 0)
        .try_for_each(|(counter, value)| {
            writeln!(out, "{:<18}{}", counter.name().replace('_', " "), amount(counter, value))
        })
}

fn row(opcode: Opcode, answers: &Answers) -> Vec<String> {
    let mean = answers.total / answers.count.max(1);
    let times = [0.5, 0.9, 0.99].map(|share| units::time(nanoseconds(&answers.times, share)));
    let facts =
        [opcode.name().to_owned(), answers.count.to_string(), answers.failed.to_string(), units::time(mean)];
    facts.into_iter().chain(times).collect()
}

fn amount(counter: Counter, value: u64) -> String {
    match counter {
        Counter::BytesServed | Counter::BytesWritten | Counter::BytesInflated | Counter::BytesCopiedUp => {
            units::size(value)
        }
        _ => value.to_string(),
    }
}
