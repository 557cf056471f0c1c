//! The side that counts: additions to words that are shared with the file, and no lock.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::bucket_of;
use super::layout::{
    AT_FOLLOWED, AT_MAGIC, AT_WORDS, BUCKET, COUNT, FAILED, LENGTH, MAGIC, TOTAL, WORDS, answers, counter,
};
use super::{Counter, Opcode};
use crate::sys::clock;
use crate::sys::map::Words;

/// One mount's counts.
pub struct Tally {
    pub(super) words: Words,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    pub opcode: Opcode,
    pub node: u64,
    /// The name it was about, if it was traced from its start.
    pub name: Option<&'a [u8]>,
    /// When it came, by [`clock::steady`].
    pub since: u64,
    /// Zero: it was done.
    pub errno: i32,
}

impl Tally {
    pub fn new(file: &File) -> io::Result<Self> {
        allocate(file)?;
        let words = Words::new(file, WORDS)?;
        words[AT_WORDS].store(WORDS as u64, Ordering::Relaxed);
        words[AT_MAGIC].store(MAGIC, Ordering::Release);
        Ok(Self { words })
    }

    pub fn count(&self, which: Counter, amount: u64) {
        self.add(counter(which), amount);
    }

    pub fn answered(&self, request: &Answered<'_>) {
        let now = clock::steady();
        let took = now.saturating_sub(request.since);
        let at = answers(request.opcode);
        self.add(at + COUNT, 1);
        self.add(at + FAILED, u64::from(request.errno != 0));
        self.add(at + TOTAL, took);
        self.add(at + BUCKET + bucket_of(took), 1);
        if self.is_followed(now) {
            self.trace(request, took);
        }
    }

    /// Whether someone follows what is asked. Who ends without a word is forgotten a moment later.
    pub fn is_followed(&self, now: u64) -> bool {
        self.words[AT_FOLLOWED].load(Ordering::Relaxed) > now
    }

    fn add(&self, at: usize, amount: u64) {
        if amount > 0 {
            self.words[at].fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[at]
    }
}

/// All of it now: a page that finds no room when it is first written to would end the process.
fn allocate(file: &File) -> io::Result<()> {
    // Where blocks are never written twice in place, unless it is asked for. Most file systems know nothing of it.
    let _ = rustix::fs::ioctl_getflags(file)
        .and_then(|flags| rustix::fs::ioctl_setflags(file, flags | rustix::fs::IFlags::NOCOW));
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, LENGTH) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            std::os::unix::fs::FileExt::write_all_at(file, &vec![0; LENGTH as usize], 0)
        }
        Err(errno) => Err(errno.into()),
    }
}
