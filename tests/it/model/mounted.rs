//! The union, a mount of it and the kernel's overlayfs are driven by the same operations: the two mounts answer the same
//! and show the same in all that a program can see, and the union shows it too; also when mounted again, each over the
//! upper that the other wrote.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use plyfs::union::Errno;
use plyfs::union::overlay::{Allocate, Allocation, Options, Renaming};
use proptest::prelude::*;
use rustix::fs::OFlags;

use super::kernel::{self, By, Mounted, Tree};
use super::{Operation, calls, operation, path};
use crate::support::world::{Held, Side, World};

/// No more are held open at a time.
const MOST_HELD: usize = 3;
#[derive(Clone, Debug)]
enum Step {
    Do(Operation),
    Punch(String, u64, u64),
    /// Opened, and kept so whatever becomes of the name.
    Hold(String),
    WriteHeld(usize, u64, Vec<u8>),
    Own(String, u32),
    Date(String, i64),
    Note(String, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{Date, Do, Hold, Note, Own, Punch, WriteHeld};
    let bytes = || prop::collection::vec(any::<u8>(), 0..9);
    prop_oneof![
        24 => operation().prop_map(Do),
        1 => (path(), 0..20u64, 1..20u64).prop_map(|(path, offset, length)| Punch(path, offset, length)),
        2 => path().prop_map(Hold),
        3 => (0..MOST_HELD, 0..20u64, bytes()).prop_map(|(which, offset, data)| WriteHeld(which, offset, data)),
        1 => (path(), 0..3u32).prop_map(|(path, user)| Own(path, user)),
        1 => (path(), 1..1_000_000_000i64).prop_map(|(path, seconds)| Date(path, seconds)),
        2 => (path(), prop::option::of(any::<u8>())).prop_map(|(path, value)| Note(path, value)),
    ]
}

/// A mount, and what is held open in it.
struct Driven {
    by: By,
    options: &'static str,
    folder: &'static str,
    /// Closed before it is unmounted.
    held: Vec<File>,
    mounted: Option<Mounted>,
}

impl Driven {
    fn new(by: By, world: &World, metacopy: bool) -> Option<Self> {
        let (folder, options) = match by {
            // So that it too moves directories of a lower side. With its metacopy a file that is filled in has another time.
            By::Kernel => ("one", "redirect_dir=on"),
            By::Plyfs if metacopy => ("other", "metacopy=on"),
            By::Plyfs => ("other", ""),
        };
        let mut driven = Self { by, options, folder, held: Vec::new(), mounted: None };
        driven.remount(world);
        driven.mounted.is_some().then_some(driven)
    }

    fn unmount(&mut self) {
        self.held.clear();
        self.mounted = None;
    }

    fn remount(&mut self, world: &World) {
        self.unmount();
        self.mounted = kernel::mount_at(self.by, world, 2, self.folder, self.options);
    }

    fn apply(&mut self, step: &Step) -> rustix::io::Result<()> {
        let root = self.mounted.as_ref().unwrap().path();
        match step {
            Step::Do(operation) => calls::perform(root, operation),
            Step::Punch(path, offset, length) => {
                calls::punch(&calls::open(root, path, OFlags::WRONLY)?, *offset, *length)
            }
            Step::Hold(path) => {
                let file = calls::open(root, path, OFlags::RDWR)?;
                self.held.truncate(MOST_HELD - 1);
                self.held.insert(0, file);
                Ok(())
            }
            Step::WriteHeld(which, offset, data) => {
                self.held.get(*which).map_or(Ok(()), |file| calls::write(file, *offset, data))
            }
            Step::Own(path, user) => calls::own(root, path, *user),
            Step::Date(path, seconds) => calls::date(root, path, *seconds),
            Step::Note(path, value) => calls::note(root, path, *value),
        }
    }

    /// Of what is held open, the links and the content.
    fn held(&self) -> Vec<(u64, Vec<u8>)> {
        let held = self.held.iter().map(|file| {
            let metadata = file.metadata().unwrap();
            let mut data = vec![0; metadata.len() as usize];
            file.read_exact_at(&mut data, 0).unwrap();
            (metadata.nlink(), data)
        });
        held.collect()
    }

    fn shown(&self, since: i64) -> Tree {
        kernel::renumbered(self.facts(since))
    }

