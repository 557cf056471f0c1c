//! What a writable union does, a sentence each: over an image and over plain directories.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use plyfs::layer::{Kind, Time};
use plyfs::union::overlay::{
    Access, Allocate, Allocation, Budget, Change, Kill, Make, Moment, Name, Opening, Options, Renaming,
    SetXattr,
};
use plyfs::union::{Errno, NodeId, Whence};

use crate::support::world::{CALLER, Side, World, handle};

const LAYERS: &str = "
    layer
    dir etc mode=0755
    file etc/hosts mode=0644 : localhost
    file etc/passwd mode=0640 owner=3:4 : root
    dir usr
    dir usr/lib
    file usr/lib/a : aaa
    file usr/lib/b : bbb
    symlink lib -> usr/lib
    dir old
    file old/hidden : hidden
    layer
    dir usr/lib
    file usr/lib/c : ccc
    whiteout usr/lib/b
    whiteout old
";

const BOTH: [Side; 2] = [Side::Image, Side::Directories];

fn worlds() -> impl Iterator<Item = World> {
    BOTH.into_iter().map(|side| World::new(side, LAYERS))
}

fn original() -> Vec<&'static str> {
    vec![
        "etc/",
        "etc/hosts: localhost",
        "etc/passwd: root",
        "lib -> usr/lib",
        "usr/",
        "usr/lib/",
        "usr/lib/a: aaa",
        "usr/lib/c: ccc",
    ]
}

/// The tree after, also after mounting again.
fn assert_tree(world: &mut World, expected: &[&str]) {
    assert_eq!(world.text(), expected);
    let before = world.tree();
    world.reopen();
    assert_eq!(world.tree(), before);
}

#[test]
fn nothing_is_written_until_something_is_changed() {
    for mut world in worlds() {
        assert_tree(&mut world, &original());
        assert_eq!(fs::read_dir(world.path("upper")).unwrap().count(), 0);
    }
}

#[test]
fn a_write_copies_up_and_leaves_the_layer_alone() {
    for mut world in worlds() {
        let before = world.attributes("etc/passwd").unwrap();
        world.write("etc/passwd", 4, b"ed\n").unwrap();
        let after = world.attributes("etc/passwd").unwrap();
        assert_eq!((after.node, after.stat.permissions, after.stat.size), (before.node, 0o640, 7));
        assert_eq!((after.stat.user, after.stat.group), (before.stat.user, before.stat.group));
        assert_eq!(fs::read(world.path("0/etc/passwd")).unwrap(), b"root\n");
        assert_eq!(fs::read(world.path("upper/etc/passwd")).unwrap(), b"rooted\n");
        let mut expected = original();
        expected[2] = "etc/passwd: rooted";
        assert_tree(&mut world, &expected);
        assert_eq!(world.attributes("etc/passwd").unwrap().node, before.node);
    }
}

#[test]
fn who_opened_before_the_copy_up_reads_what_was_written_after() {
    for world in worlds() {
        let read = world.opened("etc/hosts", Access::Read, |node| {
            world.write("etc/hosts", 0, b"LOCAL").unwrap();
            world.overlay().read(node, 0, 100, <[u8]>::to_vec)
        });
        assert_eq!(read.unwrap(), b"LOCALhost\n");
    }
}

#[test]
fn opening_to_truncate_copies_no_data() {
    for world in worlds() {
        let opening = Opening { access: Access::Write, truncate: true, kill: Kill::No };
        world
            .at("etc/hosts", |node| {
                let handle = world.overlay().open(node, opening)?;
                assert_eq!(world.overlay().attributes(node)?.stat.size, 0);
                world.overlay().release(handle);
                Ok(())
            })
            .unwrap();
        assert_eq!(world.read("etc/hosts").unwrap(), b"");
    }
}

