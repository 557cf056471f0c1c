use super::*;
use crate::layer::{Identity, Seek};
use crate::oci::Digest;

fn key() -> Digest {
    Digest::of(b"a layer")
}

fn index(tree: Tree) -> Index {
    Index::from_bytes(tree.into_index(&Identity::of_merged(key()), &Seek::default()), &key()).unwrap()
}

fn file(tree: &mut Tree, size: u64) -> Node {
    let body = Body::File { offset: 512, size, extents: None, digest: [7; 32] };
    tree.make(&Attributes::IMPLICIT, &[], body).unwrap()
}

fn directory(tree: &mut Tree) -> Node {
    tree.make(&Attributes::IMPLICIT, &[], Body::Directory).unwrap()
}

/// One line a name, breadth first: `path kind inode nlink`.
fn listing(index: &Index) -> Vec<String> {
    let mut lines = Vec::new();
    let mut directories = std::collections::VecDeque::from([(0, String::new())]);
    while let Some((id, path)) = directories.pop_front() {
        for entry in index.children(id).iter() {
            let path = format!("{path}/{}", entry.name.escape_ascii());
            let nlink = if entry.kind == Kind::Whiteout { 0 } else { index.inode(entry.id).nlink() };
            lines.push(format!("{path} {:?} {} {nlink}", entry.kind, entry.id));
            if entry.kind == Kind::Directory {
                directories.push_back((entry.id, path));
            }
        }
    }
    lines
}

#[test]
fn an_index_shows_the_tree_it_was_made_of() {
    let mut tree = Tree::new();
    let (etc, sub, passwd) = (directory(&mut tree), directory(&mut tree), file(&mut tree, 3));
    tree.link(Node::ROOT, b"etc", etc).unwrap();
    tree.link(etc, b"sub", sub).unwrap();
    tree.link(sub, b"shadow", passwd).unwrap();
    tree.link(etc, b"passwd", passwd).unwrap();
    tree.whiteout(etc, b"group").unwrap();
    let link = tree.make(
        &Attributes::IMPLICIT,
        &[(b"user.b", b"2"), (b"user.a", b"")],
        Body::Symlink(b"etc/passwd"),
    );
    tree.link(Node::ROOT, b"link", link.unwrap()).unwrap();
    let index = index(tree);
    assert_eq!(
        listing(&index),
        [
            "/etc Directory 1 3",
            "/link Symlink 2 1",
            "/etc/group Whiteout 0 0",
            "/etc/passwd File 3 2",
            "/etc/sub Directory 4 2",
            "/etc/sub/shadow File 3 2",
        ]
    );
    assert_eq!(index.target(2).unwrap(), b"etc/passwd");
    assert_eq!(index.xattrs(2).unwrap().collect::<Vec<_>>(), [(&b"user.a"[..], &b""[..]), (b"user.b", b"2")]);
    assert_eq!((index.inode(4).parent(), index.inode(1).parent()), (1, 0));
    let content = index.content(3).unwrap();
    assert_eq!((content.offset, content.size, content.extents, content.digest), (512, 3, None, [7; 32]));
}

#[test]
fn what_replaces_a_directory_drops_all_below_it() {
    let mut tree = Tree::new();
    let (top, sub, kept, gone) =
        (directory(&mut tree), directory(&mut tree), file(&mut tree, 1), file(&mut tree, 2));
    tree.link(Node::ROOT, b"top", top).unwrap();
    tree.link(top, b"sub", sub).unwrap();
    tree.link(sub, b"kept", kept).unwrap();
    tree.link(sub, b"gone", gone).unwrap();
    tree.link(Node::ROOT, b"top", kept).unwrap();
    let other = file(&mut tree, 4);
    tree.link(Node::ROOT, b"other", other).unwrap();
    let index = index(tree);
    assert_eq!(listing(&index), ["/other File 1 1", "/top File 2 1"]);
    assert_eq!((index.inode(1).size(), index.inode(2).size()), (4, 1));
}

#[test]
fn an_adopted_inode_remembers_its_layer_and_its_content() {
    let mut below = Tree::new();
    let extents = [Extent { offset: 4096.into(), length: 10.into() }];
    let body = Body::File { offset: 1024, size: 8192, extents: Some(&extents), digest: [9; 32] };
    let attributes = Attributes { mode: 0o4755, uid: 1, gid: 2, mtime: Time { seconds: -1, nanoseconds: 5 } };
    let sparse = below.make(&attributes, &[(b"user.x", b"y")], body).unwrap();
    below.link(Node::ROOT, b"a", sparse).unwrap();
    let below = index(below);
    let mut merged = Tree::new();
    let adopted = merged.adopt(&below, 1, 12).unwrap();
    merged.link(Node::ROOT, b"z", adopted).unwrap();
    let merged = index(merged);
    let inode = merged.inode(1);
    assert_eq!(
        (inode.layer(), inode.origin(), inode.mode(), inode.uid(), inode.gid()),
        (12, 1, 0o4755, 1, 2)
    );
    assert_eq!(inode.mtime(), Time { seconds: -1, nanoseconds: 5 });
    assert_eq!(merged.content(1).unwrap(), below.content(1).unwrap());
    assert_eq!(merged.xattrs(1).unwrap().collect::<Vec<_>>(), [(&b"user.x"[..], &b"y"[..])]);
}

