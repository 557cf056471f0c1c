//! New objects, new names, and attributes.

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::*;
use crate::sys::xattr;

#[test]
fn objects_are_made_beside_others_and_over_whiteouts() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        for (name, over) in [("new", Over::Nothing), ("over", Over::Whiteout)] {
            for (kind, what) in
                [("d", What::Directory), ("f", What::File), ("l", What::Symlink(b"x")), ("p", What::Fifo)]
            {
                let name = format!("{name}-{kind}");
                if over == Over::Whiteout {
                    upper.unlink(&root, name.as_bytes(), Below::Something).unwrap();
                }
                let (object, file) = upper.create(&root, name.as_bytes(), &new(what, 0o770, over)).unwrap();
                assert_eq!(file.is_some(), what == What::File);
                assert_eq!(upper.entry(&root, name.as_bytes()).unwrap(), Entry::Object(object));
            }
        }
        assert_eq!(
            place.tree(),
            [
                "/new-d dir 770",
                "/new-f file \"\" 770",
                "/new-l link x",
                "/new-p Fifo (0, 0) 770",
                "/over-d opaque 770",
                "/over-f file \"\" 770",
                "/over-l link x",
                "/over-p Fifo (0, 0) 770",
            ]
        );
        assert_eq!(place.staged(), [""; 0]);
    });
}

#[test]
fn an_object_for_another_owner_and_with_an_access_list_appears_finished() {
    if !is_root() {
        skipped("only root gives files away");
        return;
    }
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        // user::rw-,user:5:r--,group::r--,mask::r--,other::---
        let list = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 5, 0, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255],
            &[16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ]
        .concat();
        let xattrs = [(b"system.posix_acl_access".to_vec(), list.clone())];
        let wanted = New { user: 5, group: 6, xattrs: &xattrs, ..new(What::File, 0o640, Over::Nothing) };
        let (object, _) = upper.create(&root, b"f", &wanted).unwrap();
        assert_eq!((object.stat.user, object.stat.group, object.stat.permissions), (5, 6, 0o640));
        assert_eq!(upper.xattr(At::Name(&root, b"f"), b"system.posix_acl_access").unwrap(), list);
    });
}

#[test]
fn a_mark_of_fuse_overlayfs_is_not_a_users_to_set_where_it_is_read() {
    let options = Options { namespace: Some(Namespace::User), ..Options::default() };
    let place = Place::with("/var/tmp", &options);
    let root = place.upper.root();
    let (at, name) = (At::Name(&root, b"."), b"user.fuseoverlayfs.opaque");
    let set = place.upper.set_xattr(at, name, b"y", Setting::Any);
    assert_eq!(set.unwrap_err().errno(), Errno::PERM);
    xattr::set(at.place(), name, b"y", XattrFlags::empty()).unwrap();
    assert_eq!(place.upper.list_xattr(at).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(place.upper.xattr(at, name).unwrap_err().errno(), Errno::NODATA);
    assert_eq!(place.upper.remove_xattr(at, name).unwrap_err().errno(), Errno::PERM);
}

#[test]
fn a_file_without_a_name_gets_one_also_over_a_whiteout() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        upper.unlink(&root, b"b", Below::Something).unwrap();
        let file = upper.temporary(&new(What::File, 0o600, Over::Nothing)).unwrap();
        assert_eq!(place.tree(), ["/b whiteout"]);
        upper.link_temporary(&file, &root, b"a", Over::Nothing).unwrap();
        let object = upper.link_temporary(&file, &root, b"b", Over::Whiteout).unwrap();
        assert_eq!(object.stat.links, 2);
        let object = upper.link((&root, b"a"), (&root, b"c"), Over::Nothing).unwrap();
        assert_eq!(object.stat.links, 3);
        upper.unlink(&root, b"d", Below::Something).unwrap();
        upper.link((&root, b"a"), (&root, b"d"), Over::Whiteout).unwrap();
        let file = "file \"\" 600";
        assert_eq!(place.tree(), ["/a", "/b", "/c", "/d"].map(|name| format!("{name} {file}")));
        assert_eq!(place.staged(), [""; 0]);
    });
}

#[test]
fn a_user_may_have_files_with_the_names_of_markers() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        make_file(upper, &root, ".wh.made", "");
        make_file(upper, &root, "plain", "");
        upper.link((&root, b"plain"), (&root, b".wh.linked"), Over::Nothing).unwrap();
        let from = Source { parent: &root, name: b"plain", below: Below::Nothing, moved: Moved::Other };
        upper.rename(&Rename { from, to: (&root, b".wh.moved"), target: Target::Nothing }).unwrap();
        let expected = [".wh.linked", ".wh.made", ".wh.moved"].map(|name| format!("/{name} file \"\" 644"));
        assert_eq!(place.tree(), expected);
        assert_eq!(upper.entry(&root, b"made").unwrap(), Entry::Absent);
    });
}

#[test]
fn whiteouts_of_other_programs_are_understood() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        make_dir(upper, &root, "d", Over::Nothing);
        for name in [".wh.gone", ".wh.there", "there", "d/.wh..wh..opq"] {
            std::fs::write(place.path("upper").join(name), "").unwrap();
        }
        assert_eq!(upper.entry(&root, b"gone").unwrap(), Entry::Whiteout);
        assert_eq!(upper.entry(&root, b".wh.gone").unwrap(), Entry::Absent);
        assert_eq!(place.tree(), ["/d opaque 755", "/gone whiteout", "/there file \"\" 644"]);
        make_dir(upper, &root, "e", Over::Nothing);
        upper.create(&root, b"gone", &new(What::Directory, 0o700, Over::Whiteout)).unwrap();
        assert_eq!(place.tree(), ["/d opaque 755", "/e dir 755", "/gone opaque 700", "/there file \"\" 644"]);
    });
}

#[test]
fn a_user_cannot_reach_private_attributes() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        copy_dir(upper, &root, "d");
        let at = At::Name(&root, b"d");
        let name = match upper.namespace() {
            Namespace::User => &b"user.overlay.opaque"[..],
            Namespace::Trusted => b"trusted.overlay.opaque",
        };
        assert_eq!(upper.list_xattr(at).unwrap(), [b""; 0]);
        assert_eq!(upper.xattr(at, name).unwrap_err().errno().raw_os_error(), libc::ENODATA);
        upper.set_xattr(at, name, b"y", Setting::Create).unwrap();
        assert_eq!(
            upper.set_xattr(at, name, b"y", Setting::Create).unwrap_err().errno().raw_os_error(),
            libc::EEXIST
        );
        assert_eq!(upper.list_xattr(at).unwrap(), [name]);
        assert_eq!(place.tree(), ["/d dir 755"]);
        upper.remove_xattr(at, name).unwrap();
        assert_eq!(upper.list_xattr(at).unwrap(), [b""; 0]);
    });
}
