//! The merge held against a model that does what unpacking does: layer upon layer, entry upon entry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;

use plyfs::layer::scan::Scan;
use plyfs::layer::{Id, Identity, Index, Kind, Seek};
use plyfs::oci::Digest;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Body {
    Directory,
    File,
    Symlink(String),
    HardLink(String),
    Whiteout,
    Opaque,
}

/// A path and what a layer says of it. Each has a number of its own, which is its time in the tar.
#[derive(Clone, Debug)]
struct Entry {
    path: String,
    body: Body,
    number: i64,
}

impl Entry {
    fn is_marker(&self) -> bool {
        matches!(self.body, Body::Whiteout | Body::Opaque)
    }
}

/// What a path shows: its kind and the number of the entry that it is from; 0 for a directory that is only implied.
type Listing = BTreeMap<String, (Kind, i64)>;

#[derive(Clone, Debug)]
struct Object {
    kind: Kind,
    number: i64,
    target: String,
    children: BTreeMap<String, usize>,
}

struct Model {
    objects: Vec<Object>,
}

impl Model {
    fn new() -> Self {
        Self { objects: vec![Object::directory(0)] }
    }

    fn apply(&mut self, layer: &[Entry]) -> Option<()> {
        let own = layer.iter().filter(|entry| !entry.is_marker()).map(|entry| entry.path.as_str()).collect();
        let mut removed = BTreeMap::new();
        for entry in layer {
            self.mark(entry, &own, &mut removed);
        }
        for entry in layer.iter().filter(|entry| !entry.is_marker()) {
            self.place(entry, &removed)?;
        }
        Some(())
    }

    fn mark(&mut self, entry: &Entry, own: &BTreeSet<&str>, removed: &mut BTreeMap<String, usize>) {
        match entry.body {
            Body::Whiteout => {
                let (dir, name) = split(&entry.path);
                if let Some(dir) = self.parent(dir, Missing::Stop, Some(own)) {
                    let gone = self.objects[dir].children.remove(name);
                    removed.extend(gone.map(|gone| (entry.path.clone(), gone)));
                }
            }
            Body::Opaque => {
                if let Some(dir) = self.parent(&entry.path, Missing::Stop, Some(own)) {
                    let gone = std::mem::take(&mut self.objects[dir].children);
                    removed.extend(
                        gone.into_iter().map(|(name, gone)| (format!("{}/{name}", entry.path), gone)),
                    );
                }
            }
            _ => {}
        }
    }

    fn place(&mut self, entry: &Entry, removed: &BTreeMap<String, usize>) -> Option<()> {
        let object = match &entry.body {
            Body::HardLink(target) => {
                let (dir, name) = split(target);
                let found = self.parent(dir, Missing::Stop, None);
                let found = found.and_then(|dir| self.objects[dir].children.get(name).copied());
                let found = found.or_else(|| removed.get(target).copied())?;
                (self.objects[found].kind != Kind::Directory).then_some(found)?
            }
            body => {
                self.objects.push(Object::of(body, entry.number));
                self.objects.len() - 1
            }
        };
        let (dir, name) = split(&entry.path);
        let dir = self.parent(dir, Missing::Make, None)?;
        if let Some(old) = self.objects[dir].children.insert(name.to_owned(), object)
            && [old, object].iter().all(|object| self.objects[*object].kind == Kind::Directory)
        {
            self.objects[object].children = std::mem::take(&mut self.objects[old].children);
        }
        Some(())
    }

