//! Who reads a file in order is read ahead of, on a thread that runs when it is first needed; and a file that is read
//! in order for long is kept whole, on another.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;

use super::CHUNK;

/// How many files of a layer are watched at a time.
const WATCHED: usize = 8;

/// Smaller files are read in a few chunks anyway.
const SMALLEST: u64 = 2 * CHUNK;

/// How many chunks are read ahead at first, and at most: 256 KiB and 2 MiB.
const FIRST: u64 = 2;
const MOST: u64 = 16;

/// After how much reading in order a file is kept whole.
const LONG: u64 = 4 << 20;

/// Jobs beyond this are forgotten: they are an advantage, not a duty.
const QUEUE: usize = 32;

/// The files of one layer that are being read.
#[derive(Default)]
pub(super) struct Streams(Mutex<Vec<Stream>>);

/// One file that is being read.
struct Stream {
    /// Where the file lies in the layer, which tells files apart.
    file: u64,
    /// The last chunk that was read.
    last: u64,
    /// How many chunks were read in order.
    run: u64,
    /// How many chunks are to be read ahead the next time.
    ahead: u64,
    /// The first chunk that was not yet asked for ahead.
    until: u64,
    is_long: bool,
}

/// What a read suggests to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Advice {
    /// Chunks to have ready.
    pub ahead: Option<Range<u64>>,
    /// Whether the file is worth keeping whole. Said once.
    pub keep: bool,
}

impl Streams {
    /// Of the file at the stream's `file`, `read` is being read.
    pub fn note(&self, file: &Range<u64>, read: &Range<u64>) -> Advice {
        if file.end - file.start < SMALLEST {
            return Advice::default();
        }
        let mut streams = self.0.lock();
        let at = streams.iter().position(|stream| stream.file == file.start);
        let mut stream = match at {
            Some(at) => streams.remove(at),
            None => Stream::new(file.start, read),
        };
        let advice = stream.read(file, read);
        if streams.len() == WATCHED {
            streams.remove(0);
        }
        streams.push(stream);
        advice
    }
}

impl Stream {
    fn new(file: u64, read: &Range<u64>) -> Self {
        let last = read.start / CHUNK;
        Self { file, last, run: 0, ahead: FIRST, until: 0, is_long: false }
    }

    fn read(&mut self, file: &Range<u64>, read: &Range<u64>) -> Advice {
        let (first, last) = (read.start / CHUNK, (read.end - 1) / CHUNK);
        if first < self.last || first > self.last + 1 {
            *self = Self { is_long: self.is_long, ..Self::new(self.file, read) };
        }
        if last == self.last {
            return Advice::default();
        }
        self.run += last - self.last;
        self.last = last;
        let keep = !self.is_long && self.run * CHUNK > LONG;
        self.is_long |= keep;
        Advice { ahead: self.advance((file.end - 1) / CHUNK + 1), keep }
    }

    /// The next chunks to ask for: from the second read in order on, when half of the last were used up.
    fn advance(&mut self, end: u64) -> Option<Range<u64>> {
        let next = self.last + 1;
        if self.run < 2 || self.until >= next + self.ahead / 2 {
            return None;
        }
        let ahead = self.until.max(next)..end.min(next + self.ahead);
        self.ahead = MOST.min(self.ahead * 2);
        self.until = self.until.max(ahead.end);
        (!ahead.is_empty()).then_some(ahead)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does jobs, one after another. It runs from the first one on, so that it is not lost in a fork before.
pub(super) struct Worker {
    name: &'static str,
    jobs: OnceLock<Option<SyncSender<Job>>>,
}

impl Worker {
    pub fn new(name: &'static str) -> Self {
        Self { name, jobs: OnceLock::new() }
    }

    /// Does the job some time, unless too many wait.
    pub fn offer(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.get_or_init(|| start(self.name));
        if let Some(Err(_)) = jobs.as_ref().map(|jobs| jobs.try_send(Box::new(job))) {
            log::debug!("{}: too busy", self.name);
        }
    }
}

fn start(name: &'static str) -> Option<SyncSender<Job>> {
    let (sender, receiver) = sync_channel::<Job>(QUEUE);
    let run = move || {
        for job in receiver {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                log::error!("{name}: a job panicked");
            }
        }
    };
    match thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_) => Some(sender),
        Err(error) => {
            log::warn!("starting the thread {name}: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(reads: &[Range<u64>]) -> Vec<Option<Range<u64>>> {
        let (streams, file) = (Streams::default(), 100..100 * CHUNK);
        reads.iter().map(|read| streams.note(&file, read).ahead).collect()
    }

    fn chunk(number: u64) -> Range<u64> {
        number.max(1) * CHUNK..(number + 1) * CHUNK
    }

    #[test]
    fn reading_in_order_is_read_ahead_of_in_doubling_steps() {
        let asked = advice(&(1..12).map(chunk).collect::<Vec<_>>());
        let asked: Vec<Range<u64>> = asked.into_iter().flatten().collect();
        assert_eq!(asked[0], 4..6);
        assert!(asked.windows(2).all(|two| two[0].end == two[1].start), "{asked:?}");
        assert!(asked.iter().any(|ahead| ahead.end - ahead.start >= 6), "{asked:?}");
    }

    #[test]
    fn reading_here_and_there_is_not_read_ahead_of() {
        assert!(advice(&[5, 50, 9, 70, 9, 9, 30].map(chunk)).iter().all(Option::is_none));
    }

    #[test]
    fn nothing_is_read_ahead_past_the_end_of_the_file() {
        let (streams, file) = (Streams::default(), 0..10 * CHUNK);
        let asked: Vec<_> = (0..10)
            .filter_map(|number| streams.note(&file, &(number * CHUNK..(number + 1) * CHUNK)).ahead)
            .collect();
        assert_eq!(asked.last().map(|ahead| ahead.end), Some(10));
    }

    #[test]
    fn a_file_is_kept_once_after_four_mebibytes_in_order() {
        let (streams, file) = (Streams::default(), 0..100 * CHUNK);
        let kept: Vec<u64> = (0..100)
            .filter(|number| streams.note(&file, &(number * CHUNK..(number + 1) * CHUNK)).keep)
            .collect();
        assert_eq!(kept, [33]);
    }
}
