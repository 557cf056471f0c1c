//! What other tools write is read, and what is made here they unpack. Each is skipped, by name, where it is not installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::fixture::Fixture;
use crate::support::place::Place;

const HELLO: &str = include_str!("../../fixtures/hello.layers");

/// Runs a command of another tool; `None`, with a word, where that is not installed.
fn tool(at: &Path, words: &[&str]) -> Option<String> {
    let (program, rest) = words.split_first().unwrap();
    let run = Command::new(program).args(rest).current_dir(at).env("HOME", at).output();
    let Ok(output) = run else {
        eprintln!("skipped: what {program} writes, which is not installed");
        return None;
    };
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn umoci_adds_a_layer_to_a_layout_and_it_is_read() {
    let place = Place::new();
    Fixture::parse(HELLO).unwrap().oci_layout(&place.path("hello.oci")).unwrap();
    fs::write(place.path("new"), "from umoci\n").unwrap();
    let image = "hello.oci:hello:1.0";
    if tool(&place.path(""), &["umoci", "insert", "--rootless", "--image", image, "new", "/etc/motd"])
        .is_none()
    {
        return;
    }
    let layout = format!("oci:{}:hello:1.0", place.path("hello.oci").display());
    assert_eq!(place.plyfs(&["cat", &format!("{layout}:/etc/motd")]), "from umoci\n");
    assert_eq!(place.plyfs(&["ls", &format!("{layout}:/etc/hello.d")]), "greeting\nlang\nlanguage\n");
}

#[test]
fn buildah_commits_a_layout_and_an_archive_and_both_are_read() {
    let place = Place::new();
    let at = place.path("");
    fs::write(place.path("file"), "from buildah\n").unwrap();
    let storage = format!("--root={0}/c/root --runroot={0}/c/run --storage-driver=vfs", at.display());
    let buildah =
        |words: &str| tool(&at, &format!("buildah {storage} {words}").split(' ').collect::<Vec<_>>());
    let Some(container) = buildah("from scratch") else { return };
    buildah(&format!("copy {container} file /etc/file"));
    for (written, read) in
        [("oci:layout:tag", "oci:layout:tag"), ("docker-archive:image.tar:a/b:c", "image.tar")]
    {
        buildah(&format!("commit -q {container} {written}"));
        let (transport, path) = read.split_once(':').unwrap_or(("", read));
        let image = match transport {
            "" => place.path(path).display().to_string(),
            transport => format!("{transport}:{}", place.path(path).display()),
        };
        assert_eq!(place.plyfs(&["cat", &format!("{image}:/etc/file")]), "from buildah\n", "{written}");
    }
    buildah(&format!("rm {container}"));
}

/// An upper directory over the image of [`HELLO`]: something new, changed, removed and emptied.
const UPPER: &str = "set -e
    mkdir -p etc/hello.d usr/share new/deep
    printf 'mine\\n' >etc/motd; chmod 640 etc/motd; chown 7:8 etc/motd
    mknod etc/hello.d/language c 0 0
    printf 'a\\n' >new/deep/file; ln new/deep/file new/linked; ln -s deep/file new/symlink
    mkfifo new/fifo; mknod new/device b 7 9; setfattr -n user.note -v kept new/deep/file
    setfattr -n trusted.overlay.opaque -v y usr/share; chmod 2755 new; chmod u+s new/deep/file
    find . -exec touch -hd @1714557600 {} +";

/// All that there is below a directory.
fn listing(at: &Path) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suites/lib/listing.py");
    tool(at, &["python3", script.to_str().unwrap(), at.to_str().unwrap()])
}

/// Buildah gives the root, and directories that are only implied, the time at which it makes them.
fn without_times_of_directories(listing: &str) -> Vec<String> {
    let facts = |line: &str| match line.contains("', '0o4") {
        true => line.split(", ").take(4).collect::<Vec<_>>().join(", "),
        false => line.to_owned(),
    };
    listing.lines().map(facts).collect()
}

#[test]
fn what_is_made_of_an_image_is_the_same_tree_for_umoci_and_for_buildah() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: trees that umoci and buildah unpack: owners need root");
        return;
    }
    let place = Place::new();
    let at = place.path("");
    // Debian's umoci knows no zstd. Buildah gives a file the time of the last entry that links to it, and a root that no
    // layer has the mode 0555.
    let hello = HELLO
        .replace("zstd", "gzip")
        .replace("link etc/hello.d/lang -> etc/hello.d/language\n", "")
        .replacen("layer gzip\n", "layer gzip\ndir ./\n", 1);
    let upper = place.directory("upper");
    tool(&upper, &["sh", "-c", UPPER]).unwrap();
    let image = place.path("hello.tar");
    fs::write(&image, Fixture::parse(&hello).unwrap().docker_archive().unwrap()).unwrap();
    place.plyfs(&["load", "-q", "-i", image.to_str().unwrap()]);
    let upper = upper.to_str().unwrap();
    place.plyfs(&["commit", "--base", "hello", upper, "made:commit"]);
    place.plyfs(&["append", "-t", "made:append", "hello", &format!("{upper}/new")]);
    place.plyfs(&["squash", "-t", "made:squash", "made:commit"]);
    for tag in ["commit", "append", "squash"] {
        let (saved, shown) = (format!("{tag}.tar"), place.directory(&format!("{tag}-shown")));
        let name = format!("made:{tag}");
        place.plyfs(&["save", "--format", "oci-archive", "-o", place.path(&saved).to_str().unwrap(), &name]);
        place.plyfs(&["export", "-o", place.path("tree.tar").to_str().unwrap(), &name]);
        let untar = ["tar", "--xattrs", "--xattrs-include=*", "-xpf", "../tree.tar"];
        tool(&shown, &untar).unwrap();
        let expected = listing(&shown).unwrap();
        let copy = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "-q",
            &format!("oci-archive:{saved}"),
            &format!("oci:{tag}:1"),
        ];
        if tool(&at, &copy).is_none() {
            return;
        }
        let bundle = format!("{tag}-bundle");
        if tool(&at, &["umoci", "unpack", "--image", &format!("{tag}:1"), &bundle]).is_some() {
            assert_eq!(listing(&place.path(&bundle).join("rootfs")).unwrap(), expected, "umoci, {tag}");
        }
        let storage = format!("--root={0}/{tag}-c --runroot={0}/{tag}-r --storage-driver=vfs", at.display());
        let buildah =
            |words: &str| tool(&at, &format!("buildah {storage} {words}").split(' ').collect::<Vec<_>>());
        if let Some(container) = buildah(&format!("from -q oci:{tag}:1")) {
            let mounted = buildah(&format!("mount {container}")).unwrap();
            let found = listing(Path::new(&mounted)).unwrap();
            assert_eq!(
                without_times_of_directories(&found),
                without_times_of_directories(&expected),
                "buildah, {tag}"
            );
            buildah(&format!("rm {container}"));
        }
    }
}