    /// The directory that `path` leads to, symlinks followed; none is followed that the layer itself has (`own`).
    fn parent(&mut self, path: &str, missing: Missing, own: Option<&BTreeSet<&str>>) -> Option<usize> {
        let mut trail = vec![(0, String::new())];
        let mut todo: VecDeque<String> = path.split('/').map(str::to_owned).collect();
        let mut hops = 0;
        while let Some(name) = todo.pop_front() {
            let (dir, way) = trail.last()?.clone();
            match name.as_str() {
                "" | "." => continue,
                ".." => trail.truncate((trail.len() - 1).max(1)),
                name => {
                    let way = format!("{way}/{name}").trim_start_matches('/').to_owned();
                    let child = match (self.objects[dir].children.get(name), missing) {
                        (Some(child), _) => *child,
                        (None, Missing::Stop) => return None,
                        (None, Missing::Make) => self.imply(dir, name),
                    };
                    match self.objects[child].kind {
                        Kind::Directory => trail.push((child, way)),
                        Kind::Symlink => {
                            hops += 1;
                            if hops > 40 || own.is_some_and(|own| own.contains(way.as_str())) {
                                return None;
                            }
                            let target = self.objects[child].target.clone();
                            if target.starts_with('/') {
                                trail.truncate(1);
                            }
                            target.split('/').rev().for_each(|name| todo.push_front(name.to_owned()));
                        }
                        _ if missing == Missing::Stop => return None,
                        _ => {
                            let implied = self.imply(dir, name);
                            trail.push((implied, way));
                        }
                    }
                }
            }
        }
        trail.pop().map(|(dir, _)| dir)
    }

    fn imply(&mut self, dir: usize, name: &str) -> usize {
        self.objects.push(Object::directory(0));
        let implied = self.objects.len() - 1;
        self.objects[dir].children.insert(name.to_owned(), implied);
        implied
    }

    fn list(&self, dir: usize, path: &str, listing: &mut Listing) {
        for (name, child) in &self.objects[dir].children {
            let path = format!("{path}/{name}");
            let object = &self.objects[*child];
            listing.insert(path.clone(), (object.kind, object.number));
            self.list(*child, &path, listing);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Stop,
    Make,
}

impl Object {
    fn directory(number: i64) -> Self {
        Self { kind: Kind::Directory, number, target: String::new(), children: BTreeMap::new() }
    }

    fn of(body: &Body, number: i64) -> Self {
        let (kind, target) = match body {
            Body::Directory => (Kind::Directory, ""),
            Body::Symlink(target) => (Kind::Symlink, target.as_str()),
            _ => (Kind::File, ""),
        };
        Self { kind, target: target.to_owned(), ..Self::directory(number) }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn model(layers: &[Vec<Entry>]) -> Option<Listing> {
    let mut model = Model::new();
    layers.iter().try_for_each(|layer| model.apply(layer))?;
    let mut listing = Listing::new();
    model.list(0, "", &mut listing);
    Some(listing)
}

fn tar(layer: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in layer {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(entry.number.unsigned_abs());
        header.set_size(0);
        let (dir, name) = split(&entry.path);
        let marker = |name: &str| format!("{dir}/{name}").trim_start_matches('/').to_owned();
        let (path, kind, target) = match &entry.body {
            Body::Directory => (entry.path.clone(), tar::EntryType::Directory, None),
            Body::File => (entry.path.clone(), tar::EntryType::Regular, None),
            Body::Symlink(target) => (entry.path.clone(), tar::EntryType::Symlink, Some(target)),
            Body::HardLink(target) => (entry.path.clone(), tar::EntryType::Link, Some(target)),
            Body::Whiteout => (marker(&format!(".wh.{name}")), tar::EntryType::Regular, None),
            Body::Opaque => (format!("{}/.wh..wh..opq", entry.path), tar::EntryType::Regular, None),
        };
        header.set_entry_type(kind);
        match target {
            Some(target) => tar.append_link(&mut header, path, target).unwrap(),
            None => tar.append_data(&mut header, path, std::io::empty()).unwrap(),
        }
    }
    tar.into_inner().unwrap()
}

fn index(tar: &[u8]) -> Option<Index> {
    let mut scan = Scan::new();
    scan.push(tar).ok()?;
    let key = Digest::of(tar);
    let bytes = scan.finish().ok()?.into_index(&Identity::of_merged(key), &Seek::default());
    Some(Index::from_bytes(bytes, &key).unwrap())
}

fn merged(layers: &[Vec<Entry>]) -> Option<Listing> {
    let tars: Vec<Vec<u8>> = layers.iter().map(|layer| tar(layer)).collect();
    let layers: Vec<Index> = tars.iter().map(|tar| index(tar)).collect::<Option<_>>()?;
    let key = Digest::of(b"tree");
    let open = |number: u16| Box::new(&tars[usize::from(number)][..]) as Box<dyn Read>;
    let bytes = plyfs::lower::merge(&layers.iter().collect::<Vec<_>>(), &open, key).ok()?;
    let tree = Index::from_bytes(bytes, &key).unwrap();
    let mut listing = Listing::new();
    list(&tree, 0, "", &mut listing);
    Some(listing)
}

fn list(tree: &Index, dir: Id, path: &str, listing: &mut Listing) {
    for entry in tree.children(dir).iter() {
        let path = format!("{path}/{}", String::from_utf8_lossy(entry.name));
        listing.insert(path.clone(), (entry.kind, tree.inode(entry.id).mtime().seconds));
        list(tree, entry.id, &path, listing);
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "l", "m"]), 1..4)
        .prop_map(|names| names.join("/"))
}

/// `l` and `m` are mostly symlinks, so that ways lead through them.
fn entry() -> impl Strategy<Value = (String, Body)> {
    (path(), body(), target(), 0..8).prop_map(|(path, body, target, odd)| {
        let is_symlink = path.ends_with(['l', 'm']) && odd > 0;
        let body = match body {
            Body::Directory | Body::File | Body::HardLink(_) if is_symlink => Body::Symlink(target),
            body => body,
        };
        (path, body)
    })
}

fn target() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["", "/", "../", "../../"]), path())
        .prop_map(|(start, path)| format!("{start}{path}"))
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        3 => Just(Body::Directory),
        3 => Just(Body::File),
        1 => path().prop_map(Body::HardLink),
        2 => Just(Body::Whiteout),
        1 => Just(Body::Opaque),
    ]
}