    fn facts(&self, since: i64) -> Tree {
        self.mounted.as_ref().unwrap().facts(since)
    }
}

/// The union by itself. Of what only a mount's callers see nothing is done.
fn apply(world: &mut World, held: &mut Vec<Held>, step: &Step) -> Option<bool> {
    let done = match step {
        Step::Do(operation) => super::apply(world, operation),
        Step::Punch(path, offset, length) => world.allocate(
            path,
            Allocation { what: Allocate::Hole, keep_size: true, offset: *offset, length: *length },
        ),
        Step::Hold(path) => world.hold(path).map(|file| {
            held.drain((MOST_HELD - 1).min(held.len())..).for_each(|file| world.let_go(file));
            held.insert(0, file);
        }),
        Step::WriteHeld(which, offset, data) => {
            held.get(*which).map_or(Ok(()), |file| world.write_held(file, *offset, data))
        }
        Step::Own(..) | Step::Date(..) | Step::Note(..) => return None,
    };
    Some(done.is_ok())
}

fn run(metacopy: bool, steps: &[Step]) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 - 5;
    let mut world =
        World::with(Side::Directories, super::PLAIN_LAYERS, Options { metacopy, ..Options::default() });
    let (Some(mut plyfs), Some(mut kernel)) =
        (Driven::new(By::Plyfs, &world, metacopy), Driven::new(By::Kernel, &world, metacopy))
    else {
        return;
    };
    let mut held = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if let Step::Do(Operation::Remount) = step {
            held.clear();
            plyfs.remount(&world);
            kernel.remount(&world);
            if !metacopy {
                exchange(&world, &mut plyfs, &mut kernel, since);
            }
        }
        let (answered, expected) = (plyfs.apply(step), kernel.apply(step));
        assert_eq!(answered, expected, "step {at}: {step:?}");
        if let Some(done) = apply(&mut world, &mut held, step) {
            assert_eq!(done, expected.is_ok(), "the union itself: step {at}: {step:?}");
        }
        let shown = plyfs.shown(since);
        assert_same(&shown, &kernel.shown(since), &format!("after step {at}: {step:?}"));
        assert_eq!(plyfs.held(), kernel.held(), "held open, after step {at}: {step:?}");
        let union = kernel::as_seen(&world.tree());
        assert_eq!(kernel::seen(&shown), union, "the union itself, after step {at}: {step:?}");
    }
    let numbered = plyfs.facts(since);
    plyfs.remount(&world);
    assert_same(&plyfs.facts(since), &numbered, "mounted again");
    match metacopy {
        true => by_the_kernel(&world, plyfs, since),
        false => exchange(&world, &mut plyfs, &mut kernel, since),
    }
}

/// Each gets the upper of the other, and shows the same.
fn exchange(world: &World, plyfs: &mut Driven, kernel: &mut Driven, since: i64) {
    let shown = plyfs.shown(since);
    // Of others than plyfs a file of such a name means a whiteout.
    if shown.keys().any(|path| path.contains(".wh.")) {
        return;
    }
    plyfs.unmount();
    kernel.unmount();
    std::mem::swap(&mut plyfs.folder, &mut kernel.folder);
    plyfs.remount(world);
    kernel.remount(world);
    assert_same(&plyfs.shown(since), &shown, "by plyfs, what the kernel wrote");
    assert_same(&kernel.shown(since), &shown, "by the kernel, what plyfs wrote");
}

fn by_the_kernel(world: &World, mut plyfs: Driven, since: i64) {
    let shown = plyfs.shown(since);
    plyfs.unmount();
    let theirs = kernel::mount_at(By::Kernel, world, 2, plyfs.folder, "metacopy=on").unwrap();
    assert_same(&kernel::renumbered(theirs.facts(since)), &shown, "by the kernel, what plyfs wrote");
}

/// Tells only what differs.
fn assert_same(found: &Tree, expected: &Tree, when: &str) {
    let paths: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differ = paths.into_iter().filter(|path| found.get(*path) != expected.get(*path));
    let told: Vec<String> =
        differ.map(|path| format!("{path}: {:?}\nnot {:?}", found.get(path), expected.get(path))).collect();
    assert!(told.is_empty(), "{when}: {}", told.join("\n"));
}

#[test]
fn a_directory_that_the_kernel_moved_stays_whole_where_it_is_moved_on() {
    for redirects in [true, false] {
        let options = Options { redirects, ..Options::default() };
        let mut world = World::with(Side::Directories, super::PLAIN_LAYERS, options);
        world.close();
        let Some(mounted) = kernel::mount_with(&world, 2, "redirect_dir=on") else { return };
        let script = "mkdir p; mv a p/moved; mv b z; rm z/c/a";
        let done = Command::new("sh").args(["-ec", script]).current_dir(mounted.path()).status();
        assert!(done.unwrap().success());
        let expected = mounted.tree();
        drop(mounted);
        world.reopen();
        if !redirects {
            assert_eq!(world.attributes("z"), Err(Errno::PERM));
            continue;
        }
        assert_eq!(kernel::as_seen(&world.tree()), expected);
        world.rename("p", "q", Renaming::Replace).unwrap();
        world.unlink("q/moved/a/b").unwrap();
        let tree = world.tree();
        assert_eq!(tree.len(), expected.len() - 1);
        world.reopen();
        assert_eq!(world.tree(), tree);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_mount_answers_and_shows_what_the_kernels_overlayfs_does(
        metacopy in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(metacopy, &steps);
    }
}
