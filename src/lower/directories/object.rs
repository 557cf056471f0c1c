//! An object of stacked directories.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::whiteout::{self, Found};
use super::{Directories, aliases, merge};
use crate::layer::Kind;
use crate::layer::write::join;
use crate::lower::object::{Below, Child, Located, Object, Pairs, Path};
use crate::lower::{Number, Result, Stat};
use crate::sys::xattr::{self, Place};

pub struct Stacked {
    all: Arc<Directories>,
    /// From the root of each layer, without a leading slash.
    path: Vec<u8>,
    /// The layers that have it, top first: one, if it is no directory.
    on: Vec<usize>,
    /// Which layer its attributes are of.
    described: usize,
    kind: Kind,
}

impl Stacked {
    pub(super) fn root(all: Arc<Directories>) -> Result<Self> {
        let mut gathered = Gathered::default();
        for layer in 0..all.layers.len() {
            let directory = all.directory(layer, b"")?;
            let taken = gathered.take(&all, layer, &directory);
            if taken.map_err(|error| all.fault(layer, b"", error))? {
                break;
            }
        }
        Ok(gathered.directory(all, Vec::new()))
    }

    pub(super) fn layers(&self) -> &[usize] {
        &self.on
    }

    pub(super) fn all(&self) -> &Directories {
        &self.all
    }

    /// The directory as one layer has it, open for reading.
    pub(super) fn in_layer(&self, layer: usize) -> Result<OwnedFd> {
        let opened = self.all.open(layer, &self.path, OFlags::RDONLY | OFlags::DIRECTORY);
        opened.map_err(|source| self.fault(layer, source))
    }

    pub(super) fn fault(&self, layer: usize, source: Errno) -> crate::lower::Error {
        self.all.fault(layer, &self.path, source)
    }

    fn open(&self, flags: OFlags) -> Result<OwnedFd> {
        let opened = self.all.open(self.described, &self.path, flags);
        opened.map_err(|source| self.fault(self.described, source))
    }

    fn content(&self) -> Result<File> {
        Ok(File::from(self.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?))
    }

    fn told<T>(&self, result: rustix::io::Result<T>) -> Result<T> {
        result.map_err(|source| self.fault(self.described, source))
    }
}

/// The directories of one name, as the layers are gone through from the top.
#[derive(Default)]
struct Gathered {
    on: Vec<usize>,
    /// The topmost that is there for its own sake.
    described: Option<usize>,
}

/// What a layer says of the layers below it.
enum Looked {
    On,
    Over,
    Leaf(Kind),
}

impl Gathered {
    /// Takes what a layer's directory has under a name.
    fn look(
        &mut self,
        all: &Directories,
        layer: usize,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> rustix::io::Result<Looked> {
        let over = |is_over| if is_over { Looked::Over } else { Looked::On };
        let is_marked = || whiteout::has_marker(directory, name, all.namespace);
        Ok(match whiteout::find(directory, name, all.namespace)? {
            Found::Whiteout => Looked::Over,
            Found::Absent => over(is_marked()?),
            Found::Leaf(_) if !self.on.is_empty() => Looked::Over,
            Found::Leaf(stat) => {
                if stat.st_size > 0 && whiteout::is_unfilled(Place::Name(directory, name), all.namespace)? {
                    return Err(Errno::PERM);
                }
                Looked::Leaf(Kind::from(FileType::from_raw_mode(stat.st_mode)))
            }
            Found::Directory(_) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                over(self.take(all, layer, &child)? || is_marked()?)
            }
        })
    }

    /// Takes a layer's directory; whether it hides those below.
    fn take(&mut self, all: &Directories, layer: usize, directory: &OwnedFd) -> rustix::io::Result<bool> {
        let place = Place::Name(directory.as_fd(), b".");
        if whiteout::mark(place, all.namespace, "redirect")?.is_some() {
            return Err(Errno::PERM);
        }
        self.on.push(layer);
        if self.described.is_none() && whiteout::mark(place, all.namespace, "plyfs.implicit")?.is_none() {
            self.described = Some(layer);
        }
        whiteout::is_opaque(directory.as_fd(), all.namespace)
    }

    fn directory(self, all: Arc<Directories>, path: Vec<u8>) -> Stacked {
        let described = self.described.or(self.on.first().copied()).unwrap_or(0);
        Stacked { all, path, described, on: self.on, kind: Kind::Directory }
    }
}

impl Object for Stacked {
    fn path(&self) -> &[u8] {
        &self.path
    }

