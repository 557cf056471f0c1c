//! Copy-up.

use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;

#[test]
fn a_copy_has_every_attribute_of_its_original_and_the_parent_keeps_its_times() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        upper.set_times(At::Name(&root, b"."), Times::Set(WHEN), Times::Set(WHEN)).unwrap();
        let xattrs = [(b"user.a".to_vec(), b"1".to_vec()), (b"user.overlay.x".to_vec(), b"2".to_vec())];
        let read = |_: u64, _: u32, give: &mut dyn FnMut(&[u8])| {
            give(b"text");
            Ok(())
        };
        let data = Data::Read(Reader { size: 4, extents: None, read: &read });
        let (user, group) = if is_root() { (12, 34) } else { me() };
        let file = Original {
            permissions: 0o4751,
            user,
            group,
            xattrs: &xattrs,
            modified: Time { seconds: -5, nanoseconds: 500_000_000 },
            ..original(What::File, data)
        };
        let object = upper.copy_up(&root, b"f", &file).unwrap();
        assert_eq!(object.number, Number::Lower { file_system: 1, inode: 77 });
        let stat = upper.stat(At::Name(&root, b"f")).unwrap();
        assert_eq!(stat, object.stat);
        assert_eq!((stat.permissions, stat.user, stat.group), (0o4751, user, group));
        assert_eq!((stat.accessed, stat.modified.nanoseconds), (WHEN, 500_000_000));
        for (name, value) in &xattrs {
            assert_eq!(&upper.xattr(At::Name(&root, b"f"), name).unwrap(), value);
        }
        let mut names = upper.list_xattr(At::Name(&root, b"f")).unwrap();
        names.sort();
        assert_eq!(names, [b"user.a".to_vec(), b"user.overlay.x".to_vec()]);
        assert_eq!(upper.stat(At::Name(&root, b".")).unwrap().modified, WHEN);
        assert_eq!(marks(&place, ".")["impure"], b"y");
        assert_eq!(marks(&place, "f")["origin"], b"");
        assert_eq!(place.staged(), [""; 0]);
        let place = place.again();
        let Entry::Object(found) = place.upper.entry(&place.upper.root(), b"f").unwrap() else { panic!() };
        assert_eq!(found, object);
        assert_eq!(place.tree(), ["/f file \"text\" 4751"]);
    });
}

#[test]
fn every_kind_of_object_is_copied() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        let mut kinds = vec![
            ("d", What::Directory),
            ("f", What::File),
            ("l", What::Symlink(b"to/where")),
            ("p", What::Fifo),
            ("s", What::Socket),
        ];
        let mut expected = vec![
            "/d dir 755",
            "/f file \"\" 644",
            "/l link to/where",
            "/p Fifo (0, 0) 644",
            "/s Socket (0, 0) 644",
        ];
        if is_root() {
            kinds.push(("c", What::CharDevice(1, 3)));
            expected.insert(0, "/c CharDevice (1, 3) 644");
        }
        for (name, what) in kinds {
            upper.copy_up(&root, name.as_bytes(), &original(what, Data::Empty)).unwrap();
        }
        let refused = upper.copy_up(&root, b"w", &original(What::CharDevice(0, 0), Data::Empty));
        assert_eq!(refused.unwrap_err().errno().raw_os_error(), libc::EPERM);
        let refused = upper.copy_up(&root, b"d", &original(What::File, Data::Empty));
        assert_eq!(refused.unwrap_err().errno().raw_os_error(), libc::EEXIST);
        assert_eq!(place.tree(), expected);
        assert_eq!(place.staged(), [""; 0]);
    });
}

