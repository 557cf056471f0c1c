//! The side that reads: never by a mapping, since the file may be cut; and nothing in it is believed to be more than
//! a number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::histogram::{BUCKETS, Histogram};
use super::layout::{
    AT_MAGIC, AT_WORDS, BUCKET, COUNT, FAILED, LENGTH, MAGIC, TOTAL, WORD, WORDS, answers, counter,
};
use super::{Counter, Opcode};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("what was counted is of another version of plyfs")]
    OtherVersion,
    #[error("what was counted is cut off")]
    Cut,
    #[error("reading what was counted: {0}")]
    Read(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Read(error),
        }
    }
}

/// What was counted up to one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counters: Vec<u64>,
    /// Those kinds that were asked at all, in the order of [`Opcode::ALL`].
    pub requests: Vec<(Opcode, Answers)>,
}

/// The answers to one kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    pub count: u64,
    /// How many were an errno.
    pub failed: u64,
    /// Nanoseconds in all.
    pub total: u64,
    pub times: Histogram,
}

impl Snapshot {
    pub fn read(file: &File) -> Result<Self, Error> {
        let mut head = [0; 2 * WORD];
        file.read_exact_at(&mut head, 0)?;
        if word_in(&head, AT_MAGIC) != MAGIC || word_in(&head, AT_WORDS) != WORDS as u64 {
            return Err(Error::OtherVersion);
        }
        let mut bytes = vec![0; LENGTH as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let counters = Counter::ALL.iter().map(|which| word_in(&bytes, counter(*which))).collect();
        let of = |opcode: &Opcode| (*opcode, Answers::read(&bytes, answers(*opcode)));
        let requests = Opcode::ALL.iter().map(of).filter(|(_, answers)| answers.count > 0).collect();
        Ok(Self { counters, requests })
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).copied().unwrap_or(0)
    }
}

impl Answers {
    fn read(bytes: &[u8], at: usize) -> Self {
        let buckets: Vec<u64> = (0..BUCKETS).map(|bucket| word_in(bytes, at + BUCKET + bucket)).collect();
        Self {
            count: word_in(bytes, at + COUNT),
            failed: word_in(bytes, at + FAILED),
            total: word_in(bytes, at + TOTAL),
            times: Histogram::new(&buckets),
        }
    }
}

/// Zero where the bytes end before.
pub(super) fn word_in(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at * WORD..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::super::{Answered, Tally};
    use super::*;
    use crate::sys::clock;

    #[test]
    fn what_was_counted_is_read_while_it_is_mapped() {
        let file = tempfile::tempfile().unwrap();
        let tally = Tally::new(&file).unwrap();
        tally.count(Counter::BytesServed, 4096);
        tally.count(Counter::BytesServed, 1);
        let since = clock::steady().saturating_sub(5_000_000);
        let request = Answered { opcode: Opcode::Read, node: 1, name: None, since, errno: 0 };
        tally.answered(&request);
        tally.answered(&Answered { errno: 5, ..request });
        let seen = Snapshot::read(&file).unwrap();
        assert_eq!(seen.counter(Counter::BytesServed), 4097);
        assert_eq!(seen.counter(Counter::CopyUps), 0);
        let [(Opcode::Read, answers)] = &seen.requests[..] else { panic!("{:?}", seen.requests) };
        assert_eq!((answers.count, answers.failed, answers.times.total()), (2, 1, 2));
        assert!(answers.total >= 10_000_000 && answers.times.quantile(0.5) >= Some(4_000_000));
    }

    #[test]
    fn a_file_that_is_cut_or_another_or_nonsense_is_told_and_never_a_panic() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Snapshot::read(&file), Err(Error::Cut)));
        drop(Tally::new(&file).unwrap());
        file.set_len(LENGTH - 1).unwrap();
        assert!(matches!(Snapshot::read(&file), Err(Error::Cut)));
        file.write_all_at(&[0xff; LENGTH as usize], 0).unwrap();
        assert!(matches!(Snapshot::read(&file), Err(Error::OtherVersion)));
        file.write_all_at(&MAGIC.to_ne_bytes(), 0).unwrap();
        file.write_all_at(&(WORDS as u64).to_ne_bytes(), (AT_WORDS * WORD) as u64).unwrap();
        let nonsense = Snapshot::read(&file).unwrap();
        assert_eq!(nonsense.requests.len(), Opcode::ALL.len());
        assert!(nonsense.requests.iter().all(|(_, answers)| answers.times.quantile(0.99).is_some()));
        let mut follow = super::super::Follow::begin(&file).unwrap();
        assert_eq!(follow.answered().unwrap().0, []);
    }
}
