//! Requests one by one, for whoever follows: a ring that is written only while someone does. Who follows says so by a
//! moment that he pushes ahead of himself; one who is killed thereby stops by himself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::layout::{
    ANSWERED, AT_FOLLOWED, AT_TRACED, NAME, NAME_ROOM, NODE, NUMBER, SLOT, SLOTS, TOOK, WHAT, WORD, slot,
};
use super::snapshot::{Error, word_in};
use super::tally::{Answered, Tally};
use super::{Opcode, Snapshot};
use crate::sys::clock;

/// A request that was answered while someone followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: SystemTime,
    pub took: Duration,
    pub opcode: Opcode,
    pub node: u64,
    /// Cut where it is long.
    pub name: Vec<u8>,
    pub errno: i32,
}

impl Tally {
    pub(super) fn trace(&self, request: &Answered<'_>, took: u64) {
        let number = self.word(AT_TRACED).fetch_add(1, Ordering::Relaxed) + 1;
        let at = slot(number);
        let name = request.name.unwrap_or_default();
        let name = &name[..name.len().min(NAME_ROOM)];
        let set = |field: usize, value: u64| self.word(at + field).store(value, Ordering::Relaxed);
        set(NUMBER, 0);
        std::sync::atomic::fence(Ordering::Release);
        set(ANSWERED, now());
        set(TOOK, took);
        set(NODE, request.node);
        set(
            WHAT,
            What { opcode: request.opcode as u8, errno: request.errno as u32, length: name.len() }.pack(),
        );
        for (word, bytes) in name.chunks(WORD).enumerate() {
            let mut padded = [0; WORD];
            padded[..bytes.len()].copy_from_slice(bytes);
            set(NAME + word, u64::from_ne_bytes(padded));
        }
        self.word(at + NUMBER).store(number, Ordering::Release);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

struct What {
    opcode: u8,
    errno: u32,
    length: usize,
}

impl What {
    fn pack(&self) -> u64 {
        u64::from(self.opcode) | (self.length as u64) << 8 | u64::from(self.errno) << 32
    }

    fn unpack(word: u64) -> Self {
        Self { opcode: word as u8, errno: (word >> 32) as u32, length: (word >> 8 & 0xff) as usize }
    }
}

/// How long a mount goes on without another word.
const PATIENCE: Duration = Duration::from_secs(2);

/// Follows what a mount is asked.
pub struct Follow<'a> {
    file: &'a File,
    seen: u64,
}

impl<'a> Follow<'a> {
    /// `file` is open for reading and writing.
    pub fn begin(file: &'a File) -> Result<Self, Error> {
        Snapshot::read(file)?;
        let follow = Self { file, seen: read_word(file, AT_TRACED)? };
        follow.go_on()?;
        Ok(follow)
    }

    fn go_on(&self) -> Result<(), Error> {
        let until = clock::steady().saturating_add(PATIENCE.as_nanos() as u64);
        Ok(self.file.write_all_at(&until.to_ne_bytes(), (AT_FOLLOWED * WORD) as u64)?)
    }

    /// What was answered since the last call, and how many of those are lost: a thousand are kept.
    pub fn answered(&mut self) -> Result<(Vec<Event>, u64), Error> {
        self.go_on()?;
        let traced = read_word(self.file, AT_TRACED)?;
        if traced == self.seen {
            return Ok((Vec::new(), 0));
        }
        let mut ring = vec![0; SLOTS as usize * SLOT * WORD];
        self.file.read_exact_at(&mut ring, (slot(1) * WORD) as u64)?;
        // What was begun to be written over meanwhile may be half of one and half of another.
        let first = self.seen.max(read_word(self.file, AT_TRACED)?.saturating_sub(SLOTS)).min(traced);
        let lost = first.saturating_sub(self.seen);
        self.seen = first;
        let mut events = Vec::new();
        for number in first + 1..=traced {
            let at = (slot(number) - slot(1)) * WORD;
            let slot = &ring[at..at + SLOT * WORD];
            // One that is not finished yet is there the next time.
            if word_in(slot, NUMBER) != number {
                break;
            }
            events.extend(event(slot));
            self.seen = number;
        }
        Ok((events, lost))
    }
}

impl Drop for Follow<'_> {
    fn drop(&mut self) {
        // Not told, the mount stops by itself in a moment.
        let _ = self.file.write_all_at(&[0; WORD], (AT_FOLLOWED * WORD) as u64);
    }
}

/// `None`: it says what no request can be.
fn event(slot: &[u8]) -> Option<Event> {
    let what = What::unpack(word_in(slot, WHAT));
    let name = &slot[NAME * WORD..];
    Some(Event {
        at: UNIX_EPOCH.checked_add(Duration::from_nanos(word_in(slot, ANSWERED)))?,
        took: Duration::from_nanos(word_in(slot, TOOK)),
        opcode: *Opcode::ALL.get(usize::from(what.opcode))?,
        node: word_in(slot, NODE),
        name: name[..what.length.min(name.len())].to_vec(),
        errno: what.errno as i32,
    })
}

fn read_word(file: &File, at: usize) -> Result<u64, Error> {
    let mut bytes = [0; WORD];
    file.read_exact_at(&mut bytes, (at * WORD) as u64)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(node: u64, name: &[u8]) -> Answered<'_> {
        Answered { opcode: Opcode::Lookup, node, name: Some(name), since: clock::steady(), errno: 2 }
    }

    #[test]
    fn who_follows_sees_each_request_once_and_who_does_not_costs_nothing() {
        let file = tempfile::tempfile().unwrap();
        let tally = Tally::new(&file).unwrap();
        tally.answered(&request(1, b"before"));
        let mut follow = Follow::begin(&file).unwrap();
        let long = [b'n'; 300];
        tally.answered(&request(7, b"etc"));
        tally.answered(&request(8, &long));
        let (events, lost) = follow.answered().unwrap();
        let seen: Vec<_> = events.iter().map(|event| (event.node, &event.name[..], event.errno)).collect();
        assert_eq!((seen, lost), (vec![(7, &b"etc"[..], 2), (8, &long[..NAME_ROOM], 2)], 0));
        assert_eq!(follow.answered().unwrap(), (vec![], 0));
        drop(follow);
        tally.answered(&request(9, b"after"));
        assert_eq!(tally.word(AT_TRACED).load(Ordering::Relaxed), 2);
    }

    #[test]
    fn who_is_too_slow_is_told_how_much_is_lost() {
        let file = tempfile::tempfile().unwrap();
        let tally = Tally::new(&file).unwrap();
        let mut follow = Follow::begin(&file).unwrap();
        for node in 0..SLOTS + 10 {
            tally.answered(&request(node, b"x"));
        }
        let (events, lost) = follow.answered().unwrap();
        assert_eq!((events.len() as u64, events[0].node, lost), (SLOTS, 10, 10));
    }
}
