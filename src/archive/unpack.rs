//! Outer compression: `docker save | gzip` and the like. What is inside can be read only as a stream, so it is
//! unpacked into a file without a name, once in the life of a process and only if it must be.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::{Error, Result};
use super::members::{self, Listing};
use crate::layer::pass::MOST_OUTPUT;
use crate::layer::{Blob, Codec, decoder};
use crate::store::Store;

const BUFFER: usize = 128 << 10;

/// After how much it is seen whether this is a system's root, which need not be unpacked to its end.
const BEGINNING: u64 = 1 << 20;

/// A compressed file.
pub struct Packed {
    store: Store,
    path: PathBuf,
    blob: Blob,
    codec: Codec,
    unpacked: Mutex<Option<Arc<File>>>,
}

/// How far a file was unpacked.
enum Progress {
    Whole(u64),
    /// It began as a layer does.
    Layer,
}

impl Packed {
    pub fn new(store: &Store, path: PathBuf, blob: Blob, codec: Codec) -> Self {
        Self { store: store.clone(), path, blob, codec, unpacked: Mutex::new(None) }
    }

    /// What is inside.
    pub fn list(&self) -> Result<Listing> {
        let mut file = self.store.begin_derived()?;
        let Progress::Whole(size) = self.unpack(&mut file, BEGINNING)? else { return Ok(Listing::Layer) };
        let file = Arc::new(file);
        let broken = |fault| Error::BrokenTar { path: self.path.clone(), fault };
        let listing = members::list(&Blob::new(file.clone(), 0, size)).map_err(broken)?;
        *self.unpacked.lock() = Some(file);
        Ok(listing)
    }

    /// The unpacked bytes.
    pub fn unpacked(&self) -> Result<Arc<File>> {
        // Others who want it wait: it is unpacked once.
        let mut unpacked = self.unpacked.lock();
        if let Some(file) = &*unpacked {
            return Ok(file.clone());
        }
        let mut file = self.store.begin_derived()?;
        self.unpack(&mut file, u64::MAX)?;
        Ok(unpacked.insert(Arc::new(file)).clone())
    }

    fn unpack(&self, into: &mut File, look_at: u64) -> Result<Progress> {
        let fault = |source| Error::Unpack { path: self.path.clone(), source };
        let mut input =
            decoder(self.codec, BufReader::with_capacity(BUFFER, self.blob.reader())).map_err(fault)?;
        let beginning = io::copy(&mut input.by_ref().take(look_at), into).map_err(fault)?;
        if beginning == look_at && self.begins_as_layer(into, beginning).map_err(fault)? {
            return Ok(Progress::Layer);
        }
        let rest = io::copy(&mut input.take(MOST_OUTPUT), into).map_err(fault)?;
        if rest == MOST_OUTPUT {
            return Err(fault(io::Error::other(format!("it expands to more than {MOST_OUTPUT} bytes"))));
        }
        Ok(Progress::Whole(beginning + rest))
    }

    fn begins_as_layer(&self, file: &File, size: u64) -> io::Result<bool> {
        let file = Arc::new(file.try_clone()?);
        Ok(members::begins_as_layer(&Blob::new(file, 0, size)))
    }
}