#[test]
fn a_removed_lower_name_is_hidden_by_a_whiteout_that_nobody_sees() {
    for mut world in worlds() {
        world.unlink("etc/hosts").unwrap();
        world.unlink("etc/passwd").unwrap();
        world.remove_directory("etc").unwrap();
        assert_eq!(world.attributes("etc"), Err(Errno::NOENT));
        let whiteout = fs::symlink_metadata(world.path("upper/etc")).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        assert_tree(&mut world, &original()[3..]);
    }
}

#[test]
fn a_directory_that_shows_something_is_not_removed() {
    for world in worlds() {
        assert_eq!(world.remove_directory("etc"), Err(Errno::NOTEMPTY));
        assert_eq!(world.remove_directory("etc/hosts"), Err(Errno::NOTDIR));
        assert_eq!(world.unlink("etc"), Err(Errno::ISDIR));
        assert_eq!(world.unlink("etc/nothing"), Err(Errno::NOENT));
    }
}

#[test]
fn a_directory_made_over_a_removed_one_is_empty() {
    for mut world in worlds() {
        world.unlink("etc/hosts").unwrap();
        world.unlink("etc/passwd").unwrap();
        world.remove_directory("etc").unwrap();
        world.make("etc", Make::Directory, 0o777).unwrap();
        assert_eq!(world.attributes("etc").unwrap().stat.permissions, 0o755);
        assert_eq!(world.list("etc").unwrap(), []);
        world.make("old", Make::Directory, 0o700).unwrap();
        let mut expected = vec!["etc/"];
        expected.extend(&original()[3..4]);
        expected.push("old/");
        expected.extend(&original()[4..]);
        assert_tree(&mut world, &expected);
    }
}

#[test]
fn a_lower_directory_is_renamed_with_all_that_shows_in_it() {
    for mut world in worlds() {
        let before = world.attributes("usr/lib/a").unwrap().node;
        world.rename("usr", "moved", Renaming::Replace).unwrap();
        assert_eq!(world.attributes("moved/lib/a").unwrap().node, before);
        assert_eq!(world.attributes("usr"), Err(Errno::NOENT));
        let expected = [
            "etc/",
            "etc/hosts: localhost",
            "etc/passwd: root",
            "lib -> usr/lib",
            "moved/",
            "moved/lib/",
            "moved/lib/a: aaa",
            "moved/lib/c: ccc",
        ];
        assert_tree(&mut world, &expected);
        assert_eq!(world.attributes("moved/lib/a").unwrap().node, before);
        world.rename("moved", "usr", Renaming::NoReplace).unwrap();
        assert_tree(&mut world, &original());
    }
}

#[test]
fn a_directory_over_the_budget_is_not_moved() {
    for side in BOTH {
        for materialise in [Budget { entries: 2, bytes: 100 }, Budget { entries: 9, bytes: 7 }] {
            let mut world = World::with(side, LAYERS, Options { materialise, ..Options::default() });
            assert_eq!(world.rename("usr", "moved", Renaming::Replace), Err(Errno::XDEV));
            assert_tree(&mut world, &original());
        }
    }
}

#[test]
fn lower_files_and_directories_change_places() {
    for mut world in worlds() {
        world.rename("etc", "usr/lib/a", Renaming::Exchange).unwrap();
        let expected = [
            "etc: aaa",
            "lib -> usr/lib",
            "usr/",
            "usr/lib/",
            "usr/lib/a/",
            "usr/lib/a/hosts: localhost",
            "usr/lib/a/passwd: root",
            "usr/lib/c: ccc",
        ];
        assert_tree(&mut world, &expected);
        assert_eq!(world.rename("usr", "usr/lib/x", Renaming::Replace), Err(Errno::INVAL));
        assert_eq!(world.rename("etc", "none", Renaming::Exchange), Err(Errno::NOENT));
        assert_eq!(world.rename("etc", "lib", Renaming::NoReplace), Err(Errno::EXIST));
    }
}