/// A tree as it should be: the names, and which inode each has.
mod model {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Path = Vec<u8>;

    #[derive(Clone, Debug)]
    enum Step {
        Directory(Path),
        File(Path),
        Link(Path, Path),
        Whiteout(Path),
        Remove(Path),
        Clear(Path),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Entry {
        Directory,
        File(u64),
        Whiteout,
    }

    fn path() -> impl Strategy<Value = Path> {
        prop::collection::vec(prop::sample::select(b"abc".to_vec()), 1..5)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => path().prop_map(Step::Directory),
            4 => path().prop_map(Step::File),
            2 => (path(), path()).prop_map(|(path, target)| Step::Link(path, target)),
            1 => path().prop_map(Step::Whiteout),
            1 => path().prop_map(Step::Remove),
            1 => path().prop_map(Step::Clear),
        ]
    }

    #[derive(Default)]
    struct Both {
        tree: Tree,
        model: BTreeMap<Path, Entry>,
        files: u64,
    }

    impl Both {
        fn find(&self, path: &[u8]) -> Option<Child> {
            let (name, parent) = path.split_last().unwrap();
            self.tree.child(self.directory(parent)?, &[*name])
        }

        fn directory(&self, path: &[u8]) -> Option<Node> {
            path.iter().try_fold(Node::ROOT, |node, name| match self.tree.child(node, &[*name]) {
                Some(Child::Inode(node, Kind::Directory)) => Some(node),
                _ => None,
            })
        }

        fn put(&mut self, path: &Path, node: Node, entry: Entry) {
            let (name, parent) = path.split_last().unwrap();
            let Some(parent) = self.directory(parent) else { return };
            self.tree.link(parent, &[*name], node).unwrap();
            self.model.retain(|other, _| !other.starts_with(path));
            self.model.insert(path.clone(), entry);
        }

        fn apply(&mut self, step: &Step) {
            match step {
                Step::Directory(path) => {
                    let node = directory(&mut self.tree);
                    self.put(path, node, Entry::Directory);
                }
                Step::File(path) => {
                    self.files += 1;
                    let node = file(&mut self.tree, self.files);
                    self.put(path, node, Entry::File(self.files));
                }
                Step::Link(path, target) => {
                    let found = (self.find(target), self.model.get(target).copied());
                    if let (Some(Child::Inode(node, Kind::File)), Some(entry)) = found {
                        self.put(path, node, entry);
                    }
                }
                Step::Whiteout(path) | Step::Remove(path) | Step::Clear(path) => self.drop(step, path),
            }
        }

        fn drop(&mut self, step: &Step, path: &Path) {
            let (name, above) = path.split_last().unwrap();
            let (Some(parent), own) = (self.directory(above), self.directory(path)) else { return };
            let is_clear = matches!(step, Step::Clear(_));
            match (step, own) {
                (Step::Whiteout(_), _) => self.tree.whiteout(parent, &[*name]).unwrap(),
                (Step::Remove(_), _) => self.tree.remove(parent, &[*name]),
                (_, Some(own)) => self.tree.clear(own),
                (_, None) => return,
            }
            self.model.retain(|other, _| !other.starts_with(path) || is_clear && other == path);
            if let Step::Whiteout(path) = step {
                self.model.insert(path.clone(), Entry::Whiteout);
            }
        }
    }

    fn shown(index: &Index) -> BTreeMap<Path, Entry> {
        let mut all = BTreeMap::new();
        let mut directories = vec![(0, Vec::new())];
        while let Some((id, path)) = directories.pop() {
            for entry in index.children(id).iter() {
                let path = [&path[..], entry.name].concat();
                let shown = match entry.kind {
                    Kind::Whiteout => Entry::Whiteout,
                    Kind::File => Entry::File(index.inode(entry.id).size()),
                    _ => Entry::Directory,
                };
                if shown == Entry::Directory {
                    directories.push((entry.id, path.clone()));
                }
                all.insert(path, shown);
            }
        }
        all
    }

    proptest! {
        #[test]
        fn an_index_shows_what_was_done_to_the_tree(steps in prop::collection::vec(step(), 0..60)) {
            let mut both = Both::default();
            steps.iter().for_each(|step| both.apply(step));
            let index = index(both.tree);
            prop_assert_eq!(&shown(&index), &both.model);
            for id in 0..index.len() {
                let inode = index.inode(id);
                let names = both.model.values().filter(|entry| **entry == Entry::File(inode.size())).count();
                prop_assert!(inode.kind() != Kind::File || inode.nlink() as usize == names);
            }
        }
    }
}
