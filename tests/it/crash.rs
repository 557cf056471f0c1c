//! What is left when something ends before its time.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use crate::support::place::{Place, check_store, names};

const LARGE: &str = "name large:1\nlayer gzip\nfile a size=3000000\nlayer zstd\nfile b size=5000000\nlayer plain\nfile c size=4000000\n";

#[test]
fn a_load_that_is_killed_at_any_moment_leaves_nothing_half_made() {
    let place = Place::new();
    let image = place.image("large.tar", LARGE);
    let words = ["load", "-q", "-i", image.to_str().unwrap()];
    let start = Instant::now();
    place.plyfs(&words);
    let whole = start.elapsed();
    place.plyfs(&["rmi", "large:1"]);
    for turn in 0..30 {
        let mut load = place.start(&words);
        sleep(whole * turn / 30);
        load.kill().unwrap();
        load.wait().unwrap();
        check_store(&place.store());
    }
    place.plyfs(&words);
    check_store(&place.store());
    assert_eq!(place.plyfs(&["ls", "large:1"]), "a\nb\nc\n");
    // A name that a rename was about to use is swept an hour later: until then someone may be about to use it.
    for left in names(&place.store().join("plyfs/tmp")) {
        let left = fs::File::open(place.store().join("plyfs/tmp").join(left)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(7200);
        left.set_times(fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
    }
    place.plyfs(&["rmi", "large:1"]);
    for directory in ["blobs/sha256", "plyfs/tmp", "plyfs/indexes", "plyfs/sidecars"] {
        assert_eq!(names(&place.store().join(directory)), Vec::<String>::new(), "{directory}");
    }
}

#[test]
fn two_loads_of_one_image_at_once_both_work_and_store_it_once() {
    let place = Place::new();
    let image = place.image("large.tar", LARGE);
    let words = ["load", "-q", "-i", image.to_str().unwrap()];
    let mut loads = [place.start(&words), place.start(&words), place.start(&words)];
    assert!(loads.iter_mut().all(|load| load.wait().unwrap().success()));
    check_store(&place.store());
    assert_eq!(names(&place.store().join("blobs/sha256")).len(), 5);
    assert_eq!(place.plyfs(&["images", "-q"]).lines().count(), 1);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_made() {
    let place = Place::new();
    let image = place.image("large.tar", LARGE);
    let store = place.directory("store");
    let tmpfs = ["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", store.to_str().unwrap()];
    if !std::process::Command::new("mount").args(tmpfs).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: a full disk: a tmpfs can't be mounted here");
        return;
    }
    let output = place.run(&["load", "-q", "-i", image.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check_store(&store);
    let left = names(&store.join("plyfs/tmp"));
    let listed = place.plyfs(&["images", "-q"]);
    assert!(std::process::Command::new("umount").arg(&store).status().unwrap().success());
    assert_eq!((output.status.code(), left, listed.as_str()), (Some(1), vec![], ""), "{said}");
    assert!(said.to_lowercase().contains("no space left") || said.contains("full"), "{said}");
}

/// Mounts a file system of six MiB of a kind on `at`; `false` where that may not be done.
fn mount_small(kind: &str, place: &Place, at: &Path) -> bool {
    let run = |program: &str, words: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(words).stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let (at, file) = (at.to_str().unwrap(), place.path("disk"));
    match kind {
        "tmpfs" => run("mount", &["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", at]),
        kind => {
            let file = file.to_str().unwrap();
            run("truncate", &["-s", "6M", file])
                && run(&format!("mkfs.{kind}"), &["-q", "-N", "64", file])
                && run("mount", &["-o", "loop", file, at])
        }
    }
}

#[test]
fn a_prune_on_a_full_disk_makes_room() {
    for kind in ["tmpfs", "ext4"] {
        let place = Place::new();
        let store = place.directory("store");
        if !mount_small(kind, &place, &store) {
            eprintln!("skipped: a prune on a full disk: {kind} can't be mounted here");
            continue;
        }
        let image = place.image("small.tar", "name small:1\nlayer gzip\nfile a size=500000\n");
        place.plyfs(&["load", "-q", "-i", image.to_str().unwrap()]);
        let mut filler = fs::File::create(store.join("lost+found.filler")).unwrap();
        while std::io::Write::write_all(&mut filler, &[1; 512]).is_ok() {}
        let full = place.run(&["tag", "small:1", "other:1"]);
        let pruned = place.run(&["image", "prune", "--all", "--force"]);
        let left = names(&store.join("blobs/sha256"));
        let listed = place.plyfs(&["images", "-q"]);
        drop(filler);
        assert!(std::process::Command::new("umount").arg(&store).status().unwrap().success());
        assert!(String::from_utf8_lossy(&full.stderr).contains("disk full"), "{kind}: {full:?}");
        assert!(pruned.status.success(), "{kind}: {pruned:?}");
        assert_eq!((left, listed.as_str()), (Vec::<String>::new(), ""), "{kind}");
    }
}

#[test]
fn what_a_killed_daemon_leaves_is_unmounted() {
    let place = Place::new();
    if !place.can_mount("a killed daemon") {
        return;
    }
    let image = place.image("small.tar", "layer plain\nfile a : hello\n");
    let at = place.directory("mnt");
    place.plyfs(&["mount".as_ref(), image.as_os_str(), at.as_os_str()]);
    assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "hello\n");
    let listed: serde_json::Value =
        serde_json::from_str(&place.plyfs(&["mount", "--format", "json"])).unwrap();
    let pid = i32::try_from(pid(&listed)).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new(&format!("/proc/{pid}/fd/0")).exists() && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
    }
    place.plyfs(&["umount".as_ref(), at.as_os_str()]);
    assert_eq!(names(&at), Vec::<String>::new());
    assert_eq!(place.plyfs(&["mount", "--format", "json"]), "");
    assert_eq!(names(&place.store().join("plyfs/mounts")), Vec::<String>::new());
}

fn pid(mount: &serde_json::Value) -> i64 {
    let fields = mount.as_object().unwrap();
    let (_, pid) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("pid")).unwrap();
    pid.as_i64().or_else(|| pid.as_str().and_then(|pid| pid.parse().ok())).unwrap()
}

#[test]
fn a_daemon_ends_with_its_mount_whoever_unmounts_it() {
    let place = Place::new();
    if !place.can_mount("many mounts") {
        return;
    }
    let image = place.image("small.tar", "layer plain\nfile a : hello\n");
    let ats: Vec<_> = (0..12).map(|number| place.directory(&format!("mnt{number}"))).collect();
    for at in &ats {
        place.plyfs(&["mount".as_ref(), image.as_os_str(), at.as_os_str()]);
    }
    assert_eq!(place.plyfs(&["mount", "--format", "json"]).lines().count(), 12);
    let outside =
        if rustix::process::geteuid().is_root() { vec!["umount"] } else { vec!["fusermount3", "-u"] };
    let (program, words) = outside.split_first().unwrap();
    assert!(std::process::Command::new(program).args(words).arg(&ats[0]).status().unwrap().success());
    place.plyfs(&["umount", "--all"]);
    let records = place.store().join("plyfs/mounts");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !names(&records).is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(10));
    }
    assert_eq!(names(&records), Vec::<String>::new());
    assert!(ats.iter().all(|at| names(at).is_empty()));
}
