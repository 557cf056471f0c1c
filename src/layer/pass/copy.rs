//! Decides which chunks go to the sidecar, and writes them on a thread of its own, which runs when the first one is due.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::feed::{Filled, QUEUE, Start};
use super::{Error, joined};
use crate::layer::CHUNK;
use crate::layer::sidecar;

/// Which chunks are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Not one: the layer is read in place.
    Nothing,
    /// Those out of reach of the start before them.
    Distant,
    All,
}

/// Makes the file that a sidecar is written to.
pub(super) type Spool<'a> = &'a mut (dyn FnMut() -> io::Result<File> + 'a);

pub(super) struct Copying<'scope, 'env> {
    extent: Extent,
    scope: &'scope Scope<'scope, 'env>,
    spool: Spool<'env>,
    thread: Option<Thread<'scope>>,
}

struct Thread<'scope> {
    sender: SyncSender<Due>,
    handle: ScopedJoinHandle<'scope, io::Result<File>>,
}

/// The chunks of a buffer that are to be copied.
struct Due {
    bytes: Filled,
    chunks: Vec<u64>,
    /// The number of the buffer's first chunk.
    first: u64,
}

impl<'scope, 'env> Copying<'scope, 'env> {
    pub fn new(extent: Extent, scope: &'scope Scope<'scope, 'env>, spool: Spool<'env>) -> Self {
        Self { extent, scope, spool, thread: None }
    }

    /// Copies what is due of `bytes`, which begin at `at` of the stream.
    pub fn take(
        &mut self,
        at: u64,
        bytes: &Filled,
        before: Option<&Start>,
        starts: &[Start],
    ) -> Result<(), Error> {
        let first = at / CHUNK;
        let chunks: Vec<u64> = (first..(at + bytes.len() as u64).div_ceil(CHUNK))
            .filter(|chunk| self.is_due(*chunk, before, starts))
            .collect();
        if chunks.is_empty() {
            return Ok(());
        }
        self.send(Due { bytes: bytes.clone(), chunks, first })
    }

    fn is_due(&self, chunk: u64, before: Option<&Start>, starts: &[Start]) -> bool {
        match self.extent {
            Extent::Nothing => false,
            Extent::All => true,
            Extent::Distant => {
                let nearest = starts.iter().rev().find(|start| start.output <= chunk * CHUNK).or(before);
                nearest.is_none_or(|start| (chunk + 1) * CHUNK - start.output > start.reach)
            }
        }
    }

    fn send(&mut self, due: Due) -> Result<(), Error> {
        if self.thread.is_none() {
            let file = (self.spool)().map_err(Error::Sidecar)?;
            let (sender, receiver) = sync_channel(QUEUE);
            let handle = self.scope.spawn(move || write(file, &receiver));
            self.thread = Some(Thread { sender, handle });
        }
        match &self.thread {
            // When the thread has ended, its error comes with `finish`.
            Some(thread) => thread.sender.send(due).map_err(|_| Error::Stopped),
            None => Ok(()),
        }
    }

    /// The sidecar, if any chunk is in it.
    pub fn finish(self) -> Result<Option<File>, Error> {
        let Some(Thread { sender, handle }) = self.thread else { return Ok(None) };
        drop(sender);
        joined(handle).map(Some).map_err(Error::Sidecar)
    }
}

fn write(file: File, due: &Receiver<Due>) -> io::Result<File> {
    let mut writer = sidecar::Writer::new(file)?;
    for Due { bytes, chunks, first } in due {
        for chunk in chunks {
            let start = ((chunk - first) * CHUNK) as usize;
            writer.put(chunk, &bytes[start..bytes.len().min(start + CHUNK as usize)])?;
        }
    }
    writer.finish()
}