    fn stat(&self) -> Result<Stat> {
        let object = self.open(OFlags::PATH)?;
        let raw = self.told(rustix::fs::fstat(&object))?;
        let mut stat = Stat::of(&raw, self.all.layers[self.described].file_system);
        if self.on.len() > 1 {
            stat.links = 1;
            // Of the topmost, as a listing says, which does not look for whose attributes show.
            let top = self.told(self.all.open(self.on[0], &self.path, OFlags::PATH))?;
            let raw = self.told(rustix::fs::fstat(&top))?;
            stat.number = Number { file_system: self.all.layers[self.on[0]].file_system, inode: raw.st_ino };
        }
        Ok(stat)
    }

    fn lookup(&self, name: &[u8]) -> Result<Option<Below>> {
        if self.kind != Kind::Directory {
            return Ok(None);
        }
        let (path, mut gathered) = (join(&self.path, name), Gathered::default());
        for &layer in &self.on {
            let directory = self.all.directory(layer, &self.path)?;
            let looked = gathered.look(&self.all, layer, directory.as_fd(), name);
            match looked.map_err(|error| self.all.fault(layer, &path, error))? {
                Looked::On => {}
                Looked::Over => break,
                Looked::Leaf(kind) => {
                    let (all, on) = (self.all.clone(), vec![layer]);
                    return Ok(Some(Arc::new(Self { all, path, on, described: layer, kind })));
                }
            }
        }
        let is_there = !gathered.on.is_empty();
        Ok(is_there.then(|| Arc::new(gathered.directory(self.all.clone(), path)) as Below))
    }

    fn children(&self) -> Result<Vec<Child>> {
        merge::children(self)
    }

    fn target(&self) -> Result<Vec<u8>> {
        let object = self.open(OFlags::PATH)?;
        Ok(self.told(rustix::fs::readlinkat(&object, "", Vec::new()))?.into_bytes())
    }

    fn xattrs(&self) -> Result<Pairs> {
        let (parent, name) = match self.path.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (&self.path[..at], &self.path[at + 1..]),
            None => (&b""[..], if self.path.is_empty() { &b"."[..] } else { &self.path[..] }),
        };
        let directory = self.all.directory(self.described, parent)?;
        let place = Place::Name(directory.as_fd(), name);
        let names = match xattr::list(place) {
            Err(Errno::OPNOTSUPP) => return Ok(Pairs::new()),
            names => self.told(names)?,
        };
        let mut pairs = Pairs::new();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            if let Some(shown) = self.all.namespace.shown(name) {
                let value = self.told(xattr::get(place, name))?;
                pairs.extend(value.map(|value| (shown, value)));
            }
        }
        Ok(pairs)
    }

    fn read(&self, offset: u64, length: u32, serve: &mut dyn FnMut(&[u8])) -> Result<()> {
        let file = self.content()?;
        let mut bytes = vec![0; length as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let read = file.read_at(&mut bytes[filled..], offset + filled as u64);
            match self.told(read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)))? {
                0 => break,
                more => filled += more,
            }
        }
        serve(&bytes[..filled]);
        Ok(())
    }

    fn is_at_hand(&self, _: u64, _: u32) -> bool {
        true
    }

    fn data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let file = self.content()?;
        match rustix::fs::seek(&file, SeekFrom::Data(offset)) {
            Err(Errno::NXIO) => Ok(None),
            start => {
                let start = self.told(start)?;
                Ok(Some(start..self.told(rustix::fs::seek(&file, SeekFrom::Hole(start)))?))
            }
        }
    }

    fn file(&self) -> Result<Option<Arc<File>>> {
        Ok(Some(Arc::new(self.content()?)))
    }

    fn digest(&self) -> Result<Option<[u8; 32]>> {
        Ok(None)
    }

    fn located(&self) -> Result<Option<Located>> {
        let Some(uuid) = self.all.layers[self.described].uuid else { return Ok(None) };
        Ok(Some(Located { object: self.open(OFlags::PATH)?, uuid }))
    }

    fn aliases(&self) -> Result<Vec<Path>> {
        let known = &self.all.layers[self.described].aliases;
        let all = match known.get() {
            Some(all) => all,
            None => {
                let found = self.told(aliases::find(&self.all, self.described))?;
                known.get_or_init(|| found)
            }
        };
        let raw = self.told(rustix::fs::fstat(self.open(OFlags::PATH)?))?;
        let names = |path: &Vec<u8>| path.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
        Ok(all.get(&(raw.st_dev, raw.st_ino)).into_iter().flatten().map(names).collect())
    }
}
