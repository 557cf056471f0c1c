//! A writable union over layers from a few lines of text, driven by paths: no mount, and no root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use plyfs::layer::pass::{self, Pass, SidecarPolicy};
use plyfs::layer::write::Writer;
use plyfs::layer::{Blob, ChunkCache, Contents, Index, Kind, Layer};
use plyfs::lower::{self, Below, Lower};
use plyfs::oci::Digest;
use plyfs::union::diff::{Against, Diff, Opaque, Owners, Place, Sides, Unnameable, export};
use plyfs::union::overlay::{
    Access, Allocation, Caller, Change, Handle, Kill, Make, Name, Opening, Options, Overlay, Renaming,
};
use plyfs::union::upper::{self, Upper};
use plyfs::union::{Attributes, Errno, Error, NodeId};
use tempfile::TempDir;

use super::fixture::Fixture;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The layers merged to an image's tree.
    Image,
    /// The layers unpacked, whiteouts as the files that the tars have.
    Directories,
}

pub const CALLER: Caller = Caller { user: 0, group: 0, umask: 0o022 };

/// What shows at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub kind: Kind,
    pub permissions: u16,
    pub number: u64,
    /// A file's bytes, a symlink's target.
    pub data: Vec<u8>,
}

/// An open file. It does not outlast the mount it was opened in.
pub struct Held {
    node: NodeId,
    handle: Handle,
}

pub struct World {
    overlay: Option<Overlay>,
    side: Side,
    place: TempDir,
    tars: Vec<Vec<u8>>,
    options: Options,
}

pub type Result<T> = std::result::Result<T, Errno>;

fn told(error: Error) -> Errno {
    match error {
        Error::Answer(errno) => errno,
        fault => panic!("{fault}"),
    }
}

impl World {
    pub fn new(side: Side, layers: &str) -> Self {
        Self::with(side, layers, Options::default())
    }