#[test]
fn a_file_without_a_name_lives_until_it_is_closed() {
    for world in worlds() {
        world.create("new").unwrap();
        for path in ["new", "etc/hosts"] {
            let sizes = world.opened(path, Access::Read, |node| {
                world.unlink(path).unwrap();
                let change = Change { permissions: Some(0o600), size: Some(3), ..Change::default() };
                let changed = world.overlay().set_attributes(node, &change)?;
                world.overlay().write(node, 1, b"xyz", Kill::No)?;
                let read = world.overlay().read(node, 1, 9, <[u8]>::to_vec)?;
                Ok((changed.stat.links, changed.stat.permissions, changed.stat.size, read))
            });
            assert_eq!(sizes.unwrap(), (0, 0o600, 3, b"xyz".to_vec()), "{path}");
            assert_eq!(world.attributes(path), Err(Errno::NOENT));
        }
    }
}

#[test]
fn whatever_has_lost_its_name_can_still_be_changed() {
    for world in worlds() {
        world.make("pipe", Make::Fifo, 0o644).unwrap();
        for path in ["pipe", "lib", "usr/lib/c", "usr/lib"] {
            let changed = world.at(path, |node| {
                let remove = if path == "usr/lib" { World::remove_directory } else { World::unlink };
                if path == "usr/lib" {
                    world.unlink("usr/lib/a").unwrap();
                }
                remove(&world, path).unwrap();
                let at = Time { seconds: -7, nanoseconds: 5 };
                let permissions = (path != "lib").then_some(0o700);
                let change = Change { permissions, modified: Some(Moment::At(at)), ..Change::default() };
                let changed = world.overlay().set_attributes(node, &change)?;
                assert_eq!(world.overlay().list_xattr(node)?, b"");
                if changed.stat.kind == Kind::Directory {
                    world.overlay().sync(node, false)?;
                }
                Ok((changed.stat.links, changed.stat.permissions, changed.stat.modified))
            });
            let permissions = if path == "lib" { 0o777 } else { 0o700 };
            assert_eq!(changed.unwrap(), (0, permissions, Time { seconds: -7, nanoseconds: 5 }), "{path}");
        }
    }
}

#[test]
fn more_files_can_be_open_than_the_process_may_have_open() {
    for world in worlds() {
        world.overlay().allow_files(0);
        let paths: Vec<String> = (0..20).map(|number| format!("etc/{number}")).collect();
        let nodes: Vec<NodeId> = paths
            .iter()
            .map(|path| {
                world.named(path, |at| Ok(world.overlay().create(CALLER, at, 0o600)?.0.node)).unwrap()
            })
            .collect();
        for (number, node) in (0u8..).zip(&nodes) {
            assert_eq!(world.overlay().write(*node, 0, &[number], Kill::No).unwrap(), 1);
        }
        for (number, node) in (0u8..).zip(&nodes) {
            assert_eq!(world.overlay().read(*node, 0, 9, <[u8]>::to_vec).unwrap(), [number]);
            world.overlay().release(handle(*node));
        }
    }
}

#[test]
fn hard_links_of_a_lower_side_stay_linked_under_the_names_that_show() {
    for side in [Side::Image, Side::Directories] {
        let mut world = World::new(
            side,
            "layer
             dir a
             dir b
             file a/one : text
             link b/two -> a/one
             link three -> a/one
             link four -> a/one
             layer
             file four : another",
        );
        world.unlink("three").unwrap();
        world.write("a/one", 0, b"TEXT").unwrap();
        assert_tree(&mut world, &["a/", "a/one: TEXT", "b/", "b/two: TEXT", "four: another"]);
        let [one, two] = ["a/one", "b/two"].map(|path| world.attributes(path).unwrap());
        assert_eq!((one.node, one.stat.links), (two.node, 2));
    }
}

