//! A bundle: what an OCI runtime starts a container from, made around a tree that is mounted at its `rootfs`.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::identity::Identity;
use super::mounts::{self, Given};
use super::process::Process;
use super::spec::{self, Parts};
use super::{CONFIG, Error, Network, ROOTFS, Wanted, doing, plain_path};
use crate::oci::RunConfig;
use crate::sys::beneath;

/// Where and under whose ids a container runs.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The bundle's own, by its absolute path.
    pub directory: PathBuf,
    ids: Ids,
    /// The machine's processes are seen: where the kernel shows no /proc of a container's own.
    pub shares_processes: bool,
    /// For a runtime that insists on having one.
    pub control_group: Option<String>,
}

#[derive(Clone, Debug)]
enum Ids {
    /// Those of the machine.
    Initial,
    /// Those of the user namespace that the runtime is started in.
    Inherited { users: Map, groups: Map },
    /// The runtime makes a namespace, in which root is this user and there are no others.
    Own { user: u32, group: u32 },
}

/// A map of ids, as /proc has it.
#[derive(Clone, Debug)]
struct Map(Vec<(u32, u32)>);

impl Map {
    fn read(path: &str) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(doing(format!("reading {path}")))?;
        let range = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().filter_map(|word| word.parse().ok());
            Some((numbers.next()?, numbers.nth(1)?))
        };
        Ok(Self(text.lines().filter_map(range).collect()))
    }

    fn has(&self, id: u32) -> bool {
        self.0.iter().any(|&(start, count)| id >= start && id - start < count)
    }

    fn is_everything(&self) -> bool {
        self.0 == [(0, u32::MAX)]
    }
}

impl Placement {
    /// In the namespaces of this process, which is root in them.
    pub fn here(directory: PathBuf) -> Result<Self, Error> {
        let (users, groups) = (Map::read("/proc/self/uid_map")?, Map::read("/proc/self/gid_map")?);
        let ids = if users.is_everything() { Ids::Initial } else { Ids::Inherited { users, groups } };
        Ok(Self { directory, ids, shares_processes: false, control_group: None })
    }

    /// For a runtime that a plain user starts, and that makes the user namespace itself.
    pub fn of_user(directory: PathBuf) -> Self {
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self { directory, ids: Ids::Own { user, group }, shares_processes: false, control_group: None }
    }

    pub(super) fn is_initial(&self) -> bool {
        matches!(self.ids, Ids::Initial)
    }

    pub(super) fn mapped_to_root(&self) -> Option<(u32, u32)> {
        match self.ids {
            Ids::Own { user, group } => Some((user, group)),
            _ => None,
        }
    }

    pub(super) fn has_group(&self, id: u32) -> bool {
        match &self.ids {
            Ids::Initial => true,
            Ids::Inherited { groups, .. } => groups.has(id),
            Ids::Own { .. } => id == 0,
        }
    }

    fn has_user(&self, id: u32) -> bool {
        match &self.ids {
            Ids::Initial => true,
            Ids::Inherited { users, .. } => users.has(id),
            Ids::Own { .. } => id == 0,
        }
    }

    /// Groups that have no id here are left out; a user has to have one.
    pub(super) fn admit(&self, identity: &mut Identity) -> Result<(), Error> {
        identity.groups.retain(|&group| self.has_group(group));
        match self.has_user(identity.user) && self.has_group(identity.group) {
            true => Ok(()),
            false => Err(Error::User {
                wanted: format!("{}:{}", identity.user, identity.group),
                why: "it has no id in the user namespace: /etc/subuid and /etc/subgid grant too few"
                    .to_owned(),
            }),
        }
    }
}

/// Writes `config.json`, and the files that it mounts, into the placement's directory, and makes in the mounted tree
/// what the image or the user takes to be there.
pub fn write(
    image: &RunConfig,
    wanted: &Wanted,
    placement: &Placement,
    own_hostname: &str,
) -> Result<(), Error> {
    let directory = &placement.directory;
    let rootfs = directory.join(ROOTFS);
    let root = beneath::root(&rootfs).map_err(doing(format!("opening {}", rootfs.display())))?;
    let hostname = hostname(wanted, own_hostname);
    let mut process = Process::of(image, wanted, root.as_fd(), &hostname)?;
    placement.admit(&mut process.identity)?;
    make_directory(root.as_fd(), &process.cwd, &process.identity)?;
    let volumes: Vec<String> = image
        .volumes
        .iter()
        .map(|path| plain_path(path).display().to_string())
        .filter(|path| path != "/")
        .collect();
    for volume in &volumes {
        make_directory(root.as_fd(), volume, &Identity::ROOT)?;
    }
    let given = give(directory, wanted.network, &hostname)?;
    let parts =
        Parts { process: &process, wanted, placement, hostname: &hostname, given: &given, volumes: &volumes };
    let config = serde_json::to_vec_pretty(&spec::config(&parts)?);
    let config = config.map_err(|error| doing("writing the runtime's config")(error.into()))?;
    fs::write(directory.join(CONFIG), config).map_err(doing("writing the runtime's config"))
}

