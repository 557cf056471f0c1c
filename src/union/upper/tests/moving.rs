//! Renames.

use super::*;

fn source<'a>(parent: &'a Dir, name: &'a str, below: Below, moved: Moved) -> Source<'a> {
    Source { parent, name: name.as_bytes(), below, moved }
}

#[test]
fn a_moved_file_leaves_a_whiteout_where_something_is_below() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        upper.unlink(&root, b"hidden", Below::Something).unwrap();
        for (from, to, below, target) in [
            ("pure", "to-pure", Below::Nothing, Target::Nothing),
            ("both", "to-both", Below::Something, Target::Nothing),
            ("over", "hidden", Below::Something, Target::Whiteout),
            ("replacing", "to-pure", Below::Nothing, Target::Other),
        ] {
            make_file(upper, &root, from, from);
            let from = source(&root, from, below, Moved::Other);
            upper.rename(&Rename { from, to: (&root, to.as_bytes()), target }).unwrap();
        }
        assert_eq!(
            place.tree(),
            [
                "/both whiteout",
                "/hidden file \"over\" 644",
                "/over whiteout",
                "/to-both file \"both\" 644",
                "/to-pure file \"replacing\" 644",
            ]
        );
    });
}

#[test]
fn a_moved_directory_hides_what_is_below_its_new_name() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        let to = copy_dir(upper, &root, "to");
        upper.remove_directory(&to, b"hidden", Below::Something).unwrap();
        upper.remove_directory(&to, b"hidden2", Below::Something).unwrap();
        let emptied = copy_dir(upper, &to, "emptied");
        upper.unlink(&emptied, b"x", Below::Something).unwrap();
        for (from, name, below, target) in [
            ("absent", "new", Below::Something, Target::Nothing),
            ("white", "hidden", Below::Something, Target::Whiteout),
            ("white2", "hidden2", Below::Nothing, Target::Whiteout),
            ("empty", "emptied", Below::Something, Target::Directory),
        ] {
            let directory = copy_dir(upper, &root, from);
            make_file(upper, &directory, "f", from);
            upper.unlink(&directory, b"gone", Below::Something).unwrap();
            let from = source(&root, from, below, Moved::Materialised);
            upper.rename(&Rename { from, to: (&to, name.as_bytes()), target }).unwrap();
        }
        let mut expected = vec!["/absent whiteout", "/empty whiteout", "/to dir 755", "/white whiteout"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        for (name, from) in
            [("emptied", "empty"), ("hidden", "white"), ("hidden2", "white2"), ("new", "absent")]
        {
            expected.push(format!("/to/{name} opaque 755"));
            expected.push(format!("/to/{name}/f file {from:?} 644"));
            expected.push(format!("/to/{name}/gone whiteout"));
        }
        expected.sort();
        assert_eq!(place.tree(), expected);
        assert_eq!(place.staged(), [""; 0]);
        assert_eq!(marks(&place, "to")["impure"], b"y");
    });
}

#[test]
fn two_objects_change_places() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        let directory = copy_dir(upper, &root, "d");
        make_file(upper, &directory, "in", "d");
        make_file(upper, &root, "f", "f");
        let from = source(&root, "d", Below::Something, Moved::Materialised);
        let target = Target::Exchange(Moved::Other);
        upper.rename(&Rename { from, to: (&root, b"f"), target }).unwrap();
        assert_eq!(place.tree(), ["/d file \"f\" 644", "/f opaque 755", "/f/in file \"d\" 644"]);
    });
}

#[test]
fn without_rename_whiteout_the_journal_stands_in() {
    everywhere(|mut place| {
        place.upper.abilities.rename_whiteout = false;
        let root = place.upper.root();
        make_file(&place.upper, &root, "f", "f");
        let from = source(&root, "f", Below::Something, Moved::Other);
        place.upper.rename(&Rename { from, to: (&root, b"g"), target: Target::Nothing }).unwrap();
        assert_eq!(place.tree(), ["/f whiteout", "/g file \"f\" 644"]);
        assert_eq!(place.staged(), [""; 0]);
    });
}

#[test]
fn where_no_device_can_be_made_markers_hide() {
    everywhere(|mut place| {
        place.upper.abilities.whiteouts = whiteout::Form::Marker;
        let upper = &place.upper;
        let root = upper.root();
        let directory = copy_dir(upper, &root, "d");
        upper.unlink(&directory, b"x", Below::Something).unwrap();
        upper.remove_directory(&root, b"d", Below::Something).unwrap();
        make_file(upper, &root, "f", "f");
        make_dir(upper, &root, "d", Over::Whiteout);
        let from = source(&root, "f", Below::Something, Moved::Other);
        upper.rename(&Rename { from, to: (&root, b"g"), target: Target::Nothing }).unwrap();
        assert_eq!(place.tree(), ["/d opaque 755", "/f whiteout", "/g file \"f\" 644"]);
        let from = source(&root, "d", Below::Something, Moved::OpaqueDirectory);
        upper.rename(&Rename { from, to: (&root, b"f"), target: Target::Whiteout }).unwrap();
        assert_eq!(place.tree(), ["/d whiteout", "/f opaque 755", "/g file \"f\" 644"]);
        upper.unlink(&root, b"g", Below::Something).unwrap();
        assert_eq!(place.tree(), ["/d whiteout", "/f opaque 755", "/g whiteout"]);
    });
}
