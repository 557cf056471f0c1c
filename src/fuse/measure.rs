//! Each request counted, from when it was read to when it was answered. A request is the business of the thread that
//! read it until it is handed to another; its time goes with it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::listener::Listener;
use crate::stats::{self, Answered, Counter, Opcode};
use crate::sys::clock;

/// A file system whose requests are counted.
pub struct Measured<F> {
    of: F,
    listener: Listener,
}

impl<F> Measured<F> {
    pub fn new(of: F, listener: Listener) -> Self {
        Self { of, listener }
    }

    /// What the listener does between this request and the next is not of this request's time.
    fn attend(&self, opcode: Opcode, node: INodeNo, name: Option<&OsStr>, work: impl FnOnce(&F)) {
        self.listener.attend(|| {
            let _here = Underway::begin(opcode, node, name);
            work(&self.of);
        });
    }
}

/// A request on its way to its answer; dropped, it is answered.
pub struct Underway {
    opcode: Opcode,
    node: u64,
    /// Kept only while someone follows.
    name: Option<Box<[u8]>>,
    since: u64,
    errno: i32,
}

thread_local! {
    static CURRENT: RefCell<Option<Underway>> = const { RefCell::new(None) };
}

/// This thread's request, which another goes on with: see [`Underway::here`].
pub fn take() -> Option<Underway> {
    CURRENT.take()
}

/// Says what this thread's request is answered with.
pub fn refused(errno: Errno) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.errno = errno.code();
        }
    });
}

/// This thread's request, answered when this is dropped unless it was taken.
pub struct Here;

impl Drop for Here {
    fn drop(&mut self) {
        drop(take());
    }
}

impl Underway {
    /// The request is this thread's from now on.
    pub fn here(request: Option<Self>) -> Here {
        CURRENT.set(request);
        Here
    }

    fn begin(opcode: Opcode, node: INodeNo, name: Option<&OsStr>) -> Here {
        let begun = stats::process().map(|tally| {
            let since = clock::steady();
            let name = name.filter(|_| tally.is_followed(since)).map(|name| name.as_bytes().into());
            Self { opcode, node: node.0, name, since, errno: 0 }
        });
        Self::here(begun)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let Some(tally) = stats::process() else { return };
        let Self { opcode, node, since, errno, .. } = *self;
        tally.answered(&Answered { opcode, node, name: self.name.as_deref(), since, errno });
    }
}

/// Requests that are passed on as they are. What stands behind `of` is the inode they are about, behind `named` a name.
macro_rules! pass_on {
    ($($method:ident($($argument:ident: $kind:ty),*; $reply:ty) $opcode:ident of $node:ident $(named $name:ident)?;)*) => {
        $(
            fn $method(&self, request: &Request, $($argument: $kind,)* reply: $reply) {
                let name: Option<&OsStr> = None $(.or(Some($name)))?;
                self.attend(Opcode::$opcode, $node, name, |of| of.$method(request, $($argument,)* reply));
            }
        )*
    };
}

impl<F: Filesystem> Filesystem for Measured<F> {
    fn init(&mut self, request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.of.init(request, config)
    }

    fn destroy(&mut self) {
        self.of.destroy();
    }

    fn forget(&self, request: &Request, node: INodeNo, lookups: u64) {
        self.attend(Opcode::Forget, node, None, |of| of.forget(request, node, lookups));
    }

    fn write(
        &self,
        request: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        how: WriteFlags,
        flags: OpenFlags,
        owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.attend(Opcode::Write, node, None, |of| {
            stats::count(Counter::BytesWritten, data.len() as u64);
            of.write(request, node, handle, offset, data, how, flags, owner, reply);
        });
    }