#[test]
fn holes_stay_holes_from_a_file_and_from_an_image() {
    everywhere(|place| {
        let root = place.upper.root();
        let lower = tempfile::tempfile_in("/var/tmp").unwrap();
        lower.write_all_at(b"head", 0).unwrap();
        lower.write_all_at(b"tail", 8 << 20).unwrap();
        let read = |at: u64, length: u32, give: &mut dyn FnMut(&[u8])| {
            let mut bytes = vec![0; length as usize];
            lower.read_exact_at(&mut bytes, at)?;
            give(&bytes);
            Ok(())
        };
        let extents = [(0, 4), (8 << 20, 4)];
        let image = Data::Read(Reader { size: (8 << 20) + 4, extents: Some(&extents), read: &read });
        place.upper.copy_up(&root, b"image", &original(What::File, image)).unwrap();
        place.upper.copy_up(&root, b"file", &original(What::File, Data::File(lower.as_fd()))).unwrap();
        for name in ["upper/image", "upper/file"] {
            let copy = std::fs::File::open(place.path(name)).unwrap();
            let mut bytes = vec![1; (8 << 20) + 4];
            copy.read_exact_at(&mut bytes, 0).unwrap();
            assert!(bytes[..4] == *b"head" && bytes[8 << 20..] == *b"tail", "{name}");
            assert!(bytes[4..8 << 20].iter().all(|&byte| byte == 0), "{name}");
            assert!(copy.metadata().unwrap().blocks() < 1000, "{name}");
        }
    });
}

#[test]
fn a_failed_read_leaves_nothing() {
    everywhere(|place| {
        let root = place.upper.root();
        let read = |_: u64, _: u32, _: &mut dyn FnMut(&[u8])| Err("the layer is damaged".into());
        let data = Data::Read(Reader { size: 4, extents: None, read: &read });
        let failed = place.upper.copy_up(&root, b"f", &original(What::File, data)).unwrap_err();
        assert_eq!(failed.to_string(), "reading 4 bytes at 0 of the lower file: the layer is damaged");
        assert_eq!((place.tree(), place.staged()), (vec![], vec![]));
    });
}

#[test]
fn content_that_comes_later_changes_nothing_else() {
    everywhere(|place| {
        let root = place.upper.root();
        let file =
            Original { permissions: 0o4755, ..original(What::File, Data::Later { size: 4, path: b"f" }) };
        let object = place.upper.copy_up(&root, b"f", &file).unwrap();
        assert_eq!((object.unfilled, object.stat.size), (Some(Elsewhere::Path(b"f".to_vec())), 4));
        assert!(!place.upper.is_sealed().unwrap());
        let open = place.upper.open_file(&root, b"f", Access::ReadWrite).unwrap();
        let read = |_: u64, _: u32, give: &mut dyn FnMut(&[u8])| {
            give(b"text");
            Ok(())
        };
        let lacking = Reader { size: 4, extents: None, read: &read };
        place.upper.fill(open.as_fd(), &lacking, &file.origin).unwrap();
        let Entry::Object(found) = place.upper.entry(&root, b"f").unwrap() else { panic!() };
        assert_eq!(found.number, object.number);
        assert!(found.unfilled.is_none() && found.stat.modified == WHEN);
        assert_eq!(place.tree(), ["/f file \"text\" 4755"]);
        place.upper.seal().unwrap();
        assert!(place.upper.is_sealed().unwrap() && !place.path("work/work/incompat").exists());
    });
}

#[test]
fn all_names_of_a_lower_object_become_names_of_one_copy() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        let inner = copy_dir(upper, &root, "d");
        let aliases = [Alias { parent: &root, name: b"a" }, Alias { parent: &inner, name: b".wh.b" }];
        let object = upper.copy_up_links(&aliases, &original(What::File, Data::Empty)).unwrap();
        assert_eq!(object.stat.links, 2);
        assert_eq!(place.tree(), ["/a file \"\" 644", "/d dir 755", "/d/.wh.b file \"\" 644"]);
        assert!(!marks(&place, "a").contains_key("origin"));
        assert_eq!(place.staged(), [""; 0]);
        for empty in ["work/plyfs/hl", "work/plyfs/journal", "work/work"] {
            let left = std::fs::read_dir(place.path(empty)).unwrap();
            assert_eq!(left.count(), 0, "{empty}");
        }
    });
}

#[test]
fn a_link_that_cannot_be_made_leaves_none_of_the_others() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        make_file(upper, &root, "taken", "");
        let aliases = [Alias { parent: &root, name: b"a" }, Alias { parent: &root, name: b"taken" }];
        let failed = upper.copy_up_links(&aliases, &original(What::File, Data::Empty)).unwrap_err();
        assert_eq!(failed.errno().raw_os_error(), libc::EEXIST);
        assert_eq!(place.tree(), ["/taken file \"\" 644"]);
    });
}
