//! What makes images of others, and what sends them away, ended before its time: by a kill at any moment, or a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Instant;

use crate::registry;
use crate::support::place::{Place, check_store, names};
use crate::support::server::Server;

const BASE: &str = "name base:1\nlayer gzip\nfile a size=1500000\nlayer plain\nfile c size=1000000\n";
const TURNS: u32 = 12;

/// Bytes that no compression makes fewer.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(next).collect()
}

/// A store with [`BASE`], and a directory of `size` bytes that is an upper of it.
fn stage(size: usize) -> (Place, PathBuf) {
    let place = Place::new();
    let upper = place.directory("upper");
    fs::write(upper.join("new"), noise(size)).unwrap();
    (place, upper)
}

fn load(place: &Place) {
    let image = place.image("base.tar", BASE);
    place.plyfs(&["load", "-q", "-i", image.to_str().unwrap()]);
}

/// The commands that make `made:1` of `base:1`.
fn derivations(upper: &Path) -> Vec<Vec<String>> {
    let upper = upper.to_str().unwrap();
    let lines = [
        format!("commit --base base:1 {upper} made:1"),
        format!("append -t made:1 base:1 {upper}"),
        "squash -t made:1 base:1".to_owned(),
    ];
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn listed(place: &Place) -> String {
    place.plyfs(&["images", "--format", "{{.Repository}} {{.Digest}}"])
}

/// Runs it whole, to know how long that takes, and then kills it ever later; `check` looks at what each kill left.
fn kill_ever_later(place: &Place, words: &[String], undo: impl Fn(), mut check: impl FnMut(u32)) {
    let start = Instant::now();
    place.plyfs(words);
    let whole = start.elapsed();
    undo();
    for turn in 0..TURNS {
        let mut child = place.start(words);
        sleep(whole * turn / TURNS);
        child.kill().unwrap();
        child.wait().unwrap();
        check(turn);
    }
}

#[test]
fn an_image_whose_making_is_killed_is_there_whole_or_not_at_all() {
    let (place, upper) = stage(3_000_000);
    load(&place);
    let blobs = || names(&place.store().join("blobs/sha256"));
    let (before, images) = (blobs(), listed(&place));
    let epoch = [("SOURCE_DATE_EPOCH", "1714557600")];
    for words in derivations(&upper) {
        let remove = || {
            place.run(&["rmi", "made:1"]);
        };
        kill_ever_later(&place, &words, remove, |turn| {
            check_store(&place.store());
            let now = listed(&place);
            let rest: String = now
                .lines()
                .filter(|line| !line.starts_with("made "))
                .map(|line| format!("{line}\n"))
                .collect();
            assert_eq!(rest, images, "{words:?} {turn}");
            if now != images {
                assert_eq!(place.plyfs(&["verify", "--quiet"]), "", "{words:?} {turn}");
                remove();
            }
        });
        let made = [(); 2].map(|()| {
            assert!(place.run_with(&words, &epoch).status.success(), "{words:?}");
            let made = listed(&place);
            remove();
            made
        });
        assert_eq!(made[0], made[1], "{words:?}");
        place.plyfs(&["image", "prune", "--force"]);
        assert_eq!(blobs(), before, "{words:?}");
    }
}

#[test]
fn a_save_that_is_killed_leaves_no_file_or_a_whole_one() {
    let (place, _) = stage(0);
    load(&place);
    let folder = place.directory("saved");
    let path = folder.join("base.tar");
    let words: Vec<String> = ["save", "-o", path.to_str().unwrap(), "base:1"].map(str::to_owned).to_vec();
    place.plyfs(&words);
    let whole = fs::read(&path).unwrap();
    kill_ever_later(
        &place,
        &words,
        || fs::remove_file(&path).unwrap(),
        |turn| match names(&folder).as_slice() {
            [] => {}
            [one] if one == "base.tar" => {
                assert!(fs::read(&path).unwrap() == whole, "turn {turn}");
                fs::remove_file(&path).unwrap();
            }
            others => panic!("turn {turn}: {others:?}"),
        },
    );
}

#[test]
fn a_push_that_is_killed_names_nothing_that_is_not_there_and_is_made_good_by_the_next() {
    let (place, server) = (Place::new(), Server::plain());
    load(&place);
    let name = registry::name(&server);
    place.plyfs(&["tag", "base:1", &name]);
    let words: Vec<String> = ["push", "-q", name.as_str()].map(str::to_owned).to_vec();
    let empty = || {
        server.shelves.blobs.lock().unwrap().clear();
        server.shelves.manifests.lock().unwrap().clear();
    };
    kill_ever_later(&place, &words, empty, |turn| {
        if !server.shelves.manifests.lock().unwrap().is_empty() {
            assert_eq!(server.shelves.blobs.lock().unwrap().len(), 3, "turn {turn}");
        }
        place.plyfs(&words);
        let other = Place::new();
        other.plyfs(&["pull", "-q", &name]);
        assert_eq!(other.plyfs(&["ls", &name]), "a\nc\n", "turn {turn}");
        check_store(&other.store());
        empty();
    });
}

/// Mounts a tmpfs of so many MiB; `false` where that may not be done.
fn mount_small(at: &Path, size: u32) -> bool {
    let size = format!("size={size}m,mode=0700");
    let words = ["-t", "tmpfs", "-o", &size, "tmpfs", at.to_str().unwrap()];
    let mounted =
        std::process::Command::new("mount").args(words).status().is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("skipped: a full disk: a tmpfs can't be mounted here");
    }
    mounted
}

fn unmount(at: &Path) {
    assert!(std::process::Command::new("umount").arg(at).status().unwrap().success());
}

#[test]
fn an_image_that_finds_no_room_is_not_made_and_the_disk_is_said_to_be_full() {
    let (place, upper) = stage(6_000_000);
    let store = place.directory("store");
    // Room for the base, and for half of any of these.
    if !mount_small(&store, 4) {
        return;
    }
    load(&place);
    let (images, blobs) = (listed(&place), names(&store.join("blobs/sha256")));
    let outcomes: Vec<_> = derivations(&upper)
        .into_iter()
        .map(|words| {
            let output = place.run(&words);
            let left = [names(&store.join("plyfs/tmp")), names(&store.join("blobs/sha256"))];
            (words, output, left, listed(&place))
        })
        .collect();
    let shown = place.plyfs(&["ls", "base:1"]);
    unmount(&store);
    for (words, output, left, now) in outcomes {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), now.as_str()), (Some(1), images.as_str()), "{words:?}: {said}");
        assert!(
            said.to_lowercase().contains("disk full") || said.contains("o space left"),
            "{words:?}: {said}"
        );
        assert_eq!(left, [Vec::new(), blobs.clone()], "{words:?}");
    }
    assert_eq!(shown, "a\nc\n");
}

#[test]
fn a_save_that_finds_no_room_leaves_no_file() {
    let (place, _) = stage(0);
    load(&place);
    let folder = place.directory("saved");
    if !mount_small(&folder, 1) {
        return;
    }
    let output = place.run(&["save", "-o", folder.join("base.tar").to_str().unwrap(), "base:1"]);
    let left = names(&folder);
    unmount(&folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), left), (Some(1), Vec::new()), "{said}");
    assert!(said.to_lowercase().contains("disk full") || said.contains("o space left"), "{said}");
}
