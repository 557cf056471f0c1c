//! Unlink and rmdir.

use super::*;

#[test]
fn what_is_below_too_leaves_a_whiteout() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        for (name, below) in [("pure", Below::Nothing), ("both", Below::Something)] {
            make_file(upper, &root, name, "x");
            upper.unlink(&root, name.as_bytes(), below).unwrap();
        }
        upper.unlink(&root, b"lower", Below::Something).unwrap();
        assert_eq!(place.tree(), ["/both whiteout", "/lower whiteout"]);
        assert_eq!(place.staged(), [""; 0]);
    });
}

#[test]
fn a_directory_goes_with_the_whiteouts_in_it() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        make_dir(upper, &root, "pure", Over::Nothing);
        for name in ["merged", "opaque"] {
            let directory = copy_dir(upper, &root, name);
            upper.unlink(&directory, b"a", Below::Something).unwrap();
            upper.unlink(&directory, b"b", Below::Something).unwrap();
        }
        upper.remove_directory(&root, b"pure", Below::Nothing).unwrap();
        upper.remove_directory(&root, b"opaque", Below::Nothing).unwrap();
        upper.remove_directory(&root, b"merged", Below::Something).unwrap();
        upper.remove_directory(&root, b"lower", Below::Something).unwrap();
        assert_eq!(place.tree(), ["/lower whiteout", "/merged whiteout"]);
        assert_eq!(place.staged(), [""; 0]);
    });
}

#[test]
fn more_names_can_be_hidden_than_an_inode_can_have_links() {
    let place = Place::new("/var/tmp");
    let root = place.upper.root();
    for number in 0..65_100 {
        place.upper.unlink(&root, format!("{number}").as_bytes(), Below::Something).unwrap();
    }
    let listed = place.upper.list(&root).unwrap();
    assert!(listed.len() == 65_100 && listed.iter().all(|entry| entry.shown == Shown::Whiteout));
}
