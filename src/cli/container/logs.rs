//! `plyfs logs`: what a container has said.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use crate::cli::container::run::explained;
use crate::cli::context::Context;
use crate::container::{Containers, Found, Line, LogReader, Stream};

/// Show what a container has said, on the streams it said it on
#[derive(clap::Args)]
pub struct Arguments {
    /// Go on with what it says, until it ends
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines of its end, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = parse_tail)]
    tail: Tail,
    /// Each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// By name, or by id
    container: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    All,
    Last(usize),
}

fn parse_tail(text: &str) -> Result<Tail, String> {
    match text.parse() {
        _ if text == "all" => Ok(Tail::All),
        Ok(lines) => Ok(Tail::Last(lines)),
        Err(_) => Err("neither a number nor `all`".to_owned()),
    }
}

const PAUSE: Duration = Duration::from_millis(50);

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let found = Containers::of_store(context.root()).find(&arguments.container).map_err(explained)?;
    // It may have said nothing yet.
    let mut reader = LogReader::open(&found.directory)?;
    if let Some(reader) = &mut reader {
        match arguments.tail {
            Tail::All => show_all(reader, arguments.timestamps)?,
            Tail::Last(lines) => show_last(reader, lines, arguments.timestamps)?,
        }
    }
    if arguments.follow { follow(&found, reader, arguments.timestamps) } else { Ok(()) }
}

fn show_all(reader: &mut LogReader, timestamps: bool) -> io::Result<()> {
    while let Some(line) = reader.next_line()? {
        show(&line, timestamps)?;
    }
    Ok(())
}

fn show_last(reader: &mut LogReader, lines: usize, timestamps: bool) -> io::Result<()> {
    let mut last = VecDeque::new();
    while let Some(line) = reader.next_line()? {
        last.push_back(line);
        if last.len() > lines {
            last.pop_front();
        }
    }
    last.iter().try_for_each(|line| show(line, timestamps))
}

fn follow(found: &Found, mut reader: Option<LogReader>, timestamps: bool) -> anyhow::Result<()> {
    loop {
        // Asked first: what it said last is read after that.
        let ended = found.wait_for(PAUSE).map_err(explained)?;
        if reader.is_none() {
            reader = LogReader::open(&found.directory)?;
        }
        if let Some(reader) = &mut reader {
            show_all(reader, timestamps)?;
        }
        if ended {
            return Ok(());
        }
    }
}

fn show(line: &Line, timestamps: bool) -> io::Result<()> {
    let time = if timestamps { format!("{} ", line.time) } else { String::new() };
    let text = format!("{time}{}", line.log);
    match line.stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        }
        Stream::Stderr => io::stderr().lock().write_all(text.as_bytes()),
    }
}
