//! Mounts: a FUSE mount made without libfuse, and any mount taken away. The device comes back as an open file, so
//! that whoever serves it never has to know how it was mounted.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::socket;

pub const DEVICE: &str = "/dev/fuse";
const SUBTYPE: &str = "plyfs";
/// What mountinfo shows for a mount made here.
pub const FILE_SYSTEM: &str = "fuse.plyfs";
/// The same where the kernel's own file system is over ours.
const KERNEL_OVERLAY: &str = "overlay";
const SETUID_PROGRAM: &str = "fusermount3";
const CONFIGURATION: &str = "/etc/fuse.conf";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("/dev/fuse does not exist: the kernel has no FUSE, or this container was not given the device")]
    NoDevice,
    #[error("opening /dev/fuse (mode {mode:04o}): {source}")]
    ClosedDevice { mode: u32, source: io::Error },
    #[error("fusermount3 was not found in PATH, and without it only root can mount")]
    NoSetuidProgram,
    #[error("mounting for other users needs the line `user_allow_other` in /etc/fuse.conf")]
    OthersNotAllowed,
    #[error("only root can mount with `{0}`")]
    RootOnly(&'static str),
    #[error("fusermount3 did not mount {target}: {message}")]
    Refused { target: PathBuf, message: String },
    #[error("mounting on {target}: {source}")]
    Mount { target: PathBuf, source: io::Error },
    #[error("unmounting {target}: {source}")]
    Unmount { target: PathBuf, source: io::Error },
    #[error("{doing}: {source}")]
    System { doing: &'static str, source: io::Error },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDevice => Some(
                "load it with `modprobe fuse`, or start the container with `--device /dev/fuse`; without it `plyfs run` and `plyfs cp` copy an image out",
            ),
            Self::ClosedDevice { .. } => Some("as root: `chmod 666 /dev/fuse`"),
            Self::NoSetuidProgram => {
                Some("install the package fuse3, or use `unshare -Urm` to become root in a namespace")
            }
            Self::OthersNotAllowed => Some("as root: `echo user_allow_other >> /etc/fuse.conf`"),
            Self::RootOnly(_) => Some("use sudo, or `unshare -Urm` to become root in a namespace"),
            Self::Unmount { source, .. } if source.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                Some("a process still uses it; `-f` detaches it now, and it goes when the last user ends")
            }
            _ => None,
        }
    }
}

/// Who may enter a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Owner,
    Everyone,
}

/// A FUSE mount to be made. The kernel checks permissions from the modes it is told.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub target: &'a Path,
    /// Shown as the source in `mount` and `df`.
    pub name: &'a str,
    pub access: Access,
    pub flags: Flags,
    pub max_read: Option<u32>,
    /// `context="…"` and its kin, for the kernel's security module.
    pub labels: &'a [String],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    pub read_only: bool,
    pub devices: bool,
    pub set_id: bool,
    pub execute: bool,
}

/// How this process can mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With its own CAP_SYS_ADMIN over its mount namespace.
    Direct,
    /// Through the set-user-id program of fuse3.
    SetuidProgram,
}

impl Way {
    pub fn of_this_process() -> Way {
        let capable = rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN));
        if capable { Way::Direct } else { Way::SetuidProgram }
    }
}

/// Whether the kernel would take files of this process to read in the place of a mount's.
pub fn may_pass_through() -> bool {
    let in_first_namespace = std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
    in_first_namespace && Way::of_this_process() == Way::Direct
}

/// Mounts, and returns the device to serve it with.
pub fn mount(request: &Request<'_>) -> Result<OwnedFd, Error> {
    match Way::of_this_process() {
        Way::Direct => mount_directly(request),
        Way::SetuidProgram => mount_through_program(request),
    }
}

fn mount_directly(request: &Request<'_>) -> Result<OwnedFd, Error> {
    let device = open_device()?;
    let options = device_options(request, device.as_raw_fd())?;
    rustix::mount::mount(
        request.name,
        request.target,
        FILE_SYSTEM,
        request.flags.kernel(),
        options.as_c_str(),
    )
    .map_err(|errno| Error::Mount { target: request.target.to_owned(), source: errno.into() })?;
    Ok(device.into())
}

/// The device, or a sentence about why it does not open.
pub fn open_device() -> Result<File, Error> {
    let opened =
        OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoDevice,
            _ => Error::ClosedDevice { mode: device_mode().unwrap_or(0), source },
        })?;
    // Some hide a device by mounting another over it.
    let is_it = opened.metadata().is_ok_and(|found| found.rdev() == rustix::fs::makedev(10, 229));
    if is_it { Ok(opened) } else { Err(Error::NoDevice) }
}