/// Drops markers below what another one removes, as they mean nothing, and those that may lead through a symlink below
/// in a layer that makes symlinks: what the layer has at a place is then more than the names of its entries.
fn meant(mut layer: Vec<(String, Body)>) -> Vec<(String, Body)> {
    let removed = layer.iter().filter(|(_, body)| *body == Body::Whiteout);
    let removed: Vec<String> = removed.map(|(path, _)| format!("{path}/")).collect();
    let makes_symlinks = layer.iter().any(|(_, body)| matches!(body, Body::Symlink(_)));
    layer.retain(|(path, body)| {
        let directory = if *body == Body::Opaque { format!("{path}/") } else { path.clone() };
        let is_marker = matches!(body, Body::Whiteout | Body::Opaque);
        let may_lead_on = makes_symlinks && directory.contains(['l', 'm']);
        !(is_marker && (may_lead_on || removed.iter().any(|removed| directory.starts_with(removed))))
    });
    layer
}

/// Layers whose entries stand in any order.
fn layers() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let layer = prop::collection::vec(entry(), 0..8).prop_map(meant);
    prop::collection::vec(layer, 1..5).prop_map(|layers| {
        let mut number = 0;
        let mut entry = |(path, body)| {
            number += 1;
            Entry { path, body, number }
        };
        layers.into_iter().map(|layer| layer.into_iter().map(&mut entry).collect()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn a_merged_tree_is_what_unpacking_layer_upon_layer_leaves(layers in layers()) {
        let (Some(expected), Some(merged)) = (model(&layers), merged(&layers)) else {
            return Err(TestCaseError::reject("a layer is refused"));
        };
        prop_assert_eq!(merged, expected);
    }
}
