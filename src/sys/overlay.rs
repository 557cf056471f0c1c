//! The kernel's overlayfs, in two steps: it is made over a directory, and then takes a place, which may be the same.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::mount::Flags;

pub struct Request<'a> {
    /// Shown as the source in `mount` and `df`.
    pub name: &'a str,
    pub lower: &'a Path,
    pub upper: &'a Path,
    pub work: &'a Path,
    /// Private attributes are `user.` ones, and not `trusted.` ones.
    pub user_attributes: bool,
    /// Nothing is synced.
    pub volatile: bool,
    pub flags: Flags,
    /// `context="…"` and its kin, for the kernel's security module.
    pub labels: &'a [String],
}

/// A mount that has no place yet. Dropped, it is gone.
pub struct Made(OwnedFd);

/// What makes an upper that no other reader has to follow anywhere.
const PLAIN: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "off")];

/// Whether this kernel has it, and knows these calls.
pub fn is_known() -> bool {
    fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

/// All the kernel takes of `lower` is the mount that is there now.
pub fn make(request: &Request<'_>) -> io::Result<Made> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    configure(&context, request).map_err(|error| explained(&context, error))
}

fn configure(context: &OwnedFd, request: &Request<'_>) -> rustix::io::Result<Made> {
    let set = |key: &str, value: &[u8]| fsconfig_set_string(context, key, value);
    set("source", request.name.as_bytes())?;
    let layers = [("lowerdir", request.lower), ("upperdir", request.upper), ("workdir", request.work)];
    let mut open = Vec::new();
    for (key, path) in layers {
        let plain = Plain::of(path)?;
        set(key, plain.path.as_bytes())?;
        open.push(plain);
    }
    match request.user_attributes {
        true => fsconfig_set_flag(context, "userxattr")?,
        false => PLAIN.into_iter().try_for_each(|(key, value)| set(key, value.as_bytes()))?,
    }
    set("xino", b"on")?;
    if request.volatile {
        fsconfig_set_flag(context, "volatile")?;
    }
    for (key, value) in request.labels.iter().filter_map(|label| label.split_once('=')) {
        set(key, value.trim_matches('"').as_bytes())?;
    }
    fsconfig_create(context)?;
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, request.flags.attributes())?;
    Ok(Made(mount))
}

/// A path in which the kernel reads no separators.
struct Plain {
    path: String,
    _open: Option<OwnedFd>,
}

impl Plain {
    fn of(path: &Path) -> rustix::io::Result<Self> {
        let is_plain = |text: &&str| !text.contains([':', ',', '\\']);
        if let Some(text) = path.to_str().filter(is_plain) {
            return Ok(Self { path: text.to_owned(), _open: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { path: format!("/proc/self/fd/{}", open.as_raw_fd()), _open: Some(open) })
    }
}

/// With what the kernel has to say of it: `e overlay: …`, one message a call.
fn explained(context: &OwnedFd, errno: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(errno);
    let mut message = [0; 4096];
    let said =
        rustix::io::read(context, &mut message).map(|length| String::from_utf8_lossy(&message[..length]));
    match said.as_deref().unwrap_or_default().trim().split_once(' ') {
        Some((_, said)) => io::Error::new(error.kind(), format!("{error}: {said}")),
        None => error,
    }
}

impl Made {
    /// Mounts it.
    pub fn attach(self, target: &Path) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(move_mount(self.0.as_fd(), "", rustix::fs::CWD, target, flags)?)
    }
}

impl Flags {
    fn attributes(self) -> MountAttrFlags {
        let mut attributes = MountAttrFlags::empty();
        attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.read_only);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, !self.devices);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, !self.set_id);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !self.execute);
        attributes
    }
}