pub fn device_mode() -> Option<u32> {
    std::fs::metadata(DEVICE).ok().map(|found| found.permissions().mode() & 0o7777)
}

fn device_options(request: &Request<'_>, device: i32) -> Result<CString, Error> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut options = format!(
        "fd={device},rootmode=40000,user_id={user},group_id={group},default_permissions{}",
        if request.access == Access::Everyone { ",allow_other" } else { "" }
    );
    if let Some(bytes) = request.max_read {
        options.push_str(&format!(",max_read={bytes}"));
    }
    for label in request.labels {
        options.push(',');
        options.push_str(label);
    }
    CString::new(options)
        .map_err(|error| Error::System { doing: "writing mount options", source: error.into() })
}

impl Flags {
    fn kernel(self) -> MountFlags {
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::RDONLY, self.read_only);
        flags.set(MountFlags::NODEV, !self.devices);
        flags.set(MountFlags::NOSUID, !self.set_id);
        flags.set(MountFlags::NOEXEC, !self.execute);
        flags
    }

    fn words(self) -> [&'static str; 4] {
        [
            if self.read_only { "ro" } else { "rw" },
            if self.devices { "dev" } else { "nodev" },
            if self.set_id { "suid" } else { "nosuid" },
            if self.execute { "exec" } else { "noexec" },
        ]
    }
}

fn mount_through_program(request: &Request<'_>) -> Result<OwnedFd, Error> {
    check_allowed_to_users(request)?;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)
        .map_err(|errno| Error::System { doing: "making a socket for fusermount3", source: errno.into() })?;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).map_err(|errno| Error::System {
        doing: "keeping a socket from fusermount3",
        source: errno.into(),
    })?;
    let mut command = Command::new(SETUID_PROGRAM);
    command.env("_FUSE_COMMFD", theirs.as_raw_fd().to_string()).arg("-o").arg(program_options(request));
    command.arg("--").arg(request.target);
    run(command).map_err(|refusal| refusal.about(request.target))?;
    // The socket must have no other writer, or a program that sent nothing would be waited for without end.
    drop(theirs);
    socket::receive_descriptor(&ours)
        .map_err(|source| Error::System { doing: "receiving the device from fusermount3", source })
}

fn check_allowed_to_users(request: &Request<'_>) -> Result<(), Error> {
    match (request.flags, request.access) {
        (Flags { devices: true, .. }, _) => Err(Error::RootOnly("dev")),
        (Flags { set_id: true, .. }, _) => Err(Error::RootOnly("suid")),
        _ if !request.labels.is_empty() => Err(Error::RootOnly("context")),
        (_, Access::Everyone) if !users_may_allow_others() => Err(Error::OthersNotAllowed),
        _ => open_device().map(drop),
    }
}

/// Whether /etc/fuse.conf lets plain users mount for others.
pub fn users_may_allow_others() -> bool {
    std::fs::read_to_string(CONFIGURATION)
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "user_allow_other"))
}

fn program_options(request: &Request<'_>) -> OsString {
    let mut options = OsString::from(request.flags.words().join(","));
    options.push(",default_permissions");
    if request.access == Access::Everyone {
        options.push(",allow_other");
    }
    if let Some(bytes) = request.max_read {
        options.push(format!(",max_read={bytes}"));
    }
    options.push(format!(",subtype={SUBTYPE},fsname={}", escape_option(request.name)));
    options
}

/// fusermount3 reads `\,` and `\\` inside a value.
fn escape_option(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,")
}

enum Refusal {
    NotFound,
    NotRun(io::Error),
    Said(String),
}

impl Refusal {
    fn about(self, target: &Path) -> Error {
        match self {
            Self::NotFound => Error::NoSetuidProgram,
            Self::NotRun(source) => Error::System { doing: "running fusermount3", source },
            Self::Said(message) => Error::Refused { target: target.to_owned(), message },
        }
    }
}

fn run(mut command: Command) -> Result<(), Refusal> {
    let output =
        command.stdin(Stdio::null()).stdout(Stdio::null()).output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Refusal::NotFound,
            _ => Refusal::NotRun(error),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("fusermount3:").trim();
    Err(Refusal::Said(if said.is_empty() { output.status.to_string() } else { said.to_owned() }))
}

