//! `mount -o passthrough`: what is cached whole is read by the kernel alone, and a file that is open stays as it is.

use std::fs::{self, File};
use std::io::Read;
use std::time::{Duration, Instant};

use crate::support::place::Place;

const SIZE: usize = 9_000_000;
const OVERLAYFS: i64 = 0x794c_7630;

/// How many reads the mount at `mnt` was asked for, as it tells.
fn reads(mnt: &str, place: &Place) -> String {
    let told = place.plyfs(&["stats", "--format", "prometheus", mnt]);
    let is_count = |line: &&str| line.contains("duration_seconds_count") && line.contains(r#"kind="read""#);
    told.lines().find(is_count).unwrap().to_owned()
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
    if !made.status.success() || rustix::fs::statfs(place.store()).unwrap().f_type == OVERLAYFS {
        eprintln!("skipped, nothing can be passed through here: {}", String::from_utf8_lossy(&made.stderr));
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

    let asked = reads(mnt, &place);
    assert!(fs::read(&big).unwrap() == bytes, "through the kernel");
    assert_eq!(reads(mnt, &place), asked);
}
