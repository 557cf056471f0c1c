//! Requests become calls of a union that can be written. The kernel keeps what it was told: all that changes, changes
//! through it, so that it knows by itself what is no longer so.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::answer::{Refuse, answer, reply_xattr};
use super::convert::{self, file_attributes, file_type};
use super::opening::{Entry, Opener};
use super::passthrough::STACK_DEPTH;
use super::pool::{Job, Pool};
use crate::union::overlay::{
    Access, Caller, Change, Handle, Kill, Listed, Make, Name, Opening, Space, Wanted,
};
use crate::union::{self, Attributes, NodeId, Overlay};

/// A number is never given to another file while the kernel knows it.
pub(super) const GENERATION: Generation = Generation(0);
const MOST_BACKGROUND: u16 = 64;
/// A file of this size is copied in less time than handing it to another thread is worth.
const AT_ONCE: u64 = 64 << 10;

/// What a mount can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long the kernel keeps what it was told.
    pub timeout: Duration,
    /// The kernel keeps written data for a while.
    pub writeback: bool,
    pub access_lists: bool,
    pub xattrs: bool,
    pub max_write: u32,
    /// The kernel reads and writes files that are all in the upper by itself.
    pub passthrough: bool,
}

pub struct Writable {
    overlay: Arc<Overlay>,
    pool: Pool,
    settings: Settings,
    opener: Opener,
}

impl Writable {
    pub fn new(overlay: Arc<Overlay>, pool: Pool, settings: Settings) -> Self {
        let opener = Opener::new(&settings);
        Self { overlay, pool, settings, opener }
    }

    /// The kernel keeps locks itself: so they stay when a file is copied up.
    fn wanted(&self) -> InitFlags {
        let mut flags = InitFlags::FUSE_ASYNC_READ
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_ATOMIC_O_TRUNC
            | InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA
            | InitFlags::FUSE_EXPORT_SUPPORT
            | InitFlags::FUSE_ALLOW_IDMAP
            | InitFlags::FUSE_MAX_PAGES;
        flags.set(InitFlags::FUSE_POSIX_ACL, self.settings.access_lists && self.settings.xattrs);
        flags.set(InitFlags::FUSE_WRITEBACK_CACHE, self.settings.writeback);
        flags.set(InitFlags::FUSE_PASSTHROUGH, self.settings.passthrough);
        flags
    }

    fn enter(&self, reply: ReplyEntry, attributes: &Attributes) {
        reply.entry(&self.settings.timeout, &file_attributes(attributes), GENERATION);
    }

    fn make(
        &self,
        caller: Caller,
        at: Name<'_>,
        what: Option<Make<'_>>,
        mode: u32,
    ) -> union::Result<Attributes> {
        let what = what.ok_or(union::Errno::INVAL)?;
        self.overlay.make(caller, at, what, convert::permissions(mode))
    }

    fn with_xattrs<T>(&self, work: impl FnOnce() -> union::Result<T>) -> union::Result<T> {
        if self.settings.xattrs { work() } else { Err(union::Errno::OPNOTSUPP.into()) }
    }

    /// Answers later: what is done may take long.
    fn later<R: Refuse + Send + 'static, T>(
        &self,
        doing: &'static str,
        reply: R,
        work: impl FnOnce(&Overlay) -> union::Result<T> + Send + 'static,
        told: impl FnOnce(R, T) + Send + 'static,
    ) {
        let overlay = Arc::clone(&self.overlay);
        self.pool.run(move || answer(doing, reply, || work(&overlay), told));
    }

    /// Answers now or later, by how much is copied first.
    fn copying<R: Refuse + Send + 'static, T>(
        &self,
        copied: u64,
        doing: &'static str,
        reply: R,
        work: impl FnOnce(&Overlay) -> union::Result<T> + Send + 'static,
        told: impl FnOnce(R, T) + Send + 'static,
    ) {
        match copied {
            0..=AT_ONCE => answer(doing, reply, || work(&self.overlay), told),
            _ => self.later(doing, reply, work, told),
        }
    }
}

fn node(number: INodeNo) -> NodeId {
    NodeId::new(number.0)
}

fn at(parent: INodeNo, name: &OsStr) -> Name<'_> {
    Name { parent: node(parent), name: name.as_bytes() }
}

fn caller(request: &Request, umask: u32) -> Caller {
    Caller { user: request.uid(), group: request.gid(), umask: convert::permissions(umask) }
}