    pub fn with(side: Side, layers: &str, options: Options) -> Self {
        let place = tempfile::tempdir().unwrap();
        let tars = Fixture::parse(layers).unwrap().tars().unwrap();
        for name in ["upper", "work"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        for (number, tar) in tars.iter().enumerate() {
            let mut archive = tar::Archive::new(&tar[..]);
            archive.set_preserve_permissions(true);
            archive.unpack(place.path().join(number.to_string())).unwrap();
        }
        let mut world = Self { overlay: None, side, place, tars, options };
        world.open();
        world
    }

    /// What the upper changes, as a layer over those below it, in a world of their own that has no upper.
    pub fn committed(&self, namespace: upper::Namespace, opaque: Opaque) -> World {
        let upper = upper::View::open(&self.path("upper"), namespace).unwrap();
        let follows = namespace == upper::Namespace::Trusted || self.options.metacopy;
        let sides = Sides::Upper { upper, below: Some(image(&self.tars)), follows, against: Against::Below };
        let layer = layer_of(&Diff { sides, owners: Owners::AsStored, opaque, latest: None });
        self.of_layers([&self.tars[..], &[layer]].concat())
    }

    /// The layers above the lowest `kept` as one.
    pub fn squashed(&self, kept: usize) -> World {
        let before = (kept > 0).then(|| image(&self.tars[..kept]));
        let sides = Sides::Trees { before, after: image(&self.tars) };
        let (owners, opaque) = (Owners::AsStored, Opaque::Listed);
        let layer = layer_of(&Diff { sides, owners, opaque, latest: None });
        self.of_layers([&self.tars[..kept], &[layer]].concat())
    }

    fn of_layers(&self, tars: Vec<Vec<u8>>) -> World {
        let overlay = Overlay::new(image(&tars), None, self.options.clone()).unwrap();
        let place = tempfile::tempdir().unwrap();
        Self { overlay: Some(overlay), side: Side::Image, place, tars, options: self.options.clone() }
    }

    pub fn close(&mut self) {
        self.overlay = None;
    }

    /// Unmounts and mounts again.
    pub fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn open(&mut self) {
        let upper = self.upper();
        let lower = match self.side {
            Side::Image => image(&self.tars),
            Side::Directories => self.directories(upper.namespace()),
        };
        self.overlay = Some(Overlay::new(lower, Some(upper), self.options.clone()).unwrap());
    }

    fn upper(&self) -> Upper {
        Upper::open(&self.path("upper"), &self.path("work"), &upper::Options::default()).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn directories(&self, namespace: upper::Namespace) -> Below {
        use std::os::unix::fs::MetadataExt;
        let layers: Vec<PathBuf> =
            (0..self.tars.len()).rev().map(|number| self.path(&number.to_string())).collect();
        let namespace = match namespace {
            upper::Namespace::User => lower::Namespace::User,
            upper::Namespace::Trusted => lower::Namespace::Trusted,
        };
        let device = fs::metadata(self.path("upper")).unwrap().dev();
        lower::directories(&layers, namespace, Some(device)).unwrap()
    }

    pub fn overlay(&self) -> &Overlay {
        self.overlay.as_ref().unwrap()
    }

    /// Does something with a node, which is forgotten after.
    pub fn at<R>(&self, path: &str, act: impl FnOnce(NodeId) -> plyfs::union::Result<R>) -> Result<R> {
        let mut held = vec![NodeId::ROOT];
        let mut result = Ok(());
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match self.overlay().lookup(held[held.len() - 1], name.as_bytes()) {
                Ok(found) => held.push(found.node),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let result = result.and_then(|()| act(held[held.len() - 1]));
        for node in held.into_iter().skip(1) {
            self.overlay().forget(node, 1);
        }
        result.map_err(told)
    }

    /// Does something with a name in a directory.
    pub fn named<R>(&self, path: &str, act: impl FnOnce(Name<'_>) -> plyfs::union::Result<R>) -> Result<R> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.at(parent, |parent| {
            // As the kernel walks: it never asks for a name in what is no directory.
            match self.overlay().attributes(parent)?.stat.kind {
                Kind::Directory => act(Name { parent, name: name.as_bytes() }),
                _ => Err(Errno::NOTDIR.into()),
            }
        })
    }

    pub fn attributes(&self, path: &str) -> Result<Attributes> {
        self.at(path, |node| self.overlay().attributes(node))
    }

    pub fn make(&self, path: &str, what: Make<'_>, permissions: u16) -> Result<Attributes> {
        self.named(path, |at| {
            let made = self.overlay().make(CALLER, at, what, permissions)?;
            self.overlay().forget(made.node, 1);
            Ok(made)
        })
    }

    pub fn create(&self, path: &str) -> Result<Attributes> {
        self.named(path, |at| {
            let (made, handle) = self.overlay().create(CALLER, at, 0o666)?;
            self.overlay().release(handle);
            self.overlay().forget(made.node, 1);
            Ok(made)
        })
    }

    /// Opens, does something, and closes.
    pub fn opened<R>(
        &self,
        path: &str,
        access: Access,
        act: impl FnOnce(NodeId) -> plyfs::union::Result<R>,
    ) -> Result<R> {
        self.at(path, |node| {
            let handle = self.overlay().open(node, Opening { access, truncate: false, kill: Kill::No })?;
            let result = act(node);
            self.overlay().release(handle);
            result
        })
    }

    pub fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<u32> {
        self.opened(path, Access::Write, |node| self.overlay().write(node, offset, data, Kill::No))
    }

    pub fn allocate(&self, path: &str, allocation: Allocation) -> Result<()> {
        self.opened(path, Access::Write, |node| self.overlay().allocate(node, allocation))
    }

    /// Opens to write, and keeps it so.
    pub fn hold(&self, path: &str) -> Result<Held> {
        self.named(path, |at| {
            let node = self.overlay().lookup(at.parent, at.name)?.node;
            let opening = Opening { access: Access::Write, truncate: false, kill: Kill::No };
            let opened = self.overlay().open(node, opening);
            opened.map(|handle| Held { node, handle }).inspect_err(|_| self.overlay().forget(node, 1))
        })
    }

    pub fn write_held(&self, held: &Held, offset: u64, data: &[u8]) -> Result<()> {
        self.overlay().write(held.node, offset, data, Kill::No).map(drop).map_err(told)
    }

    pub fn let_go(&self, held: Held) {
        self.overlay().release(held.handle);
        self.overlay().forget(held.node, 1);
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.opened(path, Access::Read, |node| self.overlay().read(node, 0, 1 << 20, <[u8]>::to_vec))
    }

    pub fn change(&self, path: &str, change: Change) -> Result<Attributes> {
        self.at(path, |node| self.overlay().set_attributes(node, &change))
    }

    pub fn unlink(&self, path: &str) -> Result<()> {
        self.named(path, |at| self.overlay().unlink(at))
    }

    pub fn remove_directory(&self, path: &str) -> Result<()> {
        self.named(path, |at| self.overlay().remove_directory(at))
    }

    pub fn link(&self, from: &str, to: &str) -> Result<Attributes> {
        let mut linked = Err(Errno::IO);
        let outer = self.at(from, |node| {
            linked = self.named(to, |at| {
                let made = self.overlay().link(node, at)?;
                self.overlay().forget(made.node, 1);
                Ok(made)
            });
            Ok(())
        });
        outer.and(linked)
    }

    pub fn rename(&self, from: &str, to: &str, how: Renaming) -> Result<()> {
        let mut renamed = Err(Errno::IO);
        let outer = self.named(from, |from| {
            renamed = self.named(to, |to| self.overlay().rename(from, to, how));
            Ok(())
        });
        outer.and(renamed)
    }

    /// The entries of a directory, dots left out: name and number.
    pub fn list(&self, path: &str) -> Result<Vec<(String, u64)>> {
        self.at(path, |node| {
            let handle = self.overlay().open_directory(node)?;
            let mut found = Vec::new();
            let listed = self.overlay().read_directory(handle, 0, |entry| {
                found.push((String::from_utf8_lossy(&entry.name).into_owned(), entry.node.number()));
                ControlFlow::Continue(())
            });
            self.overlay().release_directory(handle);
            listed.map(|()| found.split_off(2))
        })
    }

    /// All that shows, by path.
    pub fn tree(&self) -> BTreeMap<String, Shown> {
        let mut tree = BTreeMap::new();
        let mut waiting = vec![String::new()];
        while let Some(directory) = waiting.pop() {
            for (name, number) in self.list(&directory).unwrap() {
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                let shown = self.shown(&path);
                assert_eq!(shown.number, number, "{path}: the listing and stat disagree");
                if shown.kind == Kind::Directory {
                    waiting.push(path.clone());
                }
                assert_eq!(tree.insert(path, shown), None);
            }
        }
        tree
    }

    fn shown(&self, path: &str) -> Shown {
        let Attributes { node, stat } = self.attributes(path).unwrap();
        let data = match stat.kind {
            Kind::File => self.read(path).unwrap(),
            Kind::Symlink => self.at(path, |node| self.overlay().read_link(node)).unwrap(),
            _ => Vec::new(),
        };
        if stat.kind != Kind::Directory {
            assert_eq!(stat.size, data.len() as u64, "{path}");
        }
        Shown { kind: stat.kind, permissions: stat.permissions, number: node.number(), data }
    }

    /// Each path with its bytes or its kind, a line each.
    pub fn text(&self) -> Vec<String> {
        let line = |(path, shown): (String, Shown)| match shown.kind {
            Kind::File => format!("{path}: {}", String::from_utf8_lossy(&shown.data).trim_end()),
            Kind::Symlink => format!("{path} -> {}", String::from_utf8_lossy(&shown.data)),
            Kind::Directory => format!("{path}/"),
            kind => format!("{path} {kind:?}"),
        };
        self.tree().into_iter().map(line).collect()
    }
}

fn image(tars: &[Vec<u8>]) -> Below {
    let layers: Vec<Arc<Layer>> = tars.iter().map(|tar| Arc::new(layer(tar))).collect();
    let indexes: Vec<&Index> = layers.iter().map(|layer| layer.index()).collect();
    let key = Digest::of(b"a chain");
    let open = |number: u16| Box::new(&tars[usize::from(number)][..]) as Box<dyn Read>;
    let tree = Index::from_bytes(lower::merge(&indexes, &open, key).unwrap(), &key).unwrap();
    let contents = Contents::new(layers, Arc::new(ChunkCache::new(1 << 20)), None);
    lower::image(Arc::new(Lower::new(tree, contents)))
}

fn layer_of(diff: &Diff) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    export(diff, &mut writer, Unnameable::Skipped, Place::Root).unwrap();
    writer.finish().unwrap()
}

fn layer(tar: &[u8]) -> Layer {
    let mut spool = || tempfile::tempfile();
    let passed = pass::pass(tar, Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut spool }).unwrap();
    let file: File = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, tar, 0).unwrap();
    let blob = Blob::new(Arc::new(file), 0, tar.len() as u64);
    let index = Index::from_bytes(passed.index, &passed.identity.digest).unwrap();
    Layer::open(index, Some(blob), passed.sidecar).unwrap()
}

pub fn handle(node: NodeId) -> Handle {
    Handle::new(node.number())
}
