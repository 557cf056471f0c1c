//! What a container says, a file of its own in docker's form: one JSON object a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(super) const LOG: &str = "log";
/// A line that goes on is cut here, as docker does it.
const LONGEST: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// With its newline, if it had one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub log: String,
    pub stream: Stream,
    pub time: String,
}

/// Takes what one stream says, line by line.
pub struct LogWriter {
    file: File,
    stream: Stream,
    begun: Vec<u8>,
}

impl LogWriter {
    pub fn new(file: File, stream: Stream) -> Self {
        Self { file, stream, begun: Vec::new() }
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
            let length = end.unwrap_or(bytes.len()).min(LONGEST - self.begun.len());
            let (piece, rest) = bytes.split_at(length);
            self.begun.extend_from_slice(piece);
            bytes = rest;
            if piece.ends_with(b"\n") || self.begun.len() == LONGEST {
                self.end_line(&mut lines)?;
            }
        }
        self.file.write_all(&lines)
    }

    fn end_line(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        let log = String::from_utf8_lossy(&self.begun).into_owned();
        let time = jiff::Timestamp::now().to_string();
        serde_json::to_writer(&mut *lines, &Line { log, stream: self.stream, time })?;
        lines.push(b'\n');
        self.begun.clear();
        Ok(())
    }

    /// The last line may have no end.
    pub fn finish(mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        if !self.begun.is_empty() {
            self.end_line(&mut lines)?;
        }
        self.file.write_all(&lines)
    }
}

/// A log that can't be written is no reason to end what it is of.
pub(super) fn warn(error: &io::Error) {
    ::log::warn!("writing the container's log: {error}");
}

pub(super) fn open(directory: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().append(true).create(true).mode(0o600).open(directory.join(LOG))
}

/// Reads a log while it grows.
pub struct LogReader {
    file: BufReader<File>,
    begun: String,
}

impl LogReader {
    pub fn open(directory: &Path) -> io::Result<Option<Self>> {
        match File::open(directory.join(LOG)) {
            Ok(file) => Ok(Some(Self { file: BufReader::new(file), begun: String::new() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None`: that is all for now. A line that is not in our form is left out.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.file.read_line(&mut self.begun)?;
            if !self.begun.ends_with('\n') {
                return Ok(None);
            }
            let parsed = serde_json::from_str(&self.begun);
            self.begun.clear();
            if let Ok(line) = parsed {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_said_and_a_long_one_in_pieces() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::new(open(place.path()).unwrap(), Stream::Stderr);
        writer.write(b"one\ntw").unwrap();
        let mut reader = LogReader::open(place.path()).unwrap().unwrap();
        let mut said = Vec::new();
        let mut read = |reader: &mut LogReader| {
            while let Some(line) = reader.next_line().unwrap() {
                assert_eq!(line.stream, Stream::Stderr);
                said.push(line.log);
            }
            said.len()
        };
        assert_eq!(read(&mut reader), 1);
        writer.write(b"o\n").unwrap();
        writer.write(&[b'x'; LONGEST + 1]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&mut reader), 4);
        assert_eq!(said[..2], ["one\n", "two\n"]);
        assert_eq!((said[2].len(), said[3].as_str()), (LONGEST, "x"));
    }
}