#[test]
fn hard_links_of_directories_that_were_looked_up_stay_linked_and_are_moved_along() {
    let layers = "layer
         dir top
         dir top/a
         dir top/b
         file top/a/one : text
         link top/b/two -> top/a/one";
    for (from, to) in [("top/a/one", "top/b/two"), ("top/b/two", "top/a/one")] {
        let mut world = World::new(Side::Directories, layers);
        world
            .at(from, |_| {
                world.write(to, 0, b"TEXT").unwrap();
                world.rename("top", "moved", Renaming::Replace).unwrap();
                Ok(())
            })
            .unwrap();
        let expected = ["moved/", "moved/a/", "moved/a/one: TEXT", "moved/b/", "moved/b/two: TEXT"];
        assert_tree(&mut world, &expected);
        let [one, two] = ["moved/a/one", "moved/b/two"].map(|path| world.attributes(path).unwrap());
        assert_eq!((one.node, one.stat.links), (two.node, 2));
    }
    let mut world = World::new(Side::Directories, layers);
    world.rename("top", "moved", Renaming::Replace).unwrap();
    assert_tree(&mut world, &["moved/", "moved/a/", "moved/a/one: text", "moved/b/", "moved/b/two: text"]);
}

#[test]
fn a_new_link_is_the_same_file() {
    for mut world in worlds() {
        let hosts = world.attributes("etc/hosts").unwrap().node;
        assert_eq!(world.link("etc/hosts", "usr/hosts").unwrap().node, hosts);
        assert_eq!(world.link("etc/hosts", "usr/hosts"), Err(Errno::EXIST));
        assert_eq!(world.link("etc", "usr/etc"), Err(Errno::PERM));
        world.write("usr/hosts", 0, b"L").unwrap();
        world.unlink("etc/hosts").unwrap();
        assert_eq!(world.read("usr/hosts").unwrap(), b"Localhost\n");
        world.rename("usr/hosts", "etc/hosts", Renaming::Replace).unwrap();
        let mut expected = original();
        expected[1] = "etc/hosts: Localhost";
        assert_tree(&mut world, &expected);
        assert_eq!(world.attributes("etc/hosts").unwrap().stat.links, 1);
    }
}

#[test]
fn what_is_made_belongs_to_the_caller_or_the_group_of_its_directory() {
    for world in worlds() {
        world.make("shared", Make::Directory, 0o777).unwrap();
        let change = Change { permissions: Some(0o2775), group: Some(50), ..Change::default() };
        if world.change("shared", change).is_err() {
            // Not without the right to give files away.
            continue;
        }
        let directory = world.make("shared/d", Make::Directory, 0o777).unwrap();
        let file = world.create("shared/f").unwrap();
        assert_eq!((directory.stat.permissions, directory.stat.group), (0o2755, 50));
        assert_eq!((file.stat.permissions, file.stat.group), (0o644, 50));
    }
}

#[test]
fn special_files_are_made_but_no_whiteout() {
    for world in worlds() {
        assert_eq!(world.make("pipe", Make::Fifo, 0o644).unwrap().stat.kind, Kind::Fifo);
        assert_eq!(world.make("socket", Make::Socket, 0o644).unwrap().stat.kind, Kind::Socket);
        assert_eq!(world.make("sym", Make::Symlink(b"/x"), 0o777).unwrap().stat.size, 2);
        assert_eq!(world.make("zero", Make::CharDevice(0, 0), 0o644), Err(Errno::PERM));
        assert_eq!(world.make("etc/hosts", Make::File, 0o644), Err(Errno::EXIST));
        assert_eq!(world.make(&"n".repeat(256), Make::File, 0o644), Err(Errno::NAMETOOLONG));
    }
}