/// With the machine's network comes the machine's name.
pub fn hostname(wanted: &Wanted, own: &str) -> String {
    match (&wanted.hostname, wanted.network) {
        (Some(name), _) => name.clone(),
        (None, Network::None) => own.to_owned(),
        (None, Network::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

fn give(directory: &Path, network: Network, hostname: &str) -> Result<Vec<Given>, Error> {
    let write = |(name, _): Given, text: &str| {
        fs::write(directory.join(name), text).map_err(doing(format!("writing {name} of the container")))
    };
    let hosts = match network {
        Network::Host => fs::read_to_string("/etc/hosts").unwrap_or_default(),
        Network::None => "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned(),
    };
    write(mounts::HOSTS, &format!("{hosts}127.0.0.1\t{hostname}\n"))?;
    write(mounts::HOSTNAME, &format!("{hostname}\n"))?;
    let mut given = vec![mounts::HOSTS, mounts::HOSTNAME];
    if let (Network::Host, Ok(text)) = (network, fs::read_to_string("/etc/resolv.conf")) {
        write(mounts::RESOLVER, &text)?;
        given.push(mounts::RESOLVER);
    }
    Ok(given)
}

/// Makes a directory of the tree, and root's above it, as a process in the tree would reach it. One that is there stays
/// as it is.
fn make_directory(root: BorrowedFd<'_>, path: &str, owner: &Identity) -> Result<(), Error> {
    let in_image = |errno: Errno| Error::InImage { path: path.to_owned(), source: errno.into() };
    let path = plain_path(path);
    let mut at = PathBuf::from("/");
    let mut parent = open_directory(root, &at).map_err(in_image)?;
    for name in path.iter().skip(1) {
        at.push(name);
        let owner = if at == path { owner } else { &Identity::ROOT };
        parent = match open_directory(root, &at) {
            Err(Errno::NOENT) => make_one(&parent, name, owner).map_err(in_image)?,
            opened => opened.map_err(in_image)?,
        };
    }
    Ok(())
}

fn open_directory(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    beneath::open_rooted(root, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
}

fn make_one(parent: &OwnedFd, name: &std::ffi::OsStr, owner: &Identity) -> Result<OwnedFd, Errno> {
    // A link that leads nowhere has the name already, and is not followed: this fails then.
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    match rustix::fs::fchown(&made, Some(Uid::from_raw(owner.user)), Some(Gid::from_raw(owner.group))) {
        // A plain user's tree has one owner.
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(made),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("rootfs/etc")).unwrap();
        fs::write(tree.path().join("rootfs/etc/passwd"), "app:x:0:0::/app:\n").unwrap();
        tree
    }

    fn written(image: &RunConfig, wanted: &Wanted, tree: &Path) -> Result<serde_json::Value, Error> {
        write(image, wanted, &Placement::of_user(tree.to_owned()), "box")?;
        Ok(serde_json::from_slice(&fs::read(tree.join(CONFIG)).unwrap()).unwrap())
    }

    #[test]
    fn the_working_directory_and_the_volumes_are_made_inside_of_the_tree() {
        let tree = tree();
        symlink("/srv", tree.path().join("rootfs/link")).unwrap();
        fs::create_dir(tree.path().join("rootfs/srv")).unwrap();
        let image = RunConfig {
            cmd: vec!["x".into()],
            user: "app".into(),
            working_dir: "/link/deep/../down".into(),
            volumes: ["/data/one".to_owned(), "/../../out".to_owned()].into(),
            ..RunConfig::default()
        };
        let wanted = Wanted { read_only: true, ..Wanted::default() };
        let config = written(&image, &wanted, tree.path()).unwrap();
        assert_eq!(config["process"]["cwd"], "/link/down");
        assert_eq!(config["process"]["user"], serde_json::json!({"uid": 0, "gid": 0, "additionalGids": [0]}));
        for made in ["srv/down", "data/one", "out"] {
            assert!(tree.path().join("rootfs").join(made).is_dir(), "{made}");
        }
        let mounts = config["mounts"].as_array().unwrap();
        let volumes: Vec<_> = mounts.iter().filter(|mount| mount["destination"] == "/data/one").collect();
        assert_eq!(volumes.len(), 1);
    }

    #[test]
    fn a_user_without_an_id_in_the_namespace_is_refused_by_name() {
        let tree = tree();
        let image = RunConfig { cmd: vec!["x".into()], user: "1234".into(), ..RunConfig::default() };
        let refused = written(&image, &Wanted::default(), tree.path()).unwrap_err().to_string();
        assert!(refused.starts_with("user 1234:0: it has no id in the user namespace"), "{refused}");
    }
}