fn empty(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

fn full(is_full: bool) -> ControlFlow<()> {
    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Filesystem for Writable {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let flags = self.wanted() & config.capabilities();
        if flags.contains(InitFlags::FUSE_PASSTHROUGH) {
            // Fails only for a depth that no kernel has.
            let _ = config.set_max_stack_depth(STACK_DEPTH);
        } else {
            self.opener.ask_always();
        }
        // Each call fails only for a value out of a range these are in.
        let _ = config.add_capabilities(flags);
        let _ = config.set_max_background(MOST_BACKGROUND);
        let _ = config.set_max_write(self.settings.max_write);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = || match self.overlay.lookup(node(parent), name.as_bytes()) {
            Ok(attributes) => Ok(file_attributes(&attributes)),
            Err(union::Error::Answer(union::Errno::NOENT)) => Ok(convert::no_entry()),
            Err(error) => Err(error),
        };
        answer("looking up a name", reply, found, |reply, attributes| {
            reply.entry(&self.settings.timeout, &attributes, GENERATION);
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.overlay.forget(node(ino), lookups);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer(
            "getting attributes",
            reply,
            || self.overlay.attributes(node(ino)),
            |reply, attributes| {
                reply.attr(&self.settings.timeout, &file_attributes(&attributes));
            },
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut change = Change {
            permissions: mode.map(convert::permissions),
            user,
            group,
            size,
            accessed: accessed.map(convert::moment),
            modified: modified.map(convert::moment),
            kill: Kill::No,
        };
        // The kernel asks for no change at all to have the bits taken away. A change of owner does it for everyone.
        change.kill = match change {
            _ if change == Change::default() => Kill::Yes,
            Change { user: None, group: None, size: Some(_), .. } => Kill::For(request.pid()),
            Change { user: None, group: None, .. } => Kill::No,
            _ => Kill::Yes,
        };
        let (timeout, copied) =
            (self.settings.timeout, self.overlay.copied_for(node(ino), Wanted::for_size(size)));
        let changed = move |overlay: &Overlay| overlay.set_attributes(node(ino), &change);
        self.copying(copied, "setting attributes", reply, changed, move |reply, attributes| {
            reply.attr(&timeout, &file_attributes(&attributes));
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        answer(
            "reading a symlink",
            reply,
            || self.overlay.read_link(node(ino)),
            |reply, target| {
                reply.data(&target);
            },
        );
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let made = || self.make(caller(request, umask), at(parent, name), convert::make(mode, device), mode);
        answer("making a node", reply, made, |reply, made| self.enter(reply, &made));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = || self.make(caller(request, umask), at(parent, name), Some(Make::Directory), mode);
        answer("making a directory", reply, made, |reply, made| self.enter(reply, &made));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let what = Make::Symlink(target.as_os_str().as_bytes());
        let made = || self.make(caller(request, 0), at(parent, name), Some(what), 0o777);
        answer("making a symlink", reply, made, |reply, made| self.enter(reply, &made));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (timeout, copied) =
            (self.settings.timeout, self.overlay.copied_for(node(ino), Wanted::Attributes));
        let name = name.to_owned();
        let linked = move |overlay: &Overlay| overlay.link(node(ino), at(parent, &name));
        self.copying(copied, "making a hard link", reply, linked, move |reply, linked| {
            reply.entry(&timeout, &file_attributes(&linked), GENERATION);
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer("removing a name", reply, || self.overlay.unlink(at(parent, name)), empty);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer("removing a directory", reply, || self.overlay.remove_directory(at(parent, name)), empty);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let copied =
            [at(parent, name), at(new_parent, new_name)].map(|at| self.overlay.copied_by_renaming(at));
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        let renamed = move |overlay: &Overlay| {
            let how = convert::renaming(flags).ok_or(union::Errno::INVAL)?;
            overlay.rename(at(parent, &name), at(new_parent, &new_name), how)
        };
        self.copying(copied[0].max(copied[1]), "renaming", reply, renamed, empty);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let caller = caller(request, umask);
        let created = || self.overlay.create(caller, at(parent, name), convert::permissions(mode));
        answer("creating a file", reply, created, |reply, (made, handle)| {
            let entry = Entry { timeout: self.settings.timeout, attributes: file_attributes(&made) };
            self.opener.created(&self.overlay, handle, entry, reply);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let truncate = flags.0 & libc::O_TRUNC != 0;
        let kill = if truncate { Kill::For(request.pid()) } else { Kill::No };
        let opening = Opening { access: convert::access(flags), truncate, kill };
        let copied = match opening {
            Opening { access: Access::Write, truncate: false, .. } => {
                self.overlay.copied_for(node(ino), Wanted::Blocks)
            }
            _ => 0,
        };
        let (opener, overlay) = (self.opener.clone(), self.overlay.clone());
        let opened = move |overlay: &Overlay| overlay.open(node(ino), opening);
        self.copying(copied, "opening a file", reply, opened, move |reply, handle| {
            opener.opened(&overlay, handle, reply);
        });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let released = || {
            self.opener.release(Handle::new(handle.0));
            self.overlay.release(Handle::new(handle.0));
            Ok(())
        };
        answer("closing a file", reply, released, empty);
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
        self.pool.read(&self.overlay, Job { node: node(ino), offset, length, reply });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = match flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            true => Kill::For(request.pid()),
            false => Kill::No,
        };
        let written = || self.overlay.write(node(ino), offset, data, kill);
        answer("writing a file", reply, written, ReplyWrite::written);
    }

    /// Nothing is kept back here.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.refuse(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.later("syncing a file", reply, move |overlay| overlay.sync(node(ino), data_only), empty);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.later("syncing a directory", reply, move |overlay| overlay.sync(node(ino), data_only), empty);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocated = move |overlay: &Overlay| {
            let allocation = convert::allocation(mode, offset, length).ok_or(union::Errno::OPNOTSUPP)?;
            overlay.allocate(node(ino), allocation)
        };
        self.later("allocating", reply, allocated, empty);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The reply counts in 32 bits; the caller asks again for the rest.
        let length = length.min(convert::LARGEST_COPY);
        let (from, to) = ((node(from), from_offset), (node(to), to_offset));
        let copied = move |overlay: &Overlay| overlay.copy_range(from, to, length);
        self.later("copying a range", reply, copied, |reply: ReplyWrite, count| {
            reply.written(u32::try_from(count).unwrap_or(u32::MAX));
        });
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let found = || {
            let (offset, whence) = convert::seeking(offset, whence)?;
            self.overlay.seek(node(ino), offset, whence)
        };
        answer("seeking", reply, found, |reply, place| reply.offset(place as i64));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer(
            "opening a directory",
            reply,
            || self.overlay.open_directory(node(ino)),
            |reply, handle| {
                let flags = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
                reply.opened(FileHandle(handle.number()), flags);
            },
        );
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, cookie: u64, mut reply: ReplyDirectory) {
        let take = |entry: &Listed| {
            let number = INodeNo(entry.node.number());
            full(reply.add(number, entry.next, file_type(entry.kind), OsStr::from_bytes(&entry.name)))
        };
        let listed = self.overlay.read_directory(Handle::new(handle.0), cookie, take);
        answer("listing a directory", reply, || listed, |reply, ()| reply.ok());
    }

    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        cookie: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let timeout = self.settings.timeout;
        let take = |entry: &Listed, attributes: &Attributes| {
            let attributes = file_attributes(attributes);
            let name = OsStr::from_bytes(&entry.name);
            full(reply.add(attributes.ino, entry.next, name, &timeout, &attributes, GENERATION))
        };
        let listed = self.overlay.read_directory_plus(Handle::new(handle.0), cookie, take);
        answer("listing a directory", reply, || listed, |reply, ()| reply.ok());
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        let released = || {
            self.overlay.release_directory(Handle::new(handle.0));
            Ok(())
        };
        answer("closing a directory", reply, released, empty);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        answer(
            "counting the file system",
            reply,
            || self.overlay.space(),
            |reply, space| {
                let Space { block, blocks, free, available, files, files_free, name_max } = space;
                reply.statfs(blocks, free, available, files, files_free, block, name_max, block);
            },
        );
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let found = || self.with_xattrs(|| self.overlay.xattr(node(ino), name.as_bytes()));
        answer("getting an attribute", reply, found, |reply, value| reply_xattr(reply, size, &value));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let found = || self.with_xattrs(|| self.overlay.list_xattr(node(ino)));
        answer("listing attributes", reply, found, |reply, names| reply_xattr(reply, size, &names));
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let copied = self.overlay.copied_for(node(ino), Wanted::Attributes);
        let (name, value, xattrs) = (name.to_owned(), value.to_owned(), self.settings.xattrs);
        let set = move |overlay: &Overlay| {
            let how = convert::setting(flags).ok_or(union::Errno::INVAL)?;
            match xattrs {
                true => overlay.set_xattr(node(ino), name.as_bytes(), &value, how),
                false => Err(union::Errno::OPNOTSUPP.into()),
            }
        };
        self.copying(copied, "setting an attribute", reply, set, empty);
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = || self.with_xattrs(|| self.overlay.remove_xattr(node(ino), name.as_bytes()));
        answer("removing an attribute", reply, removed, empty);
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
}
