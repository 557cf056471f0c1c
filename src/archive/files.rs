//! The files that an archive consists of, by name: of a directory, of a tar, or of a tar that is compressed. Nothing
//! outside of the archive is ever opened.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::{Error, Result};
use super::members::{Members, Range};
use super::memo::{Content, Identity, Memo};
use super::unpack::Packed;
use crate::layer::Blob;
use crate::oci::DOCUMENT_LIMIT;
use crate::sys::beneath;

pub struct Files {
    path: PathBuf,
    place: Place,
}

enum Place {
    Directory(OwnedFd),
    Tar {
        tar: Blob,
        identity: Identity,
        members: Members,
    },
    Packed(PackedFiles),
    /// The file is a layer itself.
    Layer(Found),
}

/// A compressed tar: its members can be read only once it is unpacked, and what was read before is remembered.
struct PackedFiles {
    outer: Packed,
    identity: Identity,
    members: Members,
    documents: Mutex<Documents>,
}

#[derive(Default)]
struct Documents {
    by_name: BTreeMap<String, String>,
    /// Whether some are not in the memo yet.
    grown: bool,
}

/// A file of the archive.
#[derive(Clone)]
pub struct Found {
    pub name: String,
    /// The file that it is in, and where: what the memo knows it by.
    pub file: Identity,
    pub range: Range,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Here(Blob),
    Packed,
}

impl Files {
    pub fn directory(path: &Path) -> Result<Self> {
        let root = beneath::root(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), place: Place::Directory(root) })
    }

    pub fn tar(path: &Path, tar: Blob, identity: Identity, members: Members) -> Self {
        Self { path: path.to_owned(), place: Place::Tar { tar, identity, members } }
    }

    pub fn of_layer(path: &Path, blob: Blob, identity: Identity) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let range = Range { offset: 0, size: blob.size() };
        let found = Found { name, file: identity, range, bytes: Bytes::Here(blob) };
        Self { path: path.to_owned(), place: Place::Layer(found) }
    }

    pub fn packed(
        path: &Path,
        outer: Packed,
        identity: Identity,
        members: Members,
        documents: BTreeMap<String, String>,
    ) -> Self {
        let documents = Mutex::new(Documents { grown: documents.is_empty(), by_name: documents });
        let place = Place::Packed(PackedFiles { outer, identity, members, documents });
        Self { path: path.to_owned(), place }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself, where it is a layer and no archive.
    pub fn layer(&self) -> Option<&Found> {
        match &self.place {
            Place::Layer(found) => Some(found),
            _ => None,
        }
    }

    pub fn find(&self, name: &str) -> Result<Option<Found>> {
        let found = |file, range, bytes| Some(Found { name: name.to_owned(), file, range, bytes });
        Ok(match &self.place {
            Place::Directory(root) => return self.find_in_directory(root, name),
            Place::Layer(_) => None,
            Place::Tar { tar, identity, members } => members
                .find(name)
                .and_then(|range| found(*identity, range, Bytes::Here(tar.part(range.offset, range.size)))),
            Place::Packed(packed) => {
                packed.members.find(name).and_then(|range| found(packed.identity, range, Bytes::Packed))
            }
        })
    }

    fn find_in_directory(&self, root: &OwnedFd, name: &str) -> Result<Option<Found>> {
        let fault = |source| Error::Member { path: self.path.clone(), name: name.to_owned(), source };
        let Some(file) = beneath::open_file(root.as_fd(), Path::new(name)).map_err(fault)? else {
            return Ok(None);
        };
        let size = file.metadata().map_err(fault)?.len();
        let identity = Identity::of(&file).map_err(fault)?;
        let bytes = Bytes::Here(Blob::new(Arc::new(file), 0, size));
        Ok(Some(Found { name: name.to_owned(), file: identity, range: Range { offset: 0, size }, bytes }))
    }

    pub fn require(&self, name: &str) -> Result<Found> {
        let missing = || Error::NoMember { path: self.path.clone(), name: name.to_owned() };
        self.find(name)?.ok_or_else(missing)
    }

    /// Where a file's bytes can be read in place; `None` inside a compressed archive.
    pub fn place(&self, found: &Found) -> Option<Blob> {
        match &found.bytes {
            Bytes::Here(blob) => Some(blob.clone()),
            Bytes::Packed => None,
        }
    }

    /// A file's bytes, wherever they are. The first call for a compressed archive unpacks it.
    pub fn blob(&self, found: &Found) -> Result<Blob> {
        match (&found.bytes, &self.place) {
            (Bytes::Here(blob), _) => Ok(blob.clone()),
            (Bytes::Packed, Place::Packed(packed)) => {
                let Range { offset, size } = found.range;
                Ok(Blob::new(packed.outer.unpacked()?, offset, size))
            }
            (Bytes::Packed, _) => Err(Error::NoMember { path: self.path.clone(), name: found.name.clone() }),
        }
    }

    /// A small file, whole; `None` where nothing has that name.
    pub fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if let Some(text) = self.remembered(name) {
            return Ok(Some(text.into_bytes()));
        }
        let Some(found) = self.find(name)? else { return Ok(None) };
        let bytes = self.read(&found)?;
        self.keep(name, &bytes);
        Ok(Some(bytes))
    }

    /// The same of one that no digest names. It may have been written by hand, with an editor's mark before the text.
    pub fn listing(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let text = self.document(name)?;
        Ok(text.map(|text| text.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(text)))
    }

    fn read(&self, found: &Found) -> Result<Vec<u8>> {
        let size = found.range.size;
        let (path, name) = (self.path.clone(), found.name.clone());
        if size > DOCUMENT_LIMIT {
            return Err(Error::TooLarge { path, name, size, limit: DOCUMENT_LIMIT });
        }
        let mut bytes = vec![0; size as usize];
        let read = self.blob(found)?.read_at(&mut bytes, 0);
        let count = read.map_err(|source| Error::Member { path, name, source })?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn remembered(&self, name: &str) -> Option<String> {
        let Place::Packed(packed) = &self.place else { return None };
        packed.documents.lock().by_name.get(name).cloned()
    }

    fn keep(&self, name: &str, bytes: &[u8]) {
        let Place::Packed(packed) = &self.place else { return };
        if let Ok(text) = std::str::from_utf8(bytes) {
            let mut documents = packed.documents.lock();
            documents.by_name.insert(name.to_owned(), text.to_owned());
            documents.grown = true;
        }
    }

    /// Has the memo keep what was read of a compressed archive, so that it need not be unpacked the next time.
    pub fn remember(&self, memo: &Memo) {
        let Place::Packed(packed) = &self.place else { return };
        let mut documents = packed.documents.lock();
        if std::mem::take(&mut documents.grown) {
            let (members, documents) = (packed.members.clone(), documents.by_name.clone());
            memo.learn_content(packed.identity, Content::Packed { members, documents });
        }
    }

    /// The names of the directories at the top.
    pub fn directories(&self) -> Result<BTreeSet<String>> {
        let members = match &self.place {
            Place::Directory(_) => return self.list_directory(),
            Place::Layer(_) => return Ok(BTreeSet::new()),
            Place::Tar { members, .. } => members,
            Place::Packed(packed) => &packed.members,
        };
        let first = |name: &str| name.split_once('/').map(|(first, _)| first.to_owned());
        Ok(members.names().filter_map(first).collect())
    }

    fn list_directory(&self) -> Result<BTreeSet<String>> {
        let fault = |source| Error::Read { path: self.path.clone(), source };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(&self.path).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if entry.file_type().map_err(fault)?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }
}
