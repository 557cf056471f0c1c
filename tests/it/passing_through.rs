//! What the kernel reads and writes alone: with `mount -o passthrough` what is cached whole, and of a mount that is written
//! to what is in its upper. A file that is open stays as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, Instant};

use crate::support::place::Place;

const SIZE: usize = 9_000_000;
const OVERLAYFS: i64 = 0x794c_7630;

/// How many requests of a kind the mount at `mnt` was asked for, as it tells.
fn asked(kind: &str, mnt: &str, place: &Place) -> Option<String> {
    let told = place.plyfs(&["stats", "--format", "prometheus", mnt]);
    let kind = format!(r#"kind="{kind}""#);
    let is_count = |line: &&str| line.contains("duration_seconds_count") && line.contains(&kind);
    told.lines().find(is_count).map(str::to_owned)
}

/// Not where the kernel takes no files, or none of the file system that the store is on.
fn passes(made: &std::process::Output, place: &Place) -> bool {
    let can = made.status.success() && rustix::fs::statfs(place.store()).unwrap().f_type != OVERLAYFS;
    if !can {
        eprintln!("skipped, nothing can be passed through here: {}", String::from_utf8_lossy(&made.stderr));
    }
    can
}

fn wait_until_cached(place: &Place) {
    let start = Instant::now();
    let is_cached = || fs::read_dir(place.store().join("plyfs/files")).is_ok_and(|files| files.count() > 0);
    while !is_cached() {
        assert!(start.elapsed() < Duration::from_secs(60), "the file was never cached");
        std::thread::sleep(Duration::from_millis(20));
    }
    // It is opened after it has its name.
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn a_large_file_is_read_by_the_kernel_alone_once_it_is_cached() {
    let place = Place::new();
    let image = place.image("big.tar", &format!("layer gzip\nfile big size={SIZE}"));
    let mnt = place.directory("mnt");
    let (mnt, big) = (mnt.to_str().unwrap(), mnt.join("big"));
    let made = place.run(&["mount", "-o", "passthrough", image.to_str().unwrap(), mnt]);
    if !passes(&made, &place) {
        return;
    }
    let mut early = File::open(&big).unwrap();
    let bytes = fs::read(&big).unwrap();
    assert_eq!(bytes.len(), SIZE);
    wait_until_cached(&place);

    let mut again = Vec::new();
    early.read_to_end(&mut again).unwrap();
    assert!(again == bytes && fs::read(&big).unwrap() == bytes, "beside a handle from before");
    drop(early);

    let before = asked("read", mnt, &place);
    assert!(before.is_some());
    assert!(fs::read(&big).unwrap() == bytes, "through the kernel");
    assert_eq!(asked("read", mnt, &place), before);
}

#[test]
fn what_is_in_an_upper_is_read_and_written_by_the_kernel_alone() {
    let place = Place::new();
    let image = place.image("some.tar", "layer gzip\nfile lower size=100000\nfile other size=100000");
    let mnt = place.directory("mnt");
    let at = mnt.to_str().unwrap();
    let made = place.run(&["mount", "--rw", "-o", "passthrough", image.to_str().unwrap(), at]);
    if !passes(&made, &place) {
        return;
    }
    let new = mnt.join("new");
    fs::write(&new, vec![b'x'; 300_000]).unwrap();
    OpenOptions::new().append(true).open(&new).unwrap().write_all(b"more").unwrap();
    assert_eq!(fs::metadata(&new).unwrap().len(), 300_004);
    assert_eq!(&fs::read(&new).unwrap()[299_999..], b"xmore");
    let lower = mnt.join("lower");
    OpenOptions::new().write(true).open(&lower).unwrap().write_all_at(b"changed", 5).unwrap();
    assert_eq!(&fs::read(&lower).unwrap()[5..12], b"changed");
    assert_eq!([asked("read", at, &place), asked("write", at, &place)], [None, None]);
    fs::read(mnt.join("other")).unwrap();
    assert!(asked("read", at, &place).is_some(), "what is only below is asked for");
}

#[test]
fn who_has_a_file_open_since_before_its_copy_up_sees_what_is_written_then_and_later() {
    let place = Place::new();
    let image = place.image("some.tar", "layer gzip\nfile lower size=100000");
    let mnt = place.directory("mnt");
    let made = place.run(&["mount", "--rw", image.to_str().unwrap(), mnt.to_str().unwrap()]);
    if !made.status.success() {
        eprintln!("skipped, nothing can be mounted here: {}", String::from_utf8_lossy(&made.stderr));
        return;
    }
    let lower = mnt.join("lower");
    let early = File::open(&lower).unwrap();
    let shown = |file: &File| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    shown(&early);
    let writer = || OpenOptions::new().write(true).open(&lower).unwrap();
    writer().write_all_at(b"once", 0).unwrap();
    assert_eq!((shown(&early), &fs::read(&lower).unwrap()[..4]), (*b"once", &b"once"[..]));
    drop(early);
    writer().write_all_at(b"more", 0).unwrap();
    assert_eq!(shown(&File::open(&lower).unwrap()), *b"more");
    // Of such a file the kernel is given none, and must not show what it kept from before.
    fs::set_permissions(&lower, PermissionsExt::from_mode(0o4755)).unwrap();
    assert_eq!(shown(&File::open(&lower).unwrap()), *b"more");
}
