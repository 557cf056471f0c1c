//! What there is to work on: an image laid out for every driver, in one directory that goes with the run.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FileType, Mode, XattrFlags};

use super::Error;
use super::layout::Layout;
use super::program::{command, run};
use super::synthetic::{self, Building};
use crate::image::{Image, Source};
use crate::layer::Codec;
use crate::oci::Descriptor;

/// Who is asking, which decides what can be measured and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Of the machine.
    Root,
    /// Root of a user namespace, with ids of its own.
    Mapped,
    /// The same, with one id.
    OneId,
}

impl Rights {
    pub fn is_root(self) -> bool {
        self == Self::Root
    }
}

/// The image in every form that a driver takes.
pub struct Bed {
    pub directory: PathBuf,
    pub rights: Rights,
    pub plyfs: PathBuf,
    /// The layers as they came, bottom first.
    pub blobs: Vec<PathBuf>,
    /// The layers unpacked, topmost first, with overlayfs's whiteouts.
    pub layers: Vec<PathBuf>,
    pub facts: Facts,
}

/// What is in the image's tree. Paths are below its root.
#[derive(Default)]
pub struct Facts {
    pub all: Vec<PathBuf>,
    pub directories: Vec<PathBuf>,
    /// Every file, and those of them that are read in one piece.
    pub files: Vec<PathBuf>,
    pub small: Vec<PathBuf>,
    /// A file that is read first.
    pub first: PathBuf,
    pub big: PathBuf,
    pub big_size: u64,
    /// A directory with many files, and how many.
    pub many: PathBuf,
    pub many_count: usize,
    pub bytes: u64,
}

/// A tree that a driver shows, to work in.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub root: &'a Path,
    pub bed: &'a Bed,
    pub facts: &'a Facts,
}

impl Site<'_> {
    /// A directory that the image does not have.
    pub fn made(&self) -> PathBuf {
        self.root.join("made-by-plyfs-bench")
    }
}

/// The image that is measured.
pub enum Subject<'a> {
    Synthetic(synthetic::Size),
    Made(&'a dyn Fn(&mut Building<'_>) -> Result<Vec<Descriptor>, Error>),
    Given { image: &'a Image, source: &'a dyn Source },
}

const SMALL: u64 = 16 * 1024;
/// A directory with more files than this takes too long to be removed over and over.
const MOST_MANY: usize = 26_000;

impl Bed {
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    pub fn layout(&self) -> PathBuf {
        self.path("image")
    }

    /// As umoci, podman and plyfs name it.
    pub fn named(&self) -> String {
        format!("{}:{}", self.layout().display(), Layout::TAG)
    }

    /// Where what was written waits to be removed.
    pub fn aside(&self) -> PathBuf {
        self.path("aside")
    }

    /// The whole tree on the disk, as the native file system has it.
    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Only as an image, which is enough for who needs nothing else.
    pub fn lay_out_packed(
        directory: PathBuf,
        rights: Rights,
        subject: &Subject<'_>,
        facts: Facts,
    ) -> Result<Self, Error> {
        let plyfs = std::env::current_exe().map_err(Error::doing("finding the program itself"))?;
        let mut bed = Self { directory, rights, plyfs, blobs: Vec::new(), layers: Vec::new(), facts };
        let layout = Layout::new(&bed.layout())?;
        let layers = match subject {
            Subject::Synthetic(size) => synthetic::write(&mut Building::new(&layout), size)?,
            Subject::Made(make) => make(&mut Building::new(&layout))?,
            Subject::Given { image, source } => copy(&layout, image, *source)?,
        };
        bed.blobs = layers.iter().map(|layer| layout.blob(&layer.digest)).collect();
        Ok(bed)
    }

    /// Lays the image out in `directory`, which is empty, in every form.
    pub fn lay_out(directory: PathBuf, rights: Rights, subject: &Subject<'_>) -> Result<Self, Error> {
        let mut bed = Self::lay_out_packed(directory, rights, subject, Facts::default())?;
        for (number, blob) in bed.blobs.clone().iter().enumerate() {
            let at = bed.path("layers").join(number.to_string());
            bed.unpack(blob, &at)?;
            bed.layers.insert(0, at);
        }
        fs::create_dir(bed.path("empty")).map_err(Error::doing("making a directory"))?;
        bed.copy_tree()?;
        bed.facts = Facts::of(&bed.tree()).map_err(Error::doing("reading the unpacked image"))?;
        Ok(bed)
    }