    pass_on! {
        lookup(parent: INodeNo, name: &OsStr; ReplyEntry) Lookup of parent named name;
        getattr(node: INodeNo, handle: Option<FileHandle>; ReplyAttr) Getattr of node;
        setattr(
            node: INodeNo, mode: Option<u32>, user: Option<u32>, group: Option<u32>, size: Option<u64>,
            accessed: Option<TimeOrNow>, modified: Option<TimeOrNow>, changed: Option<SystemTime>,
            handle: Option<FileHandle>, created: Option<SystemTime>, changed_mac: Option<SystemTime>,
            backed_up: Option<SystemTime>, flags: Option<BsdFileFlags>; ReplyAttr
        ) Setattr of node;
        readlink(node: INodeNo; ReplyData) Readlink of node;
        mknod(parent: INodeNo, name: &OsStr, mode: u32, umask: u32, device: u32; ReplyEntry) Mknod of parent named name;
        mkdir(parent: INodeNo, name: &OsStr, mode: u32, umask: u32; ReplyEntry) Mkdir of parent named name;
        unlink(parent: INodeNo, name: &OsStr; ReplyEmpty) Unlink of parent named name;
        rmdir(parent: INodeNo, name: &OsStr; ReplyEmpty) Rmdir of parent named name;
        symlink(parent: INodeNo, name: &OsStr, target: &Path; ReplyEntry) Symlink of parent named name;
        rename(
            parent: INodeNo, name: &OsStr, to: INodeNo, new: &OsStr, flags: RenameFlags; ReplyEmpty
        ) Rename of parent named name;
        link(node: INodeNo, parent: INodeNo, name: &OsStr; ReplyEntry) Link of parent named name;
        open(node: INodeNo, flags: OpenFlags; ReplyOpen) Open of node;
        read(
            node: INodeNo, handle: FileHandle, offset: u64, length: u32, flags: OpenFlags, owner: Option<LockOwner>;
            ReplyData
        ) Read of node;
        flush(node: INodeNo, handle: FileHandle, owner: LockOwner; ReplyEmpty) Flush of node;
        release(
            node: INodeNo, handle: FileHandle, flags: OpenFlags, owner: Option<LockOwner>, flush: bool; ReplyEmpty
        ) Release of node;
        fsync(node: INodeNo, handle: FileHandle, data_only: bool; ReplyEmpty) Fsync of node;
        opendir(node: INodeNo, flags: OpenFlags; ReplyOpen) Opendir of node;
        readdir(node: INodeNo, handle: FileHandle, cookie: u64; ReplyDirectory) Readdir of node;
        readdirplus(node: INodeNo, handle: FileHandle, cookie: u64; ReplyDirectoryPlus) Readdirplus of node;
        releasedir(node: INodeNo, handle: FileHandle, flags: OpenFlags; ReplyEmpty) Releasedir of node;
        fsyncdir(node: INodeNo, handle: FileHandle, data_only: bool; ReplyEmpty) Fsyncdir of node;
        statfs(node: INodeNo; ReplyStatfs) Statfs of node;
        setxattr(
            node: INodeNo, name: &OsStr, value: &[u8], flags: i32, position: u32; ReplyEmpty
        ) Setxattr of node named name;
        getxattr(node: INodeNo, name: &OsStr, size: u32; ReplyXattr) Getxattr of node named name;
        listxattr(node: INodeNo, size: u32; ReplyXattr) Listxattr of node;
        removexattr(node: INodeNo, name: &OsStr; ReplyEmpty) Removexattr of node named name;
        create(
            parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32; ReplyCreate
        ) Create of parent named name;
        ioctl(
            node: INodeNo, handle: FileHandle, flags: IoctlFlags, command: u32, given: &[u8], room: u32; ReplyIoctl
        ) Ioctl of node;
        poll(
            node: INodeNo, handle: FileHandle, notifier: PollNotifier, events: PollEvents, flags: PollFlags; ReplyPoll
        ) Poll of node;
        fallocate(
            node: INodeNo, handle: FileHandle, offset: u64, length: u64, mode: i32; ReplyEmpty
        ) Fallocate of node;
        lseek(node: INodeNo, handle: FileHandle, offset: i64, whence: i32; ReplyLseek) Lseek of node;
        copy_file_range(
            node: INodeNo, handle: FileHandle, offset: u64, to: INodeNo, to_handle: FileHandle, to_offset: u64,
            length: u64, flags: CopyFileRangeFlags; ReplyWrite
        ) CopyFileRange of node;
    }
}
