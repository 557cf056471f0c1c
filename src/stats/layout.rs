//! Where in the file what is: words of 64 bits in the machine's order, all of them numbers. It is read on the machine
//! that it was written on, and lives as long as a mount.

use super::histogram::BUCKETS;
use super::{Counter, Opcode};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"plyfsct1");

pub(super) const WORD: usize = size_of::<u64>();

/// The head.
pub(super) const AT_MAGIC: usize = 0;
/// How many words there are, which changes whenever the form does.
pub(super) const AT_WORDS: usize = 1;
/// Up to when, on the clock that is never set, requests are traced.
pub(super) const AT_FOLLOWED: usize = 2;
/// How many requests were traced so far.
pub(super) const AT_TRACED: usize = 3;
const HEAD: usize = 8;

/// Of a kind of request: how many, how many of them failed, nanoseconds in all, and the histogram.
pub(super) const COUNT: usize = 0;
pub(super) const FAILED: usize = 1;
pub(super) const TOTAL: usize = 2;
pub(super) const BUCKET: usize = 3;
const ANSWERS: usize = BUCKET + BUCKETS;

const COUNTERS: usize = HEAD;
const REQUESTS: usize = COUNTERS + Counter::ALL.len();
const RING: usize = REQUESTS + Opcode::ALL.len() * ANSWERS;

/// Of a traced request: its number, zero while it is written; when it was answered, in nanoseconds since 1970; how
/// many it took; opcode, errno and the name's length; the inode; and the name.
pub(super) const NUMBER: usize = 0;
pub(super) const ANSWERED: usize = 1;
pub(super) const TOOK: usize = 2;
pub(super) const WHAT: usize = 3;
pub(super) const NODE: usize = 4;
pub(super) const NAME: usize = 5;
pub(super) const SLOT: usize = 16;
pub(super) const NAME_ROOM: usize = (SLOT - NAME) * WORD;
/// How many traced requests wait for whoever follows.
pub(super) const SLOTS: u64 = 1024;

pub(super) const WORDS: usize = RING + SLOTS as usize * SLOT;

/// The file's length in bytes.
pub const LENGTH: u64 = (WORDS * WORD) as u64;

pub(super) fn counter(counter: Counter) -> usize {
    COUNTERS + counter as usize
}

pub(super) fn answers(opcode: Opcode) -> usize {
    REQUESTS + opcode as usize * ANSWERS
}

/// Where the traced request `number`, counted from 1, is or was.
pub(super) fn slot(number: u64) -> usize {
    RING + (number.wrapping_sub(1) % SLOTS) as usize * SLOT
}
