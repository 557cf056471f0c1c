//! What docker was recorded to print, beside what plyfs prints for the same work. Docker's engine does not start
//! everywhere; each record names the file of github.com/docker/cli that it stands in, and the commit.
//!
//! What differs from run to run is made equal: digests, ids, sizes, ages, and the spaces between columns.

use crate::support::place::Place;

/// `docs/reference/commandline/image_prune.md` at 09f926e, of the image `my-jq` without its parents' lines.
const PRUNE: &str = "\
WARNING! This will remove all images without at least one container associated to them.
Are you sure you want to continue? [y/N] Deleted Images:
untagged: my-jq:latest
deleted: sha256:ae67841be6d008a374eff7c2a974cde3934ffe9536a7dc7ce589585eddd83aff

Total reclaimed space: 16.43 MB
";

/// `docs/reference/commandline/image_rm.md` at 3bb31af: two tags go, then all by id.
const RMI: &str = "\
Untagged: test1:latest
Untagged: test2:latest
Untagged: test:latest
Deleted: fd484f19954f4920da7ff372b5067f5b7ddb2fd3830cecd17b96ea9e286ba5b8
";

/// `cli/command/image/testdata/history-command-success.non-human.golden` at f48c29c.
const HISTORY: &str = "\
IMAGE     CREATED AT             CREATED BY   SIZE      COMMENT
abcdef    2017-01-01T12:00:03Z   rose         0         new history item!
";

/// `docs/reference/commandline/system_df.md`, the table's first two lines.
const DF: &str = "\
TYPE                TOTAL               ACTIVE              SIZE                RECLAIMABLE
Images              5                   2                   16.43 MB            11.63 MB (70%)
";

/// `docs/reference/commandline/image_ls.md`, one line of the table, with `--digests`.
const IMAGES: &str = "\
REPOSITORY                         TAG                 DIGEST                                                                    IMAGE ID            CREATED             SIZE
localhost:5000/test/busybox        <none>              sha256:cbbf2f9a99b47fc460d422812b6a5adff7dfee951d8fa2e4a98caa0382cfbdbf   4986bf8c1536        9 weeks ago         2.43 MB
";

/// One line's words, each made equal where it is of a kind that differs.
fn words(line: &str) -> Vec<String> {
    // Docker left the space out in 2017.
    let line = ["kB", "MB", "GB", "B"]
        .iter()
        .fold(line.to_owned(), |line, unit| line.replace(&format!(" {unit}"), unit));
    line.split_whitespace().map(word).collect()
}

fn word(word: &str) -> String {
    let is_hex = |text: &str| text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_size = |text: &str| text.ends_with('B') && text.starts_with(|c: char| c.is_ascii_digit());
    match word.strip_prefix("sha256:").unwrap_or(word) {
        bare if is_hex(bare) => "DIGEST".to_owned(),
        bare if is_size(bare) => "SIZE".to_owned(),
        bare if bare.starts_with('(') && bare.ends_with("%)") => "PERCENT".to_owned(),
        bare => bare.to_owned(),
    }
}

fn shape(text: &str) -> Vec<Vec<String>> {
    text.lines().map(words).collect()
}

fn place_with(names: &[&str]) -> Place {
    let place = Place::new();
    let names: String = names.iter().map(|name| format!("name {name}\n")).collect();
    let archive = place.image("image.tar", &format!("{names}layer plain\nfile a : hello\n"));
    place.plyfs(&["load", "-q", "-i", archive.to_str().unwrap()]);
    place
}

#[test]
fn a_prune_is_told_as_docker_tells_it() {
    let place = place_with(&["my-jq:latest"]);
    let asked = place.run(&["image", "prune", "--all"]);
    let question = String::from_utf8(asked.stdout).unwrap();
    let said = question + &place.plyfs(&["image", "prune", "--all", "--force"]);
    assert_eq!(shape(&said), shape(PRUNE));
}

#[test]
fn a_removal_is_told_as_docker_tells_it() {
    let place = place_with(&["test1:latest", "test2:latest", "test:latest"]);
    let said: String = ["test1:latest", "test2", "test"].map(|name| place.plyfs(&["rmi", name])).concat();
    assert_eq!(shape(&said), shape(RMI));
}

#[test]
fn tables_have_dockers_columns() {
    let place = place_with(&["busybox:1"]);
    let heading = |text: &str| text.lines().next().map(words);
    let df = place.plyfs(&["system", "df"]);
    assert_eq!(heading(&df), heading(DF));
    let row: Vec<String> = words(df.lines().nth(1).unwrap());
    assert_eq!((&row[0], row[3..].to_vec()), (&words("Images")[0], shape(DF)[1][3..].to_vec()));
    assert_eq!(heading(&place.plyfs(&["images", "--digests"])), heading(IMAGES));
    let history = place.plyfs(&["history", "--human=false", "busybox:1"]);
    assert_eq!(heading(&history), heading(HISTORY));
    // An id, a moment, then what was done.
    let (ours, theirs) = (words(history.lines().nth(1).unwrap()), words(HISTORY.lines().nth(1).unwrap()));
    assert_eq!((ours[0].len() >= 6, ours[1].len()), (true, theirs[1].len()));
}
