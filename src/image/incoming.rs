//! A layer's bytes on their way through the index pass: counted against the descriptor, shown as progress, and written
//! to the store where they are to stay.

use std::io::{self, Read};

use super::{Error, Length, Progress, Result};
use crate::oci::Descriptor;
use crate::store::{self, Ingest};

/// Never reads more than one byte beyond what the descriptor says: a stream without an end is noticed there.
pub(super) struct Incoming<'a> {
    stream: Box<dyn Read + Send + 'a>,
    descriptor: &'a Descriptor,
    ingest: Option<Ingest>,
    progress: &'a dyn Progress,
    /// What is in the store already, and comes first.
    kept: u64,
    read: u64,
    end: End,
}

/// How the stream has ended, if it has.
enum End {
    NotYet,
    Reached,
    TooLong,
    /// The store could not take it.
    NotKept(store::Error),
}

impl<'a> Incoming<'a> {
    pub fn new(
        stream: Box<dyn Read + Send + 'a>,
        descriptor: &'a Descriptor,
        ingest: Option<Ingest>,
        progress: &'a dyn Progress,
    ) -> Self {
        progress.begin(&descriptor.digest, descriptor.size);
        let kept = ingest.as_ref().map_or(0, Ingest::written);
        Self { stream, descriptor, ingest, progress, kept, read: 0, end: End::NotYet }
    }

    /// What was written, or why the stream cannot be the blob, which explains any fault the reader of it met.
    pub fn finish(mut self) -> Result<Option<Ingest>> {
        let Descriptor { digest, size: described, .. } = *self.descriptor;
        match std::mem::replace(&mut self.end, End::NotYet) {
            End::NotKept(error) => Err(Error::Store(error)),
            End::TooLong => {
                Err(Error::SizeMismatch { digest, described, found: Length::MoreThan(described) })
            }
            End::Reached if self.read != described => {
                Err(Error::SizeMismatch { digest, described, found: Length::Exactly(self.read) })
            }
            End::Reached | End::NotYet => Ok(self.ingest.take()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let kept = usize::try_from(self.kept.saturating_sub(self.read)).unwrap_or(usize::MAX);
        self.read += bytes.len() as u64;
        if self.read > self.descriptor.size {
            self.end = End::TooLong;
            return Err(io::Error::other("it is longer than its descriptor says"));
        }
        if let Some(Err(error)) =
            self.ingest.as_mut().map(|ingest| ingest.append(&bytes[kept.min(bytes.len())..]))
        {
            let message = error.to_string();
            self.end = End::NotKept(error);
            return Err(io::Error::other(message));
        }
        self.progress.advance(&self.descriptor.digest, bytes.len() as u64);
        Ok(())
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.descriptor.size.saturating_add(1).saturating_sub(self.read);
        let length = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let count = self.stream.read(&mut buffer[..length])?;
        if count == 0 && length > 0 {
            self.end = End::Reached;
        }
        self.take(&buffer[..count])?;
        Ok(count)
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.progress.end(&self.descriptor.digest);
    }
}
