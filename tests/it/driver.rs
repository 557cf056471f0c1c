//! A mount that the kernel's overlayfs answers: the same upper, the same tree, and nothing left of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::place::{Place, names};

const IMAGE: &str =
    "layer plain\ndir etc\nfile etc/motd : hello\nfile etc/old : old\nfile big size=2000000\n";

/// A place with an image, where the kernel's overlayfs can be mounted.
fn place(test: &str) -> Option<(Place, PathBuf, PathBuf)> {
    let place = Place::new();
    if !place.can_mount(test) {
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: {test}: only root mounts the kernel's overlayfs");
        return None;
    }
    let (image, at) = (place.image("small.tar", IMAGE), place.directory("mnt"));
    Some((place, image, at))
}

fn mount(place: &Place, driver: &str, image: &Path, at: &Path) -> std::process::Output {
    let words = ["mount", "--rw", "--name", "it", "--driver", driver].map(AsRef::as_ref);
    place.run(&[&words[..], &[image.as_os_str(), at.as_os_str()]].concat())
}

fn unmount(place: &Place, at: &Path) {
    place.plyfs(&["umount".as_ref(), at.as_os_str()]);
}

fn file_system(at: &Path) -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == at.to_str()).unwrap_or_default();
    line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
}

#[test]
fn what_is_written_through_the_kernel_and_through_plyfs_is_one_upper() {
    let Some((place, image, at)) = place("two drivers") else { return };
    assert!(mount(&place, "overlay", &image, &at).status.success());
    assert_eq!(file_system(&at), "overlay");
    fs::write(at.join("etc/motd"), "changed").unwrap();
    fs::remove_file(at.join("etc/old")).unwrap();
    fs::create_dir(at.join("new")).unwrap();
    unmount(&place, &at);
    assert!(mount(&place, "fuse", &image, &at).status.success());
    assert_eq!(file_system(&at), "fuse.plyfs");
    assert_eq!(fs::read_to_string(at.join("etc/motd")).unwrap(), "changed");
    assert_eq!(
        (names(&at), names(&at.join("etc"))),
        (vec!["big".into(), "etc".into(), "new".into()], vec!["motd".into()])
    );
    fs::write(at.join("new/file"), "more").unwrap();
    unmount(&place, &at);
    assert!(mount(&place, "auto", &image, &at).status.success());
    assert_eq!(file_system(&at), "overlay");
    assert_eq!(fs::read_to_string(at.join("new/file")).unwrap(), "more");
    unmount(&place, &at);
}

#[test]
fn an_upper_whose_files_lack_content_is_sealed_before_the_kernel_has_it() {
    let Some((place, image, at)) = place("sealing") else { return };
    assert!(mount(&place, "fuse", &image, &at).status.success());
    let before = fs::read(at.join("big")).unwrap();
    fs::set_permissions(at.join("big"), PermissionsExt::from_mode(0o640)).unwrap();
    unmount(&place, &at);
    let upper = place.store().join("plyfs/uppers/it/upper/big");
    assert_eq!(fs::metadata(&upper).unwrap().blocks(), 0);
    let refused = mount(&place, "overlay", &image, &at);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("hint: `plyfs upper seal NAME`"), "{said}");
    assert!(mount(&place, "auto", &image, &at).status.success());
    assert_eq!(file_system(&at), "fuse.plyfs");
    unmount(&place, &at);
    place.plyfs(&["upper", "seal", "it"]);
    assert!(mount(&place, "overlay", &image, &at).status.success());
    assert!(fs::read(at.join("big")).unwrap() == before && fs::read(&upper).unwrap() == before);
    assert_eq!(fs::metadata(at.join("big")).unwrap().mode() & 0o7777, 0o640);
    unmount(&place, &at);
}

#[test]
fn nothing_is_left_of_the_kernels_mount_nor_of_ours_below_it() {
    let Some((place, image, at)) = place("the end of two mounts") else { return };
    assert!(mount(&place, "overlay", &image, &at).status.success());
    let pid: i32 = place.plyfs(&["mount", "--format", "{{.Pid}}"]).trim().parse().unwrap();
    // As anyone can unmount it: the daemon ends with the mount.
    assert!(std::process::Command::new("umount").arg(&at).status().unwrap().success());
    wait_for_end(pid);
    assert_eq!(
        (file_system(&at), place.plyfs(&["mount", "--format", "json"])),
        (String::new(), String::new())
    );
    assert!(mount(&place, "overlay", &image, &at).status.success());
    let pid: i32 = place.plyfs(&["mount", "--format", "{{.Pid}}"]).trim().parse().unwrap();
    let process = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    wait_for_end(pid);
    unmount(&place, &at);
    assert_eq!(
        (file_system(&at), place.plyfs(&["mount", "--format", "json"])),
        (String::new(), String::new())
    );
    assert!(mount(&place, "fuse", &image, &at).status.success(), "nobody holds the upper");
    unmount(&place, &at);
}

fn wait_for_end(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new(&format!("/proc/{pid}/fd/0")).exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}
