//! A layer that no image speaks of yet: what its stream is, is found out by reading it.

use std::io::{self, Read};

use super::{Error, Result};
use crate::layer::Identity;
use crate::layer::pass::{self, Pass, Passed, SidecarPolicy};
use crate::layer::write::{Compression, Stream, Writer, compressed};
use crate::store::{Derived, Ingest, Store};

/// A layer that was read to its end, and is in the store only once it is [kept](Made::keep).
pub(super) struct Made {
    passed: Passed,
    ingest: Ingest,
}

impl Made {
    pub fn read(store: &Store, stream: impl Read) -> Result<Self> {
        let mut keeping = Keeping { stream, ingest: store.ingest()?, fault: None };
        let mut spool = || store.begin_derived().map_err(io::Error::other);
        let passed = pass::pass(&mut keeping, Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut spool });
        if let Some(fault) = keeping.fault {
            return Err(Error::Store(fault));
        }
        Ok(Self { passed: passed.map_err(Error::source)?, ingest: keeping.ingest })
    }

    /// The index first, as where a layer comes in.
    pub fn keep(self, store: &Store) -> Result<Identity> {
        let Passed { index, identity, sidecar } = self.passed;
        if let Some(sidecar) = sidecar {
            store.publish_derived(Derived::Sidecar, &identity.digest, sidecar)?;
        }
        store.put_derived(Derived::Index, &identity.digest, &index)?;
        self.ingest.publish(&identity.digest, identity.size)?;
        Ok(identity)
    }
}

/// Keeps the layer that `stream` is, as it is. The image that it is for must come to be under the same lease.
pub fn taken(store: &Store, stream: impl Read) -> Result<Identity> {
    Made::read(store, stream)?.keep(store)
}

/// Keeps the layer that `write` writes, compressed, digested and indexed on the way; none if it says that there is
/// nothing in it. The image that it is for must come to be under the same lease.
pub fn written<E>(
    store: &Store,
    compression: Compression,
    write: impl FnOnce(&mut Writer<Stream>) -> Result<Content, E> + Send,
) -> Result<Option<Identity>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let write = |stream| -> Result<Content> {
        let mut writer = Writer::new(stream);
        let content = write(&mut writer).map_err(Error::source)?;
        writer.finish().map_err(Error::source)?;
        Ok(content)
    };
    let (wrote, read) = compressed(compression, write, |stream| Made::read(store, stream));
    match (wrote, read) {
        // A full disk ends the reading first, and that is why nothing more could be written.
        (_, Err(fault @ Error::Store(_))) | (Some(Err(fault)), _) | (Some(Ok(_)), Err(fault)) => Err(fault),
        (None, _) => Err(Error::Worker),
        (Some(Ok(Content::Nothing)), Ok(_)) => Ok(None),
        (Some(Ok(Content::Entries)), Ok(made)) => made.keep(store).map(Some),
    }
}

/// Whether a layer that was written is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Nothing,
    Entries,
}

impl Content {
    pub fn of(entries: u64) -> Self {
        if entries == 0 { Self::Nothing } else { Self::Entries }
    }
}

/// Writes to the store what is read.
struct Keeping<R> {
    stream: R,
    ingest: Ingest,
    fault: Option<crate::store::Error>,
}

impl<R: Read> Read for Keeping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.ingest.append(&buffer[..count]).map_err(|error| {
            let message = error.to_string();
            self.fault = Some(error);
            io::Error::other(message)
        })?;
        Ok(count)
    }
}
