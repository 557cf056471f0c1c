//! Many at once: whoever wins, nobody waits for ever, and what is on disk is what was shown.

use std::ops::ControlFlow;
use std::thread;

use plyfs::layer::Kind;
use plyfs::union::overlay::{Access, Change, Make, Renaming};

use crate::support::world::{Side, World};

const LAYERS: &str = "
    layer
    dir a
    dir a/d
    file a/f : aaaa
    file a/d/f size=300000
    dir b
    file b/f size=300000
    link b/g -> b/f
    link a/g -> b/f
    symlink b/s -> f
";

const PATHS: [&str; 10] = ["a", "b", "a/f", "b/f", "a/g", "b/g", "a/d", "b/d", "a/d/f", "b/d/f"];

/// A small generator, so that a thread's course does not hang on what the others do.
struct Choice(u64);

impl Choice {
    fn of(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    fn path(&mut self) -> &'static str {
        PATHS[self.of(PATHS.len())]
    }
}

/// Any answer will do, as long as there is one that a system call could give.
fn act(world: &World, choice: &mut Choice) {
    let path = choice.path();
    match choice.of(11) {
        0 => drop(world.write(path, 3, b"written")),
        1 => drop(world.opened(path, Access::Read, |node| world.overlay().read(node, 0, 999, |_| ()))),
        2 => drop(world.unlink(path)),
        3 => drop(world.create(path)),
        4 => drop(world.make(path, Make::Directory, 0o755)),
        5 => drop(world.remove_directory(path)),
        6 => drop(world.rename(path, choice.path(), Renaming::Replace)),
        7 => drop(world.rename(path, choice.path(), Renaming::Exchange)),
        8 => drop(world.link(path, choice.path())),
        9 => drop(world.change(path, Change { permissions: Some(0o600), ..Change::default() })),
        _ => drop(world.at(path, |node| {
            let handle = world.overlay().open_directory(node)?;
            let listed = world.overlay().read_directory_plus(handle, 0, |entry, attributes| {
                if entry.next > 2 {
                    world.overlay().forget(attributes.node, 1);
                }
                ControlFlow::Continue(())
            });
            world.overlay().release_directory(handle);
            listed
        })),
    }
}

#[test]
fn threads_that_change_the_same_names_end_with_one_tree() {
    for (round, side) in [Side::Image, Side::Directories].into_iter().cycle().take(20).enumerate() {
        let mut world = World::new(side, LAYERS);
        thread::scope(|scope| {
            for number in 0..4u64 {
                let (world, seed) = (&world, round as u64 * 4 + number);
                scope.spawn(move || {
                    let mut choice = Choice(seed);
                    for _ in 0..150 {
                        act(world, &mut choice);
                    }
                });
            }
        });
        let tree = world.tree();
        assert!(tree.values().all(|shown| shown.kind != Kind::Whiteout));
        world.reopen();
        let names = |tree: &std::collections::BTreeMap<_, _>| tree.keys().cloned().collect::<Vec<String>>();
        let again = world.tree();
        assert_eq!(names(&again), names(&tree), "round {round}");
        for (path, shown) in &tree {
            let other = &again[path];
            assert_eq!((shown.kind, shown.permissions), (other.kind, other.permissions), "{path}");
            assert!(shown.data == other.data, "{path}: other bytes after mounting again");
        }
    }
}