#[test]
fn attributes_are_kept_at_copy_up_and_private_ones_are_not_seen() {
    for mut world in worlds() {
        let set = |world: &World, how| {
            world.at("etc/hosts", |node| world.overlay().set_xattr(node, b"user.a", b"1", how))
        };
        let list = |world: &World| world.at("etc/hosts", |node| world.overlay().list_xattr(node)).unwrap();
        assert_eq!(list(&world), b"");
        set(&world, SetXattr::Create).unwrap();
        assert_eq!(set(&world, SetXattr::Create), Err(Errno::EXIST));
        assert_eq!(list(&world), b"user.a\0");
        world.reopen();
        assert_eq!(list(&world), b"user.a\0");
        let remove = |name: &[u8]| world.at("etc/hosts", |node| world.overlay().remove_xattr(node, name));
        assert_eq!(remove(b"user.b"), Err(Errno::NODATA));
        remove(b"user.a").unwrap();
        assert_eq!(list(&world), b"");
    }
}

#[test]
fn a_listing_goes_on_where_it_was_whatever_changed() {
    for world in worlds() {
        world
            .at("usr/lib", |node| {
                let overlay = world.overlay();
                let handle_of = overlay.open_directory(node)?;
                assert_eq!(handle_of, handle(node));
                let mut first = Vec::new();
                overlay.read_directory(handle_of, 0, |entry| {
                    first.push((entry.name.clone(), entry.next));
                    if first.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                let (seen, cookie) = first[2].clone();
                overlay.unlink(Name { parent: node, name: &seen })?;
                overlay.create(CALLER, Name { parent: node, name: b"new" }, 0o644)?;
                let mut rest = Vec::new();
                overlay.read_directory_plus(handle_of, cookie, |entry, attributes| {
                    assert_eq!(entry.node, attributes.node);
                    rest.push(entry.name.clone());
                    ControlFlow::Continue(())
                })?;
                assert!(rest.len() == 1 && rest[0] != seen, "{rest:?}");
                let mut again = Vec::new();
                overlay.read_directory(handle_of, 0, |entry| {
                    again.push(entry.name.clone());
                    ControlFlow::Continue(())
                })?;
                assert_eq!(again, [b".".to_vec(), b"..".to_vec(), rest[0].clone(), b"new".to_vec()]);
                overlay.release_directory(handle_of);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn holes_are_made_and_found() {
    for world in worlds() {
        world.create("sparse").unwrap();
        world.write("sparse", 0, &[1; 8192]).unwrap();
        world.change("sparse", Change { size: Some(1 << 20), ..Change::default() }).unwrap();
        let hole = Allocation { what: Allocate::Hole, keep_size: true, offset: 0, length: 4096 };
        world.opened("sparse", Access::Write, |node| world.overlay().allocate(node, hole)).unwrap();
        let seek = |offset, whence| {
            world.opened("sparse", Access::Read, |node| world.overlay().seek(node, offset, whence))
        };
        assert_eq!(seek(0, Whence::Data), Ok(4096));
        assert_eq!(seek(4096, Whence::Hole), Ok(8192));
        assert_eq!(seek(8192, Whence::Data), Err(Errno::NXIO));
    }
}

#[test]
fn a_deep_path_needs_neither_a_long_path_nor_many_descriptors() {
    let mut world = World::new(Side::Image, "layer\nfile x : x");
    let name = "d".repeat(200);
    let (mut parent, mut way) = (NodeId::ROOT, Vec::new());
    for _ in 0..700 {
        let at = Name { parent, name: name.as_bytes() };
        parent = world.overlay().make(CALLER, at, Make::Directory, 0o755).unwrap().node;
        way.push(parent);
    }
    let at = Name { parent, name: b"file" };
    let (made, handle) = world.overlay().create(CALLER, at, 0o644).unwrap();
    world.overlay().release(handle);
    assert_eq!(world.overlay().attributes(made.node).unwrap().stat.links, 1);
    assert_eq!(world.overlay().attributes(way[3]).unwrap().stat.links, 3);
    world.reopen();
    let deepest = (0..700)
        .fold(NodeId::ROOT, |parent, _| world.overlay().lookup(parent, name.as_bytes()).unwrap().node);
    assert_eq!(world.overlay().lookup(deepest, b"file").unwrap().stat.kind, Kind::File);
}
