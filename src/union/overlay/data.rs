//! A file's bytes: reading, writing, making room, copying, and making them last.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};

use super::super::Whence;
use super::super::partial::Partial;
use super::copy_up::Wanted;
use super::nodes::Place;
use super::open::Source;
use super::upper::{At, Extent};
use super::{Allocate, Allocation, Errno, Error, Kill, Name, NodeId, Overlay, Result, fault};
use crate::layer::Kind;
use crate::lower::Below;

/// The most that one copy_file_range moves, so that no request takes for ever.
const MOST_COPIED: u64 = 64 << 20;

thread_local! {
    /// Where bytes of the upper are read into.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Overlay {
    /// Calls `serve` once with up to `length` bytes at `offset`; fewer only at the end of the file.
    pub fn read<R>(
        &self,
        node: NodeId,
        offset: u64,
        length: u32,
        serve: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        match self.source(node)? {
            Source::Lower(below) => {
                let (mut serve, mut result) = (Some(serve), None);
                let mut take = |bytes: &[u8]| result = serve.take().map(|serve| serve(bytes));
                below.read(offset, length, &mut take).map_err(fault("reading a file"))?;
                result.ok_or(Error::Answer(Errno::IO))
            }
            Source::File(file) => {
                let mut bytes = SPARE.take();
                bytes.resize(length as usize, 0);
                let read = read_full(&file, &mut bytes, offset).map_err(answer)?;
                let result = serve(&bytes[..read]);
                SPARE.set(bytes);
                Ok(result)
            }
            Source::Partial(partial) => {
                let mut bytes = vec![0; length as usize];
                let read = partial.read(&mut bytes, offset)?;
                Ok(serve(&bytes[..read]))
            }
        }
    }

    /// Whether [`Overlay::read`] would answer at once.
    pub fn is_at_hand(&self, node: NodeId, offset: u64, length: u32) -> bool {
        match self.nodes.read().get(node).map(|node| (&node.place, node.content())) {
            Ok((Place::Lower(below), _) | (_, Some(below))) => below.is_at_hand(offset, length),
            _ => true,
        }
    }

    /// How many bytes are copied up before a node is as it is wanted, at most.
    pub fn copied_for(&self, node: NodeId, wanted: Wanted) -> u64 {
        let nodes = self.nodes.read();
        let below = nodes.get(node).ok().and_then(|node| match (&node.place, node.kind) {
            (Place::Lower(below), Kind::File) => Some(below),
            _ => node.content(),
        });
        let copied = |below: &Below| {
            let size = below.stat().map_err(fault("measuring a file"))?.size;
            let waits = wanted == Wanted::Nothing || self.may_wait(below, size, wanted)?;
            Ok::<_, Error>(if waits { 0 } else { size })
        };
        below.and_then(|below| copied(below).ok()).unwrap_or(0)
    }

    /// The same for giving it another name. Of a directory that is not the upper's alone it is not known.
    pub fn copied_by_renaming(&self, at: Name<'_>) -> u64 {
        let nodes = self.nodes.read();
        let child = nodes.get(at.parent).ok().and_then(|parent| parent.children.get(at.name).copied());
        let Some(id) = child else { return 0 };
        match nodes.get(id) {
            Ok(node) if node.kind == Kind::Directory && node.below().is_some() => u64::MAX,
            _ => {
                drop(nodes);
                self.copied_for(id, Wanted::Attributes)
            }
        }
    }

    pub fn write(&self, node: NodeId, offset: u64, data: &[u8], kill: Kill) -> Result<u32> {
        self.copy_up(node, Wanted::Blocks)?;
        let file = self.writable(node)?;
        self.drop_set_id(At::Open(file.as_fd()), kill)?;
        if !self.write_partial(node, offset, data)? {
            file.write_all_at(data, offset).map_err(answer)?;
        }
        Ok(u32::try_from(data.len()).unwrap_or(u32::MAX))
    }

    pub fn allocate(&self, node: NodeId, allocation: Allocation) -> Result<()> {
        let mut flags = match allocation.what {
            Allocate::Space => FallocateFlags::empty(),
            Allocate::Zeros => FallocateFlags::ZERO_RANGE,
            Allocate::Hole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        };
        flags.set(FallocateFlags::KEEP_SIZE, allocation.keep_size || allocation.what == Allocate::Hole);
        self.copy_up(node, Wanted::All)?;
        let file = self.writable(node)?;
        Ok(rustix::fs::fallocate(&*file, flags, allocation.offset, allocation.length)?)
    }

    /// copy_file_range(2). EOPNOTSUPP where there is no file to copy from: the kernel then copies by itself.
    pub fn copy_range(&self, from: (NodeId, u64), to: (NodeId, u64), length: u64) -> Result<u64> {
        self.copy_up(to.0, Wanted::All)?;
        let source = match self.source(from.0)? {
            Source::File(file) => file,
            Source::Lower(below) => {
                let file = below.file().map_err(fault("opening a file to copy from"))?;
                file.ok_or(Error::Answer(Errno::OPNOTSUPP))?
            }
            Source::Partial(_) => return Err(Errno::OPNOTSUPP.into()),
        };
        let target = self.writable(to.0)?;
        let (mut from, mut to) = (from.1, to.1);
        let length = usize::try_from(length.min(MOST_COPIED)).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(&*source, Some(&mut from), &*target, Some(&mut to), length);
        match copied {
            Err(Errno::XDEV) => Err(Errno::OPNOTSUPP.into()),
            copied => Ok(copied? as u64),
        }
    }

    /// The first data, or the first hole, at or after `offset`; the end of the file is a hole.
    pub fn seek(&self, node: NodeId, offset: u64, whence: Whence) -> Result<u64> {
        match self.source(node)? {
            Source::Lower(below) => seek_lower(&below, offset, whence),
            Source::File(file) => {
                let place = match whence {
                    Whence::Data => SeekFrom::Data(offset),
                    Whence::Hole => SeekFrom::Hole(offset),
                };
                Ok(rustix::fs::seek(&*file, place)?)
            }
            // All of it counts as data.
            Source::Partial(_) => match (self.attributes(node)?.stat.size, whence) {
                (size, _) if offset >= size => Err(Errno::NXIO.into()),
                (_, Whence::Data) => Ok(offset),
                (size, Whence::Hole) => Ok(size),
            },
        }
    }

    /// fsync(2) of a file or directory. What is only in the lower side is safe already, and a directory without a name
    /// has nothing to keep.
    pub fn sync(&self, node: NodeId, data_only: bool) -> Result<()> {
        let nodes = self.nodes.read();
        let known = nodes.get(node)?;
        let extent = if data_only { Extent::Data } else { Extent::Whole };
        match (&known.place, known.kind) {
            (Place::Lower(_), _) | (Place::Orphan { .. }, Kind::Directory) => return Ok(()),
            _ => {}
        }
        let ancestors = self.ancestors(&nodes, node)?;
        if let (Kind::Directory, Place::Upper { .. }) = (known.kind, &known.place) {
            let directory = self.directory(&nodes, node)?;
            drop(nodes);
            return Ok(self.upper()?.sync_dir(&directory, &ancestors)?);
        }
        drop(nodes);
        match self.source(node)? {
            Source::File(file) | Source::Partial(Partial { file, .. }) => {
                Ok(self.upper()?.sync(&*file, extent, &ancestors)?)
            }
            Source::Lower(_) => Ok(()),
        }
    }
}

fn seek_lower(below: &Below, offset: u64, whence: Whence) -> Result<u64> {
    let told = || fault("looking for a file's holes");
    let size = below.stat().map_err(told())?.size;
    if offset >= size {
        return Err(Errno::NXIO.into());
    }
    let run = below.data(offset).map_err(told())?;
    match (whence, run) {
        (Whence::Data, None) => Err(Errno::NXIO.into()),
        (Whence::Data, Some(run)) => Ok(run.start),
        (Whence::Hole, Some(run)) if run.start == offset => Ok(run.end.min(size)),
        (Whence::Hole, _) => Ok(offset),
    }
}

fn read_full(file: &std::fs::File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn answer(error: io::Error) -> Error {
    Error::Answer(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
