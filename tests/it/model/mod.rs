//! A writable union held against a model of what POSIX says of a file system: after any sequence of operations both
//! show the same tree and have answered the same, and mounting again changes nothing, inode numbers included.

mod back;
mod calls;
mod kernel;
mod mounted;
mod parts;
mod posix;

use plyfs::union::overlay::{Change, Make, Options, Renaming};
use proptest::prelude::*;

use crate::support::world::{Result, Side, World};
use posix::Posix;

const LAYERS: &str = "
    layer
    dir a
    dir a/a
    file a/a/b : deep
    file a/b : lower
    symlink a/c -> b
    dir b
    file b/a : one
    file b/b : two
    file c : top
    layer
    dir a/a
    file a/a/c : upper of two
    whiteout b/b
    dir b/c
    file b/c/a : more
    opaque b/c
";

/// Without markers, of which the kernel knows nothing.
const PLAIN_LAYERS: &str = "
    layer
    dir a
    dir a/a
    file a/a/b : deep
    file a/b : lower
    symlink a/c -> b
    dir b
    file b/a : one
    file c : top
    layer
    dir a/a
    file a/a/c : upper of two
    dir b/c
    file b/c/a : more
";

#[derive(Clone, Debug)]
pub enum Operation {
    Create(String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Mkdir(String),
    Symlink(String, String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, Renaming),
    Chmod(String, u16),
    Remount,
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => Just("a"), 4 => Just("b"), 4 => Just("c"), 1 => Just(".wh.a")];
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{Chmod, Create, Link, Mkdir, Remount, Rename, Rmdir, Symlink, Truncate, Unlink, Write};
    let how = prop_oneof![3 => Just(Renaming::Replace), 1 => Just(Renaming::NoReplace), 2 => Just(Renaming::Exchange)];
    prop_oneof![
        3 => path().prop_map(Create),
        3 => (path(), 0..20u64, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(p, o, d)| Write(p, o, d)),
        1 => (path(), 0..20u64).prop_map(|(path, size)| Truncate(path, size)),
        3 => path().prop_map(Mkdir),
        1 => (path(), path()).prop_map(|(path, target)| Symlink(path, target)),
        2 => (path(), path()).prop_map(|(from, to)| Link(from, to)),
        3 => path().prop_map(Unlink),
        3 => path().prop_map(Rmdir),
        6 => (path(), path(), how).prop_map(|(from, to, how)| Rename(from, to, how)),
        1 => (path(), 0..0o1000u16).prop_map(|(path, mode)| Chmod(path, mode)),
        1 => Just(Remount),
    ]
}

fn apply(world: &mut World, operation: &Operation) -> Result<()> {
    match operation {
        Operation::Create(path) => world.create(path).map(drop),
        Operation::Write(path, offset, data) => world.write(path, *offset, data).map(drop),
        Operation::Truncate(path, size) => {
            world.change(path, Change { size: Some(*size), ..Change::default() }).map(drop)
        }
        Operation::Mkdir(path) => world.make(path, Make::Directory, 0o777).map(drop),
        Operation::Symlink(path, target) => {
            world.make(path, Make::Symlink(target.as_bytes()), 0o777).map(drop)
        }
        Operation::Link(from, to) => world.link(from, to).map(drop),
        Operation::Unlink(path) => world.unlink(path),
        Operation::Rmdir(path) => world.remove_directory(path),
        Operation::Rename(from, to, how) => world.rename(from, to, *how),
        Operation::Chmod(path, mode) => {
            world.change(path, Change { permissions: Some(*mode), ..Change::default() }).map(drop)
        }
        Operation::Remount => {
            world.reopen();
            Ok(())
        }
    }
}

fn run(side: Side, metacopy: bool, operations: &[Operation]) {
    let mut world = World::with(side, LAYERS, Options { metacopy, ..Options::default() });
    let mut posix = Posix::of(&world.tree());
    for (at, operation) in operations.iter().enumerate() {
        let (answered, expected) = (apply(&mut world, operation), posix.apply(operation));
        assert_eq!(answered, expected, "operation {at}: {operation:?}");
        let tree = world.tree();
        posix.learn(&tree);
        assert_eq!(tree, posix.tree(), "after operation {at}: {operation:?}");
    }
    world.reopen();
    assert_eq!(world.tree(), posix.tree(), "mounted again");
    world.overlay().seal().unwrap();
    assert_eq!(world.tree(), posix.tree(), "sealed");
}

/// The same operations with no word on what they answer; then the kernel has the upper.
fn run_for_the_kernel(metacopy: bool, operations: &[Operation]) {
    let mut world = World::with(Side::Directories, PLAIN_LAYERS, Options { metacopy, ..Options::default() });
    for operation in operations {
        let _ = apply(&mut world, operation);
    }
    let tree = world.tree();
    world.overlay().seal().unwrap();
    world.close();
    let Some(mounted) = kernel::mount(&world, 2) else { return };
    assert_eq!(mounted.tree(), kernel::as_seen(&tree));
    drop(mounted);
    world.reopen();
    assert_eq!(world.tree(), tree, "after the kernel had it");
}

/// How many runs of 20 operations on average: enough to find what a change has broken, or what `scripts/model` asks for.
fn cases() -> u32 {
    let asked = std::env::var("PLYFS_MODEL_OPERATIONS").ok().and_then(|count| count.parse::<u32>().ok());
    asked.map_or(60, |operations| operations.div_ceil(20))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn over_an_image_everything_is_as_in_any_file_system(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        run(Side::Image, false, &operations);
    }

    #[test]
    fn without_the_content_of_what_is_copied_up_everything_is_the_same(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        run(Side::Image, true, &operations);
        run(Side::Directories, true, &operations);
    }

    #[test]
    fn over_directories_everything_is_as_in_any_file_system(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        run(Side::Directories, false, &operations);
    }

    #[test]
    fn the_layer_of_what_was_written_shows_what_was_written(
        metacopy in any::<bool>(),
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        back::run(metacopy, &operations);
    }

    #[test]
    fn the_kernel_shows_the_same_tree_of_the_same_upper(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        run_for_the_kernel(false, &operations);
        run_for_the_kernel(true, &operations);
    }
}
