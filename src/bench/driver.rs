//! What makes a directory of an image: mounted and taken away again, over and over, the same way for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::Error;
use super::program::{self, command, run};
use super::results::DriverFacts;
use super::site::Bed;
use crate::sys::mount::{Unmount, unmount};

/// One of those that are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Driver {
    /// As it is shown; two of the same have different ones.
    pub name: String,
    pub kind: Kind,
    /// Which of them it is.
    pub number: usize,
    /// How much of its time is added to each of its times: to see what a comparison can tell.
    pub handicap: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The tree unpacked to the disk.
    Native,
    /// The kernel's overlayfs over the unpacked layers.
    Overlay,
    /// The kernel's overlayfs over plyfs's mount of the image.
    OverlayOverPlyfs,
    Plyfs,
    PlyfsWritable,
    /// Over the unpacked layers, in the place of fuse-overlayfs.
    PlyfsDirectories,
    FuseOverlayfs(PathBuf),
    Squashfuse,
    Erofs,
    Umoci,
    Podman,
    Ratarmount,
    /// One of the user's own.
    Own(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read,
    Write,
}

/// What a driver can be measured at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    pub from_file: bool,
    pub read: bool,
    pub write: bool,
}

/// Why one is not measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    #[error("{program} is missing: it is in the package {package}")]
    Missing { program: String, package: &'static str },
    #[error("{0}")]
    NotAllowed(&'static str),
}

/// `WORD` is no driver.
#[derive(Debug, thiserror::Error)]
#[error("unknown driver `{0}`; there are {names}, and cmd:COMMAND", names = Kind::NAMES.join(", "))]
pub struct UnknownDriver(String);

impl Kind {
    const NAMES: [&str; 12] = [
        "native",
        "overlay",
        "overlay-over-plyfs",
        "plyfs",
        "plyfs-rw",
        "plyfs-dirs",
        "fuse-overlayfs[=PROGRAM]",
        "squashfuse",
        "erofs",
        "umoci",
        "podman",
        "ratarmount",
    ];

    fn all() -> Vec<Self> {
        let fuse_overlayfs = Self::FuseOverlayfs("fuse-overlayfs".into());
        vec![
            Self::Native,
            Self::Plyfs,
            Self::PlyfsWritable,
            Self::PlyfsDirectories,
            Self::OverlayOverPlyfs,
            Self::Overlay,
            fuse_overlayfs,
            Self::Squashfuse,
            Self::Erofs,
            Self::Umoci,
            Self::Podman,
            Self::Ratarmount,
        ]
    }

    pub fn parse(word: &str) -> Result<Self, UnknownDriver> {
        let (name, program) = word.split_once('=').unwrap_or((word, ""));
        Ok(match (name, program) {
            ("native", "") => Self::Native,
            ("overlay", "") => Self::Overlay,
            ("overlay-over-plyfs", "") => Self::OverlayOverPlyfs,
            ("plyfs", "") => Self::Plyfs,
            ("plyfs-rw", "") => Self::PlyfsWritable,
            ("plyfs-dirs", "") => Self::PlyfsDirectories,
            ("fuse-overlayfs", "") => Self::FuseOverlayfs("fuse-overlayfs".into()),
            ("fuse-overlayfs", program) => Self::FuseOverlayfs(program.into()),
            ("squashfuse", "") => Self::Squashfuse,
            ("erofs", "") => Self::Erofs,
            ("umoci", "") => Self::Umoci,
            ("podman", "") => Self::Podman,
            ("ratarmount", "") => Self::Ratarmount,
            _ => match word.strip_prefix("cmd:") {
                Some(words) if !words.is_empty() => Self::Own(words.to_owned()),
                _ => return Err(UnknownDriver(word.to_owned())),
            },
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Native => "native",
            Self::Overlay => "overlayfs",
            Self::OverlayOverPlyfs => "overlayfs on plyfs",
            Self::Plyfs => "plyfs",
            Self::PlyfsWritable => "plyfs --rw",
            Self::PlyfsDirectories => "plyfs -o lowerdir",
            Self::FuseOverlayfs(program) if program.components().count() > 1 => {
                return format!("fuse-overlayfs {}", program.display());
            }
            Self::FuseOverlayfs(_) => "fuse-overlayfs",
            Self::Squashfuse => "squashfuse",
            Self::Erofs => "erofs",
            Self::Umoci => "umoci unpack",
            Self::Podman => "podman image mount",
            Self::Ratarmount => "ratarmount",
            Self::Own(words) => return words.clone(),
        }
        .to_owned()
    }

    pub fn abilities(&self) -> Abilities {
        let (from_file, read, write) = match self {
            Self::Native | Self::Overlay | Self::OverlayOverPlyfs | Self::FuseOverlayfs(_) | Self::Own(_) => {
                (false, true, true)
            }
            Self::Plyfs => (true, true, false),
            Self::PlyfsWritable | Self::PlyfsDirectories => (false, true, true),
            Self::Squashfuse | Self::Erofs => (false, true, false),
            Self::Umoci | Self::Podman | Self::Ratarmount => (true, false, false),
        };
        Abilities { from_file, read, write }
    }

    /// The programs it needs, each with Debian's package.
    fn needs(&self) -> Vec<(&str, &'static str)> {
        match self {
            Self::FuseOverlayfs(program) => vec![(program.to_str().unwrap_or_default(), "fuse-overlayfs")],
            Self::Squashfuse => vec![("mksquashfs", "squashfs-tools"), ("squashfuse", "squashfuse")],
            Self::Erofs => vec![("mkfs.erofs", "erofs-utils")],
            Self::Umoci => vec![("umoci", "umoci")],
            Self::Podman => vec![("podman", "podman")],
            Self::Ratarmount => vec![("ratarmount", "ratarmount, of PyPI")],
            _ => Vec::new(),
        }
    }

    pub fn absence(&self, bed: &Bed) -> Option<Absence> {
        let missing = self.needs().into_iter().find(|(program, _)| program::find(program).is_none());
        match (self, missing) {
            (_, Some((program, package))) => Some(Absence::Missing { program: program.to_owned(), package }),
            (Self::Erofs, _) if !bed.rights.is_root() => {
                Some(Absence::NotAllowed("the kernel's erofs takes root"))
            }
            (Self::Podman, _) if !bed.rights.is_root() => {
                Some(Absence::NotAllowed("podman makes a user namespace of its own, and is measured as root"))
            }
            _ => None,
        }
    }

    /// What a person would tell it by.
    pub fn version(&self) -> Option<String> {
        let program = match self {
            Self::Plyfs | Self::PlyfsWritable | Self::PlyfsDirectories => {
                return Some(format!("plyfs {}", env!("CARGO_PKG_VERSION")));
            }
            Self::Native | Self::Overlay | Self::OverlayOverPlyfs | Self::Own(_) => return None,
            Self::FuseOverlayfs(program) => program.clone(),
            Self::Squashfuse => PathBuf::from("squashfuse"),
            Self::Erofs => PathBuf::from("mkfs.erofs"),
            Self::Umoci => PathBuf::from("umoci"),
            Self::Podman => PathBuf::from("podman"),
            Self::Ratarmount => PathBuf::from("ratarmount"),
        };
        program::version(&program::find(program.to_str()?)?)
    }
}

impl Driver {
    /// Those that are compared unless others are named.
    pub fn all() -> Vec<Self> {
        let driver = |(number, kind): (usize, Kind)| Self { name: kind.name(), kind, number, handicap: 0.0 };
        Kind::all().into_iter().enumerate().map(driver).collect()
    }

    /// `KIND[+PERCENT%]`, each named so that no two are alike.
    pub fn parse_all<S: AsRef<str>>(words: &[S]) -> Result<Vec<Self>, UnknownDriver> {
        let mut drivers: Vec<Self> = Vec::new();
        for word in words {
            let (word, handicap) = handicapped(word.as_ref());
            let kind = Kind::parse(word)?;
            let plain = match handicap {
                0.0 => kind.name(),
                handicap => format!("{} +{:.0}%", kind.name(), handicap * 100.0),
            };
            let same = drivers.iter().filter(|driver| driver.name.split(" #").next() == Some(&plain)).count();
            let name = if same == 0 { plain } else { format!("{plain} #{}", same + 1) };
            drivers.push(Self { name, kind, number: drivers.len(), handicap });
        }
        Ok(drivers)
    }

    fn place(&self, bed: &Bed, what: &str) -> PathBuf {
        bed.path("drivers").join(self.number.to_string()).join(what)
    }

    /// Makes the tree be there, and gives its root. `needs` is what is written to.
    pub fn up(&self, bed: &Bed, mode: Mode, needs: &[PathBuf]) -> Result<PathBuf, Error> {
        let [target, upper, work] = ["target", "upper", "work"].map(|what| self.place(bed, what));
        for directory in [&target, &upper, &work] {
            fs::create_dir_all(directory).map_err(Error::doing("making a directory"))?;
        }
        let places = Places { target: &target, upper: &upper, work: &work, mode };
        match &self.kind {
            Kind::Native => return native(bed, &places, needs),
            Kind::Overlay => overlay(bed, &places, &bed.layers),
            Kind::OverlayOverPlyfs => {
                let image = self.place(bed, "image");
                fs::create_dir_all(&image).map_err(Error::doing("making a directory"))?;
                bed.mount_image(&image)?;
                overlay(bed, &places, &[image])
            }
            Kind::Plyfs => bed.mount_image(&target),
            Kind::PlyfsWritable => plyfs_writable(bed, &places),
            Kind::PlyfsDirectories => fuse_overlayfs(bed, &places, &bed.plyfs),
            Kind::FuseOverlayfs(program) => fuse_overlayfs(bed, &places, program),
            Kind::Squashfuse => squashfuse(bed, &places),
            Kind::Erofs => erofs(bed, &places),
            Kind::Own(words) => own(bed, &places, words),
            Kind::Umoci | Kind::Podman | Kind::Ratarmount => Ok(()),
        }?;
        Ok(target)
    }

    /// From the image's file on, with nothing of it kept: the root of the tree.
    pub fn open_file(&self, bed: &Bed) -> Result<PathBuf, Error> {
        let [target, new] = ["target", "new"].map(|what| self.place(bed, what));
        for directory in [&target, &new] {
            fs::create_dir_all(directory).map_err(Error::doing("making a directory"))?;
        }
        match &self.kind {
            Kind::Umoci => {
                return umoci(bed, &new);
            }
            Kind::Podman => return podman(bed, &new),
            Kind::Ratarmount => run(command("ratarmount", &bed.blobs).arg(&target)).map(drop)?,
            _ => bed.mount_image_by(&new, &target)?,
        }
        Ok(target)
    }

    /// As if it had never been there. What is not there is no error.
    pub fn down(&self, bed: &Bed) -> Result<(), Error> {
        if self.kind == Kind::Podman {
            // It may not have come so far as to have one.
            let _ = run(Command::new("podman")
                .args(podman_store(bed, &self.place(bed, "new")))
                .args(["image", "umount", "-a"]));
        }
        for what in ["target", "image"] {
            take_away(&self.place(bed, what))?;
        }
        for what in ["upper", "work", "copy", "new"] {
            self.put_aside(bed, &self.place(bed, what))?;
        }
        Ok(())
    }

    /// What was written goes when its row is over: ext4 is slow to make files where others were removed just before.
    fn put_aside(&self, bed: &Bed, written: &Path) -> Result<(), Error> {
        if !written.exists() {
            return Ok(());
        }
        let aside = bed.aside();
        fs::create_dir_all(&aside).map_err(Error::doing("making a directory"))?;
        let number = fs::read_dir(&aside).map_err(Error::doing("reading a directory"))?.count();
        fs::rename(written, aside.join(number.to_string()))
            .map_err(Error::doing("putting aside what was written"))
    }
}

/// Those that can be measured, and of all what is to be told.
pub(super) fn present(drivers: &[Driver], bed: &Bed) -> (Vec<Driver>, Vec<DriverFacts>) {
    let facts = |driver: &Driver| DriverFacts {
        name: driver.name.clone(),
        version: driver.kind.version(),
        absent: driver.kind.absence(bed).map(|absence| absence.to_string()),
    };
    let here = |driver: &&Driver| driver.kind.absence(bed).is_none();
    (drivers.iter().filter(here).cloned().collect(), drivers.iter().map(facts).collect())
}

/// `plyfs+20%` is plyfs, and a fifth slower than it is.
fn handicapped(word: &str) -> (&str, f64) {
    let split = word.strip_suffix('%').and_then(|word| word.rsplit_once('+'));
    match split.and_then(|(word, percent)| Some((word, percent.parse::<u32>().ok()?))) {
        Some((word, percent)) => (word, f64::from(percent) / 100.0),
        None => (word, 0.0),
    }
}

struct Places<'a> {
    target: &'a Path,
    upper: &'a Path,
    work: &'a Path,
    mode: Mode,
}

/// How long something that was just used may keep a mount busy.
const PATIENCE: Duration = Duration::from_secs(5);

fn take_away(target: &Path) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    while is_mounted(target)? {
        let how = if Instant::now() < until { Unmount::WhenUnused } else { Unmount::Detach };
        if unmount(target, how).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn is_mounted(target: &Path) -> Result<bool, Error> {
    let mounted = crate::sys::mount::mounted().map_err(Error::doing("reading /proc/self/mountinfo"))?;
    Ok(mounted.iter().any(|mount| mount.target == target))
}

/// For reading, the tree itself; for writing, a copy of what will be written to.
fn native(bed: &Bed, places: &Places<'_>, needs: &[PathBuf]) -> Result<PathBuf, Error> {
    if places.mode == Mode::Read {
        return Ok(bed.tree());
    }
    let copy = places.target.with_file_name("copy");
    fs::create_dir_all(&copy).map_err(Error::doing("making a directory"))?;
    for path in needs {
        let mut words = command("cp", &["-a", "--parents"]);
        run(words.current_dir(bed.tree()).arg(path).arg(&copy))?;
    }
    Ok(copy)
}

fn lowers(layers: &[PathBuf]) -> String {
    layers.iter().map(|layer| layer.display().to_string()).collect::<Vec<_>>().join(":")
}

fn umoci(bed: &Bed, new: &Path) -> Result<PathBuf, Error> {
    let bundle = new.join("bundle");
    let mut unpack = command("umoci", &["unpack", "--image", &bed.named()]);
    if !bed.rights.is_root() {
        unpack.arg("--rootless");
    }
    run(unpack.arg(&bundle))?;
    Ok(bundle.join("rootfs"))
}

/// podman takes no path of more than 50 letters for what it keeps while it runs.
fn podman_store(bed: &Bed, new: &Path) -> [String; 4] {
    let [root, run] = [new.join("root"), bed.path("run")].map(|path| path.display().to_string());
    ["--root".to_owned(), root, "--runroot".to_owned(), run]
}

fn podman(bed: &Bed, new: &Path) -> Result<PathBuf, Error> {
    let podman = |words: &[&str]| run(Command::new("podman").args(podman_store(bed, new)).args(words));
    let id = podman(&["pull", "-q", &format!("oci:{}", bed.named())])?;
    podman(&["image", "mount", id.lines().last().unwrap_or_default()]).map(PathBuf::from)
}

fn overlay(bed: &Bed, places: &Places<'_>, layers: &[PathBuf]) -> Result<(), Error> {
    let relative = |path: &PathBuf| path.strip_prefix(&bed.directory).unwrap_or(path).to_owned();
    let mut lower: Vec<PathBuf> = layers.iter().map(relative).collect();
    if lower.len() == 1 && places.mode == Mode::Read {
        // Without an upper, the kernel wants two.
        lower.push("empty".into());
    }
    let mut options = format!("lowerdir={}", lowers(&lower));
    if places.mode == Mode::Write {
        options += &format!(",upperdir={},workdir={}", places.upper.display(), places.work.display());
    }
    if !bed.rights.is_root() {
        options += ",userxattr";
    }
    let mut mount = command("mount", &["-t", "overlay", "-o", &options, "overlay"]);
    run(mount.arg(places.target).current_dir(&bed.directory)).map(drop)
}

/// With an upper of the store, which nobody has written to.
fn plyfs_writable(bed: &Bed, places: &Places<'_>) -> Result<(), Error> {
    let mut mount = command(&bed.plyfs, &["--root"]);
    mount.arg(bed.store()).arg("mount").arg("--name").arg(format!("upper-{}", bed.uppers()?.len()));
    if bed.rights.is_root() {
        // As the others have it.
        mount.args(["-o", "suid,dev,allow_other"]);
    }
    run(mount.arg(format!("oci:{}", bed.named())).arg(places.target)).map(drop)
}

fn fuse_overlayfs(bed: &Bed, places: &Places<'_>, program: &Path) -> Result<(), Error> {
    let mut options = format!("lowerdir={}", lowers(&bed.layers));
    if places.mode == Mode::Write {
        options += &format!(",upperdir={},workdir={}", places.upper.display(), places.work.display());
    }
    if bed.rights.is_root() {
        options += ",suid,dev,allow_other";
    }
    run(command(program, &["-o", &options]).arg(places.target)).map(drop)
}

/// Made once, which is not counted.
fn once(file: &Path, make: &mut Command) -> Result<(), Error> {
    match file.exists() {
        true => Ok(()),
        false => run(make).map(drop),
    }
}

fn squashfuse(bed: &Bed, places: &Places<'_>) -> Result<(), Error> {
    let image = bed.path("tree.squashfs");
    let mut make = command("mksquashfs", &[bed.tree(), image.clone()]);
    once(&image, make.args(["-comp", "gzip", "-no-progress", "-quiet"]))?;
    let mut mount = Command::new("squashfuse");
    if bed.rights.is_root() {
        mount.args(["-o", "allow_other,suid,dev"]);
    }
    run(mount.arg(&image).arg(places.target)).map(drop)
}

fn erofs(bed: &Bed, places: &Places<'_>) -> Result<(), Error> {
    let image = bed.path("tree.erofs");
    once(&image, command("mkfs.erofs", &["-zlz4", "--quiet"]).arg(&image).arg(bed.tree()))?;
    run(command("mount", &["-t", "erofs", "-o", "loop,ro"]).arg(&image).arg(places.target)).map(drop)
}

fn own(bed: &Bed, places: &Places<'_>, words: &str) -> Result<(), Error> {
    let mut mount = command("sh", &["-c", words]);
    mount
        .env("PLYFS_BENCH_LOWERS", lowers(&bed.layers))
        .env("PLYFS_BENCH_TREE", bed.tree())
        .env("PLYFS_BENCH_IMAGE", bed.named())
        .env("PLYFS_BENCH_TARGET", places.target);
    if places.mode == Mode::Write {
        mount.env("PLYFS_BENCH_UPPER", places.upper).env("PLYFS_BENCH_WORK", places.work);
    }
    run(&mut mount).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_told_apart_by_their_names() {
        let words =
            ["native", "native", "plyfs+20%", "fuse-overlayfs=/opt/new/fuse-overlayfs", "cmd:mount x"];
        let drivers = Driver::parse_all(&words).unwrap();
        let names: Vec<_> = drivers.iter().map(|driver| driver.name.as_str()).collect();
        assert_eq!(
            names,
            ["native", "native #2", "plyfs +20%", "fuse-overlayfs /opt/new/fuse-overlayfs", "mount x"]
        );
        assert_eq!(drivers[2].handicap, 0.2);
        assert_eq!(drivers[4].kind, Kind::Own("mount x".to_owned()));
    }

    #[test]
    fn an_unknown_driver_is_refused_with_those_there_are() {
        for word in ["aufs", "native=x", "cmd:", "plyfs+x%"] {
            let refused = Driver::parse_all(&[word]).unwrap_err().to_string();
            assert!(refused.contains(word) && refused.contains("overlay-over-plyfs"), "{refused}");
        }
    }
}