/// When a mount that is still in use goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Now, or not at all.
    WhenUnused,
    /// From the tree at once, and for good with its last user.
    Detach,
}

/// Takes the uppermost mount at `target` away, also one whose daemon is dead. A symlink is not followed.
pub fn unmount(target: &Path, how: Unmount) -> Result<(), Error> {
    let flags = match how {
        Unmount::WhenUnused => UnmountFlags::NOFOLLOW,
        Unmount::Detach => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(target, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => unmount_through_program(target, how),
        Err(errno) => Err(Error::Unmount { target: target.to_owned(), source: errno.into() }),
    }
}

fn unmount_through_program(target: &Path, how: Unmount) -> Result<(), Error> {
    let mut command = Command::new(SETUID_PROGRAM);
    command.arg("-u");
    if how == Unmount::Detach {
        command.arg("-z");
    }
    run({
        command.arg("--").arg(target);
        command
    })
    .map_err(|refusal| match refusal {
        Refusal::Said(message) => Error::Unmount { target: target.to_owned(), source: spoken(&message) },
        other => other.about(target),
    })
}

/// fusermount3 tells a busy mount only in words.
fn spoken(message: &str) -> io::Error {
    if message.ends_with("Device or resource busy") {
        Errno::BUSY.into()
    } else {
        io::Error::other(message.to_owned())
    }
}

/// Sleeps until nothing is mounted at `target`, a path without symlinks.
pub fn wait_until_unmounted(target: &Path) -> io::Result<()> {
    // Opened before it is looked at: from here on the kernel tells of each change.
    let table = File::open("/proc/self/mountinfo")?;
    while mounted()?.iter().any(|mounted| mounted.target == target) {
        let mut changed = [PollFd::new(&table, PollFlags::PRI)];
        rustix::io::retry_on_intr(|| poll(&mut changed, None))?;
    }
    Ok(())
}

/// Has the kernel read so far ahead of who reads in order from the file system `device` (`major:minor`). Root may say so.
pub fn set_read_ahead(device: &str, kibibytes: u32) -> io::Result<()> {
    std::fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), kibibytes.to_string())
}

/// Where the set-user-id program is, and whether it has its bit.
pub fn setuid_program() -> Option<(PathBuf, bool)> {
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories).find_map(|directory| {
        let path = directory.join(SETUID_PROGRAM);
        let mode = std::fs::metadata(&path).ok()?.permissions().mode();
        Some((path, mode & 0o4000 != 0))
    })
}

/// One line of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// `major:minor` of the file system.
    pub device: String,
    pub target: PathBuf,
    pub file_system: String,
    pub source: String,
    /// What the file system itself was told.
    pub options: OsString,
}

impl Mounted {
    /// Made here, or over what was made here.
    pub fn may_be_ours(&self) -> bool {
        [FILE_SYSTEM, KERNEL_OVERLAY].contains(&self.file_system.as_str())
    }
}

/// The mounts this process sees, oldest first.
pub fn mounted() -> io::Result<Vec<Mounted>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse_mounted).collect())
}

fn parse_mounted(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let target = PathBuf::from(OsStr::from_bytes(&unescape_octal(fields.nth(1)?)));
    // Optional fields end with a lone dash.
    fields.find(|field| *field == b"-")?;
    let file_system = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = String::from_utf8_lossy(&unescape_octal(fields.next()?)).into_owned();
    let options = OsString::from_vec(unescape_octal(fields.next().unwrap_or_default()));
    Some(Mounted { device, target, file_system, source, options })
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'\\').then(|| after.get(..3)).flatten().and_then(octal);
        plain.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_read_with_its_escapes_and_optional_fields() {
        let line =
            br"36 35 0:57 / /mnt/a\040b\134c rw,noatime master:1 shared:7 - fuse.plyfs docker.io/x:1 rw,fd=3";
        assert_eq!(
            parse_mounted(line),
            Some(Mounted {
                device: "0:57".into(),
                target: "/mnt/a b\\c".into(),
                file_system: "fuse.plyfs".into(),
                source: "docker.io/x:1".into(),
                options: "rw,fd=3".into(),
            })
        );
        assert_eq!(parse_mounted(b"36 35 0:57 / /mnt"), None);
    }

    #[test]
    fn a_name_cannot_smuggle_options_to_the_setuid_program() {
        assert_eq!(escape_option(r"a,suid\"), r"a\,suid\\");
    }
}
