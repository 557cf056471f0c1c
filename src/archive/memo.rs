//! What has been found out about a file, kept in the store, so that it is found out once. Keyed by the file's
//! identity: a file that was written to is another file. A record with any fault is as none.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::members::{Members, Range};
use crate::oci::{DiffId, Digest, Hasher};
use crate::store::{Derived, Store};

/// Changes when a record would be read otherwise than it was written.
const VERSION: u32 = 1;
/// The largest record that is read.
const LIMIT: u64 = 256 << 20;

/// Which file, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Digest);

impl Identity {
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut hasher = Hasher::default();
        hasher.update(b"plyfs archive\0");
        let (mtime, ctime) = (metadata.mtime(), metadata.ctime());
        let numbers = [metadata.dev(), metadata.ino(), metadata.size(), mtime as u64, ctime as u64];
        let nanoseconds = [metadata.mtime_nsec() as u64, metadata.ctime_nsec() as u64];
        for number in numbers.into_iter().chain(nanoseconds) {
            hasher.update(&number.to_le_bytes());
        }
        Ok(Self(hasher.finish()))
    }
}

/// What a layer's bytes turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// A tar that is not compressed: its digest is its diff id.
    Plain,
    Passed(Passed),
}

/// What an index pass told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    pub media_type: String,
    pub digest: Digest,
    pub diff_id: DiffId,
}

/// What a file as a whole is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A layer.
    Layer,
    /// A compressed archive of images: what is in it, and the documents that were read, by name.
    Packed { members: Members, documents: BTreeMap<String, String> },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    content: Option<Content>,
    layers: Vec<(Range, Known)>,
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, content: None, layers: Vec::new() }
    }
}

/// The records of the files that one archive is read from.
pub struct Memo {
    store: Store,
    records: Mutex<HashMap<Identity, Record>>,
}

impl Memo {
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), records: Mutex::default() }
    }

    pub fn content(&self, file: Identity) -> Option<Content> {
        self.with(file, |record| record.content.clone())
    }

    pub fn layer(&self, file: Identity, range: Range) -> Option<Known> {
        self.with(file, |record| {
            record.layers.iter().find(|(at, _)| *at == range).map(|(_, known)| known.clone())
        })
    }

    pub fn learn_content(&self, file: Identity, content: Content) {
        self.learn(file, |record| record.content = Some(content));
    }

    pub fn learn_layer(&self, file: Identity, range: Range, known: Known) {
        self.learn(file, |record| {
            record.layers.retain(|(at, _)| *at != range);
            record.layers.push((range, known));
        });
    }

    fn with<T>(&self, file: Identity, look: impl FnOnce(&mut Record) -> T) -> T {
        let mut records = self.records.lock();
        look(records.entry(file).or_insert_with(|| self.load(file).unwrap_or_default()))
    }

    fn load(&self, file: Identity) -> Option<Record> {
        let stored = self.store.derived(Derived::Archive, &file.0).ok()??;
        let mut text = Vec::new();
        stored.take(LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok().filter(|record: &Record| record.version == VERSION)
    }

    /// What cannot be kept is found out again: that is slow, not wrong.
    fn learn(&self, file: Identity, change: impl FnOnce(&mut Record)) {
        let changed = self.with(file, |record| {
            change(record);
            record.clone()
        });
        if let Err(error) = self.save(file, &changed) {
            log::warn!("what was found out about an archive is not kept: {error}");
        }
    }

    fn save(&self, file: Identity, record: &Record) -> Result<(), Box<dyn std::error::Error>> {
        let mut stored = self.store.begin_derived()?;
        stored.write_all(&serde_json::to_vec(record)?)?;
        Ok(self.store.publish_derived(Derived::Archive, &file.0, stored)?)
    }
}
