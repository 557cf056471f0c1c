//! The way back: a layer of what an upper changes, over the same layers, shows what the union showed.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;

use plyfs::layer::{Kind, Time};
use plyfs::union::diff::Opaque;
use plyfs::union::overlay::Options;
use plyfs::union::upper::Namespace;

use super::{Operation, apply, kernel};
use crate::support::world::{Side, World};

/// What a layer keeps of an object; of those with several names, the first one that shows.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    kind: Kind,
    permissions: u16,
    modified: Time,
    owner: (u32, u32),
    data: Vec<u8>,
    first: String,
}

/// With `metacopy`, in an upper whose files lack content.
pub fn run(metacopy: bool, operations: &[Operation]) {
    let options = Options { metacopy, blocks_from: 0, ..Options::default() };
    let mut world = World::with(Side::Image, super::LAYERS, options);
    for operation in operations {
        let _ = apply(&mut world, operation);
    }
    let (expected, namespace) = (kept(&world), world.overlay().upper_namespace().unwrap());
    for opaque in [Opaque::Listed, Opaque::Marker] {
        let committed = world.committed(namespace, opaque);
        assert_eq!(kept(&committed), expected, "{opaque:?}");
        for bottom in 0..2 {
            assert_eq!(kept(&committed.squashed(bottom)), expected, "{opaque:?}, {bottom} layers kept");
        }
    }
}

/// All but the names that no layer can have.
fn kept(world: &World) -> BTreeMap<String, Kept> {
    let (mut firsts, mut kept) = (HashMap::new(), BTreeMap::new());
    let root = world.attributes("").unwrap();
    let nothing = (root.stat.kind, root.stat.permissions, root.node.number(), Vec::new());
    let tree = world.tree().into_iter();
    let tree = tree.map(|(path, shown)| (path, (shown.kind, shown.permissions, shown.number, shown.data)));
    let all = std::iter::once((String::new(), nothing)).chain(tree);
    for (path, (kind, permissions, number, data)) in all.filter(|(path, _)| !path.contains(".wh.")) {
        let stat = world.attributes(&path).unwrap().stat;
        let first = firsts.entry(number).or_insert_with(|| path.clone()).clone();
        let owner = (stat.user, stat.group);
        kept.insert(path, Kept { kind, permissions, modified: stat.modified, owner, data, first });
    }
    kept
}

#[test]
fn names_of_one_symlink_stay_together() {
    run(false, &[Operation::Link("a/c".to_owned(), "b/b".to_owned())]);
}

/// Everything that makes the kernel write another form: directories that move, and attributes alone that change.
const AT_THE_KERNEL: &str =
    "mv a z; chmod 600 c; rm b/a; mkdir b2; echo x > b2/n; ln b2/n b2/m; mv b/c y; mkdir b/c
    echo new > b/c/new; echo more >> z/a/c; rm z/a/b; ln -s z link; mv z/a w; touch z/b";

#[test]
fn what_the_kernel_wrote_is_committed_as_the_kernel_showed_it() {
    for options in ["redirect_dir=off,metacopy=off", "redirect_dir=on,metacopy=on"] {
        let mut world = World::new(Side::Image, super::PLAIN_LAYERS);
        world.close();
        let Some(mounted) = kernel::mount_with(&world, 2, options) else { return };
        let script = Command::new("sh").args(["-ec", AT_THE_KERNEL]).current_dir(mounted.path()).status();
        assert!(script.unwrap().success());
        let expected = mounted.tree();
        drop(mounted);
        let committed = world.committed(Namespace::Trusted, Opaque::Listed);
        assert_eq!(kernel::as_seen(&committed.tree()), expected, "{options}");
    }
}