    fn unpack(&self, blob: &Path, at: &Path) -> Result<(), Error> {
        fs::create_dir_all(at).map_err(Error::doing("making a directory"))?;
        let file = fs::File::open(blob).map_err(Error::doing("opening a layer"))?;
        let mut start = [0; 16];
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut start, 0)
            .map_err(Error::doing("reading a layer"))?;
        let mut words = vec!["-xp", "--xattrs", "--xattrs-include=*", "--numeric-owner"];
        words.extend(match Codec::detect(&start[..read]) {
            Codec::Plain => None,
            codec => Some(filter(codec)),
        });
        // What a user namespace may not make, and what one id cannot own.
        words.extend((!self.rights.is_root()).then_some("--exclude=dev/*"));
        words.extend((self.rights == Rights::OneId).then_some("--no-same-owner"));
        let mut tar = command("tar", &words);
        run(tar.arg("-C").arg(at).arg("-f").arg(blob).stdout(Stdio::null()))?;
        self.convert_whiteouts(at).map_err(Error::doing("making whiteouts"))
    }

    /// The markers of image layers as overlayfs has them.
    fn convert_whiteouts(&self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            match name.as_bytes().strip_prefix(b".wh.") {
                Some(b".wh..opq") => {
                    let name =
                        if self.rights.is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
                    rustix::fs::setxattr(directory, name, b"y", XattrFlags::empty())?;
                    fs::remove_file(&path)?;
                }
                Some(hidden) => {
                    fs::remove_file(&path)?;
                    let at = directory.join(OsStr::from_bytes(hidden));
                    rustix::fs::mknodat(rustix::fs::CWD, &at, FileType::CharacterDevice, Mode::empty(), 0)?;
                }
                None if entry.file_type()?.is_dir() => self.convert_whiteouts(&path)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Copies the tree out of a mount.
    fn copy_tree(&self) -> Result<(), Error> {
        let from = self.path("copied");
        for path in [&from, &self.tree()] {
            fs::create_dir(path).map_err(Error::doing("making a directory"))?;
        }
        self.mount_image(&from)?;
        let mut copy = command("cp", &["-a"]);
        let excluded = if self.rights.is_root() { None } else { Some(()) };
        let copied = match excluded {
            None => run(copy.arg(from.join(".")).arg(self.tree())),
            // Devices, which a user namespace may not make.
            Some(()) => {
                let words = format!(
                    "tar -C '{}' --exclude=./dev/* -cf - . | tar -C '{}' -xpf -",
                    from.display(),
                    self.tree().display()
                );
                run(&mut command("sh", &["-c", &words]))
            }
        };
        self.unmount_image(&from)?;
        copied.map(drop)
    }

    pub fn mount_image(&self, at: &Path) -> Result<(), Error> {
        self.mount_image_by(&self.store(), at)
    }

    /// With a store of its own.
    pub fn mount_image_by(&self, store: &Path, at: &Path) -> Result<(), Error> {
        let mut mount = command(&self.plyfs, &["--root"]);
        run(mount.arg(store).args(["mount", &format!("oci:{}", self.named())]).arg(at)).map(drop)
    }

    /// The names of the uppers that the store keeps.
    pub fn uppers(&self) -> Result<Vec<String>, Error> {
        let mut list = command(&self.plyfs, &["--root"]);
        let names = run(list.arg(self.store()).args(["uppers", "--quiet"]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Removes what was written on the way, of which nothing is in use any more.
    pub fn remove_written(&self) -> Result<(), Error> {
        let uppers = self.uppers()?;
        if !uppers.is_empty() {
            let mut remove = command(&self.plyfs, &["--root"]);
            run(remove.arg(self.store()).args(["uppers", "rm"]).args(uppers))?;
        }
        match fs::remove_dir_all(self.aside()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::doing("removing what was written")(error))
            }
            _ => Ok(()),
        }
    }

    pub fn unmount_image(&self, at: &Path) -> Result<(), Error> {
        let mut unmount = command(&self.plyfs, &["--root"]);
        run(unmount.arg(self.store()).arg("umount").arg(at)).map(drop)
    }
}

fn filter(codec: Codec) -> &'static str {
    match codec {
        Codec::Zstd => "--zstd",
        Codec::Xz => "--xz",
        Codec::Bzip2 => "--bzip2",
        _ => "--gzip",
    }
}

fn copy(layout: &Layout, image: &Image, source: &dyn Source) -> Result<Vec<Descriptor>, Error> {
    let manifest = image.manifest.value();
    let config = source.document(&manifest.config)?;
    layout.write(&manifest.config.digest, &config)?;
    for layer in &manifest.layers {
        layout.write_from(&layer.digest, source.blob(layer)?)?;
    }
    layout.finish(&image.descriptor, &source.document(&image.descriptor)?)?;
    Ok(manifest.layers.clone())
}

impl Facts {
    /// Of an image that was made, and of which only its first file is asked for.
    pub fn of_made(first: &str) -> Self {
        Self { first: PathBuf::from(first), ..Self::default() }
    }

    fn of(tree: &Path) -> io::Result<Self> {
        let mut facts = Self::default();
        facts.walk(tree, Path::new(""))?;
        let preferred = Path::new("etc/os-release");
        let first = facts.small.iter().find(|path| *path == preferred).or(facts.files.first());
        facts.first = first.cloned().ok_or_else(|| io::Error::other("the image has no file to read"))?;
        Ok(facts)
    }

    /// How many files are below.
    fn walk(&mut self, tree: &Path, below: &Path) -> io::Result<usize> {
        self.directories.push(below.to_owned());
        let mut count = 0;
        for entry in fs::read_dir(tree.join(below))? {
            let entry = entry?;
            let (path, metadata) = (below.join(entry.file_name()), entry.metadata()?);
            self.all.push(path.clone());
            if metadata.is_dir() {
                count += self.walk(tree, &path)?;
            } else if metadata.is_file() {
                count += 1;
                self.take_file(path, &metadata);
            }
        }
        if count > self.many_count && count <= MOST_MANY && !below.as_os_str().is_empty() {
            (self.many, self.many_count) = (below.to_owned(), count);
        }
        Ok(count)
    }

    fn take_file(&mut self, path: PathBuf, metadata: &fs::Metadata) {
        self.bytes += metadata.size();
        if metadata.size() > self.big_size {
            (self.big, self.big_size) = (path.clone(), metadata.size());
        }
        if metadata.size() <= SMALL {
            self.small.push(path.clone());
        }
        self.files.push(path);
    }
}
