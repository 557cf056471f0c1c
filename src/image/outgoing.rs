//! A blob on its way out of a source: verified as it is read, shown as progress, and opened as often as it takes.

use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Error, Length, Progress, Result, Source};
use crate::oci::{Descriptor, Hasher};

/// What a [`Sink`](super::Sink) is given to keep.
pub struct Outgoing<'a> {
    descriptor: &'a Descriptor,
    bytes: Bytes<'a>,
    progress: &'a dyn Progress,
    /// How much was read: a blob that is opened again has come no farther until it is past that.
    shown: AtomicU64,
}

pub(super) enum Bytes<'a> {
    /// A config.
    Document(Vec<u8>),
    In(&'a dyn Source),
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(descriptor: &'a Descriptor, bytes: Bytes<'a>, progress: &'a dyn Progress) -> Self {
        progress.begin(&descriptor.digest, descriptor.size);
        Self { descriptor, bytes, progress, shown: AtomicU64::new(0) }
    }

    pub fn descriptor(&self) -> &'a Descriptor {
        self.descriptor
    }

    /// Its bytes from the start. If they are not what the descriptor names, reading fails before the last of them is
    /// given, with an [`Error`] as the reason.
    pub fn open(&self) -> Result<impl Read + Send + '_> {
        let stream: Box<dyn Read + Send + '_> = match &self.bytes {
            Bytes::Document(bytes) => Box::new(Cursor::new(bytes)),
            Bytes::In(source) => source.blob(self.descriptor)?,
        };
        Ok(Verifying { outgoing: self, stream, hasher: Some(Hasher::default()), read: 0 })
    }

    fn show(&self, read: u64) {
        let before = self.shown.fetch_max(read, Ordering::Relaxed);
        if read > before {
            self.progress.advance(&self.descriptor.digest, read - before);
        }
    }
}

impl Drop for Outgoing<'_> {
    fn drop(&mut self) {
        self.progress.end(&self.descriptor.digest);
    }
}

struct Verifying<'a> {
    outgoing: &'a Outgoing<'a>,
    stream: Box<dyn Read + Send + 'a>,
    /// Gone once the end was found to be the right one.
    hasher: Option<Hasher>,
    read: u64,
}

impl Verifying<'_> {
    fn check_digest(&mut self) -> Result<()> {
        let expected = self.outgoing.descriptor.digest;
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != expected => Err(Error::DigestMismatch { expected, found }),
            _ => Ok(()),
        }
    }

    fn check_end(&mut self) -> Result<()> {
        let Descriptor { digest, size: described, .. } = *self.outgoing.descriptor;
        match self.read {
            read if read != described => {
                Err(Error::SizeMismatch { digest, described, found: Length::Exactly(read) })
            }
            _ => self.check_digest(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Descriptor { digest, size: described, .. } = *self.outgoing.descriptor;
        self.read += bytes.len() as u64;
        if self.read > described {
            return Err(Error::SizeMismatch { digest, described, found: Length::MoreThan(described) });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.outgoing.show(self.read);
        // Who was told the size does not read on to find the end.
        if self.read == described { self.check_digest() } else { Ok(()) }
    }
}

impl Read for Verifying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let checked = match count {
            0 if !buffer.is_empty() => self.check_end(),
            _ => self.take(&buffer[..count]),
        };
        checked.map(|()| count).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}
