//! Taking an upper: locks, checks and recovery.

use super::*;

fn errno(result: Result<Upper>) -> i32 {
    result.err().unwrap().errno().raw_os_error()
}

#[test]
fn an_upper_has_one_user_at_a_time() {
    everywhere(|place| {
        let again = open(place.path(".").as_path(), &Options::default());
        assert_eq!(errno(again), libc::EBUSY);
        assert!(matches!(share(&place.path("upper")), Err(Error::Answer(_))));
        let directory = place.closed();
        let (one, other) = (share(&directory.path().join("upper")), share(&directory.path().join("upper")));
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(errno(open(directory.path(), &Options::default())), libc::EBUSY);
    });
}

#[test]
fn an_upper_that_overlaps_with_others_is_refused() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(path("upper/inside")).unwrap();
    std::fs::create_dir(path("work")).unwrap();
    let said = |upper: &str, work: &str, layers: &[&str]| {
        let layers = layers.iter().map(|layer| path(layer)).collect();
        let options = Options { layers, ..Options::default() };
        Upper::open(&path(upper), &path(work), &options).err().unwrap().to_string()
    };
    let overlap = "opening the upper: the upper and the work directory overlap";
    assert_eq!(said("upper", "upper/inside", &[]), overlap);
    assert_eq!(said("upper/inside", "upper", &[]), overlap);
    assert_eq!(said("upper", "upper", &[]), overlap);
    assert!(said("upper", "work", &["upper/inside"]).ends_with("overlaps with the upper or its work"));
    assert!(said("upper", "work", &["."]).ends_with("overlaps with the upper or its work"));
}

#[test]
fn what_was_staged_is_gone_at_the_next_mount_however_deep() {
    everywhere(|place| {
        let deep = (0..100).fold(place.path("work/work/#0"), |path, depth| path.join(depth.to_string()));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("f"), "").unwrap();
        std::fs::write(place.path("work/work/#1"), "").unwrap();
        let place = place.again();
        assert_eq!(std::fs::read_dir(place.path("work/work")).unwrap().count(), 0);
    });
}

#[test]
fn an_upper_without_syncs_is_marked_and_refused_afterwards() {
    everywhere(|place| {
        let directory = place.closed();
        let options = Options { sync: Policy::Volatile, ..Options::default() };
        drop(open(directory.path(), &options).unwrap());
        assert!(directory.path().join("work/work/incompat/volatile/dirty").is_dir());
        let refused = open(directory.path(), &Options::default()).err().unwrap();
        assert!(refused.to_string().contains("work/incompat/volatile"), "{refused}");
        std::fs::remove_dir_all(directory.path().join("work/work/incompat/volatile")).unwrap();
        open(directory.path(), &Options::default()).unwrap();
    });
}

#[test]
fn links_and_whiteouts_that_were_begun_are_made_at_the_next_mount() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        let inner = copy_dir(upper, &root, "d");
        make_file(upper, &root, "moved", "");
        std::fs::write(place.path("work/plyfs/hl/#9"), "text").unwrap();
        std::fs::hard_link(place.path("work/plyfs/hl/#9"), place.path("upper/a")).unwrap();
        let aliases = [Alias { parent: &root, name: b"a" }, Alias { parent: &inner, name: b"b" }];
        // As a killed process leaves them: nothing drops a record but its sequence.
        let _links = upper.record_links(&aliases, b"#9").unwrap();
        let _gone = upper.record_whiteout(&inner, b"w").unwrap();
        let _there = upper.record_whiteout(&root, b"moved").unwrap();
        assert!(place.path("work/work/incompat/plyfs").is_dir());
        drop((root, inner));
        let place = place.again();
        assert_eq!(
            place.tree(),
            [
                "/a file \"text\" 644",
                "/d dir 755",
                "/d/b file \"text\" 644",
                "/d/w whiteout",
                "/moved file \"\" 644"
            ]
        );
        assert!(!place.path("work/work/incompat").exists());
        assert_eq!(std::fs::read_dir(place.path("work/plyfs/journal")).unwrap().count(), 0);
    });
}

#[test]
fn a_damaged_record_and_the_index_of_a_kernel_mount_are_refused() {
    let place = Place::new("/var/tmp");
    std::fs::write(place.path("work/plyfs/journal/#1"), "plyfs").unwrap();
    let directory = place.closed();
    let refused = open(directory.path(), &Options::default()).err().unwrap();
    assert_eq!(refused.to_string(), "reading the journal's record #1: it is damaged");
    std::fs::remove_file(directory.path().join("work/plyfs/journal/#1")).unwrap();
    std::fs::create_dir_all(directory.path().join("work/index/00fb")).unwrap();
    let refused = open(directory.path(), &Options::default()).err().unwrap();
    assert!(refused.to_string().contains("index=on"), "{refused}");
}

#[test]
fn syncing_reaches_the_directories_that_copies_went_into() {
    everywhere(|place| {
        let upper = &place.upper;
        let root = upper.root();
        let inner = copy_dir(upper, &root, "d");
        copy_file(upper, &inner, "f", "text");
        assert_eq!(upper.unsynced.len(), 2);
        let file = upper.open_file(&inner, b"f", Access::ReadWrite).unwrap();
        upper.sync(&file, Extent::Data, [&inner]).unwrap();
        assert_eq!(upper.unsynced.len(), 1);
        upper.sync_dir(&inner, [&root]).unwrap();
        assert_eq!(upper.unsynced.len(), 0);
    });
}
