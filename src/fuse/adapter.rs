//! Requests become calls of the union.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags,
    PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{Refuse, answer, guarded, reply_xattr};
use super::convert::{self, UNLIMITED, file_attributes, file_type};
use super::passthrough::{Passthrough, STACK_DEPTH, Way};
use super::pool::{Job, Pool};
use crate::union::{self, NAME_MAX, NodeId, Union};

/// Nodes are never given to another file, so there is one generation.
const GENERATION: Generation = Generation(0);
const BLOCK: u32 = 4096;
/// The most the kernel reads with one request is the greater of this and its readahead.
const LARGEST_REQUEST: u32 = 1 << 20;
const MOST_BACKGROUND: u16 = 64;

pub struct Adapter {
    union: Arc<Union>,
    pool: Pool,
    /// None: files are opened without asking.
    passthrough: Option<Passthrough>,
}

impl Adapter {
    pub fn new(union: Arc<Union>, pool: Pool, passthrough: Option<Passthrough>) -> Self {
        Self { union, pool, passthrough }
    }

    /// With FUSE_READDIRPLUS_AUTO the kernel would list all but the start of a large directory without attributes, and
    /// then ask for each name.
    fn wanted(&self) -> InitFlags {
        let mut flags = InitFlags::FUSE_ASYNC_READ
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_EXPORT_SUPPORT
            | InitFlags::FUSE_ALLOW_IDMAP
            | InitFlags::FUSE_MAX_PAGES;
        // With it the kernel asks for a list at every directory it enters.
        flags.set(InitFlags::FUSE_POSIX_ACL, self.union.has_access_lists());
        match self.passthrough {
            Some(_) => flags | InitFlags::FUSE_PASSTHROUGH,
            None => flags | InitFlags::FUSE_NO_OPEN_SUPPORT,
        }
    }

    fn entry(&self, parent: INodeNo, name: &OsStr) -> union::Result<fuser::FileAttr> {
        match self.union.lookup(node(parent), name.as_bytes()) {
            Ok(found) => Ok(file_attributes(&self.union.attributes(found)?)),
            Err(union::Error::Answer(union::Errno::NOENT)) => Ok(convert::no_entry()),
            Err(error) => Err(error),
        }
    }

    /// A handle says nothing: files are known by their inodes.
    fn open_by(&self, passthrough: &Passthrough, node: NodeId, reply: ReplyOpen) {
        let whole = || self.union.whole_file(node);
        answer("opening a file", reply, whole, |reply, file| {
            match passthrough.open(node, || file.map(|file| reply.open_backing(&*file))) {
                Way::PassedThrough(backing) => {
                    reply.opened_passthrough(FileHandle(0), FopenFlags::FOPEN_NOFLUSH, &backing);
                }
                Way::Asked { .. } => {
                    let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                    reply.opened(FileHandle(0), flags);
                }
            }
        });
    }
}

fn node(number: INodeNo) -> NodeId {
    NodeId::new(number.0)
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let flags = self.wanted() & config.capabilities();
        if self.passthrough.is_some() && !flags.contains(InitFlags::FUSE_PASSTHROUGH) {
            return Err(io::Error::other(
                "this kernel cannot pass files through, as Linux 6.9 and later can",
            ));
        }
        // Each call fails only for a value out of a range these are in.
        let _ = config.add_capabilities(flags);
        let _ = config.set_max_background(MOST_BACKGROUND);
        let _ = config.set_max_write(LARGEST_REQUEST);
        let _ = config.set_max_stack_depth(self.passthrough.as_ref().map_or(0, |_| STACK_DEPTH));
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer(
            "looking up a name",
            reply,
            || self.entry(parent, name),
            |reply, attributes| {
                reply.entry(&UNLIMITED, &attributes, GENERATION);
            },
        );
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = || self.union.attributes(node(ino));
        answer("getting attributes", reply, attributes, |reply, attributes| {
            reply.attr(&UNLIMITED, &file_attributes(&attributes));
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        answer("reading a symlink", reply, || self.union.read_link(node(ino)), ReplyData::data);
    }

    /// ENOSYS means: open what you like without asking, keep what you read.
    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match (flags.acc_mode(), &self.passthrough) {
            (OpenAccMode::O_RDONLY, None) => reply.refuse(Errno::ENOSYS),
            (OpenAccMode::O_RDONLY, Some(passthrough)) => self.open_by(passthrough, node(ino), reply),
            _ => reply.refuse(Errno::EROFS),
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(passthrough) = &self.passthrough {
            passthrough.release(node(ino));
        }
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.refuse(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.pool.read(&self.union, Job { node: node(ino), offset, length, reply });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.refuse(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, cookie: u64, mut reply: ReplyDirectory) {
        let list = || {
            let listed = self.union.read_directory(node(ino), cookie, |entry| {
                let number = INodeNo(entry.node.number());
                let name = OsStr::from_bytes(entry.name);
                full(reply.add(number, entry.next, file_type(entry.kind), name))
            });
            answer("listing a directory", reply, || listed, |reply, ()| reply.ok());
        };
        guarded("listing a directory", list);
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        cookie: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let list = || {
            let mut described = Ok(());
            let listed = self.union.read_directory(node(ino), cookie, |entry| {
                match self.union.attributes(entry.node) {
                    Ok(attributes) => {
                        let attributes = file_attributes(&attributes);
                        let name = OsStr::from_bytes(entry.name);
                        full(reply.add(attributes.ino, entry.next, name, &UNLIMITED, &attributes, GENERATION))
                    }
                    Err(error) => {
                        described = Err(error);
                        ControlFlow::Break(())
                    }
                }
            });
            answer("listing a directory", reply, || listed.and(described), |reply, ()| reply.ok());
        };
        guarded("listing a directory", list);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        answer(
            "counting the file system",
            reply,
            || Ok(self.union.statistics()),
            |reply, counted| {
                let blocks = counted.bytes.div_ceil(u64::from(BLOCK));
                reply.statfs(blocks, 0, 0, counted.files, 0, BLOCK, NAME_MAX as u32, BLOCK);
            },
        );
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = || self.union.xattr(node(ino), name.as_bytes());
        answer("getting an attribute", reply, value, |reply, value| reply_xattr(reply, size, value));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = || self.union.list_xattr(node(ino));
        answer("listing attributes", reply, names, |reply, names| reply_xattr(reply, size, &names));
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let find = || {
            let (offset, whence) = convert::seeking(offset, whence)?;
            self.union.seek(node(ino), offset, whence)
        };
        answer("seeking", reply, find, |reply, place| reply.offset(place as i64));
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.refuse(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        // The kernel then says itself that a file is always ready.
        reply.refuse(Errno::ENOSYS);
    }

    // The kernel asks none of the rest of a read-only mount, unless root has remounted it to be written.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.refuse(Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.refuse(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.refuse(Errno::EROFS);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.refuse(Errno::EROFS);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.refuse(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.refuse(Errno::EROFS);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.refuse(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.refuse(Errno::EROFS);
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        reply.refuse(Errno::EROFS);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.refuse(Errno::EROFS);
    }

    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.refuse(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.refuse(Errno::EROFS);
    }

    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.refuse(Errno::EROFS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.refuse(Errno::EROFS);
    }
}

fn full(is_full: bool) -> ControlFlow<()> {
    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
