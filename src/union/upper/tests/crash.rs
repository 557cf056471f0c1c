//! A process killed before each system call of each sequence leaves the tree as it was before or as it is after, for us
//! and for kernel overlayfs, where it may mount the upper. The same for a call that fails. strace does the harm.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use super::kernel::{LOWER, Merged, copy, make_lower};
use super::*;
use crate::union::partial::Partial;

const SEQUENCE: &str = "PLYFS_TEST_SEQUENCE";
const DIRECTORY: &str = "PLYFS_TEST_DIRECTORY";

/// Those that change something: between any two of them nothing else does.
const CALLS: [&str; 22] = [
    "linkat",
    "renameat2",
    "renameat",
    "mknodat",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "lsetxattr",
    "fsetxattr",
    "lremovexattr",
    "fremovexattr",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "ftruncate",
    "copy_file_range",
    "pwrite64",
    "fsync",
    "syncfs",
    "sync_file_range",
];

/// A sequence, with what has to be there before.
struct Sequence {
    name: &'static str,
    before: fn(&Place),
    act: fn(&Place),
}

fn directory(place: &Place, name: &str) -> Dir {
    place.upper.open_dir(&place.upper.root(), name.as_bytes()).unwrap()
}

fn copy_of(place: &Place, name: &str) -> Dir {
    copy(place, &place.upper.root(), name, name);
    directory(place, name)
}

/// `moved` as it is before a rename: all that shows in it is copied, and it holds a whiteout.
fn materialise(place: &Place) {
    let moved = copy_of(place, "moved");
    place.upper.unlink(&moved, b"1", Below::Something).unwrap();
    copy(place, &moved, "deep", "moved/deep");
    let deep = place.upper.open_dir(&moved, b"deep").unwrap();
    copy(place, &deep, "3", "moved/deep/3");
    place.upper.set_opaque(&moved, b"deep", Moved::Materialised).unwrap();
}

fn move_directory(place: &Place, to: &str, target: Target) {
    let root = place.upper.root();
    let from = Source { parent: &root, name: b"moved", below: Below::Something, moved: Moved::Materialised };
    place.upper.rename(&Rename { from, to: (&root, to.as_bytes()), target }).unwrap();
}

fn move_file(place: &Place, to: &str, target: Target) {
    let root = place.upper.root();
    let from = Source { parent: &root, name: b"changed", below: Below::Something, moved: Moved::Other };
    place.upper.rename(&Rename { from, to: (&root, to.as_bytes()), target }).unwrap();
}

fn make_over(place: &Place, what: What<'_>) {
    let (user, group) = me();
    let new = New {
        what,
        permissions: 0o2770,
        user: user + u32::from(is_root()),
        group,
        xattrs: &[],
        over: Over::Whiteout,
    };
    place.upper.create(&place.upper.root(), b"gone", &new).unwrap();
}

fn link_up(place: &Place) {
    let (root, inner) = (place.upper.root(), directory(place, "dir"));
    let hard = std::fs::File::open(place.path("lower/hard")).unwrap();
    let aliases = [Alias { parent: &root, name: b"hard" }, Alias { parent: &inner, name: b"link" }];
    place.upper.copy_up_links(&aliases, &original(What::File, Data::File(hard.as_fd()))).unwrap();
}

const ORIGIN: Origin<'_> = Origin { file_system: 1, inode: 77, object: None };

/// `changed`, copied up without its content.
fn copy_attributes(place: &Place) {
    let size = std::fs::metadata(place.path("lower/changed")).unwrap().len();
    let data = Data::Later { size, path: b"changed" };
    let changed = Original { permissions: 0o640, ..original(What::File, data) };
    place.upper.copy_up(&place.upper.root(), b"changed", &changed).unwrap();
}

/// `changed`, with the lower file's content where it has none.
fn partial(place: &Place) -> Partial {
    let file = place.upper.open_file(&place.upper.root(), b"changed", Access::ReadWrite).unwrap();
    let lower =
        crate::lower::directories(&[place.path("lower")], crate::lower::Namespace::User, None).unwrap();
    Partial { file: Arc::new(file), below: lower.lookup(b"changed").unwrap().unwrap() }
}

fn with_lacking(partial: &Partial, act: impl FnOnce(&Reader<'_>)) {
    let read = |at: u64, length: u32, give: &mut dyn FnMut(&[u8])| {
        partial.below.read(at, length, give).map_err(Into::into)
    };
    act(&Reader { size: u64::MAX, extents: Some(&partial.lacking().unwrap()), read: &read });
}

fn fill(place: &Place) {
    let partial = partial(place);
    with_lacking(&partial, |lacking| place.upper.fill(partial.file.as_fd(), lacking, &ORIGIN).unwrap());
}

fn write_block(place: &Place) {
    let partial = partial(place);
    place.upper.fill_by_blocks(partial.file.as_fd(), &ORIGIN, b"changed").unwrap();
    partial.write(b"!", 2).unwrap();
}

fn seal(place: &Place) {
    let partial = partial(place);
    with_lacking(&partial, |lacking| place.upper.pour(partial.file.as_fd(), lacking).unwrap());
    place.upper.sync_all().unwrap();
    place.upper.filled(partial.file.as_fd(), &ORIGIN).unwrap();
    place.upper.seal().unwrap();
}

fn unlink(place: &Place, name: &str) {
    place.upper.unlink(&place.upper.root(), name.as_bytes(), Below::Something).unwrap();
}

fn remove_directory(place: &Place, name: &str) {
    place.upper.remove_directory(&place.upper.root(), name.as_bytes(), Below::Something).unwrap();
}

fn empty_replaced(place: &Place) {
    let replaced = copy_of(place, "replaced");
    place.upper.unlink(&replaced, b"old", Below::Something).unwrap();
}

const SEQUENCES: [Sequence; 22] = [
    Sequence {
        name: "copy a file",
        before: |_| {},
        act: |place| copy(place, &place.upper.root(), "changed", "changed"),
    },
    Sequence { name: "copy attributes", before: |_| {}, act: copy_attributes },
    Sequence { name: "fill in", before: copy_attributes, act: fill },
    Sequence { name: "write a block", before: copy_attributes, act: write_block },
    Sequence { name: "kept: copy attributes", before: |_| {}, act: copy_attributes },
    Sequence { name: "kept: fill in", before: copy_attributes, act: fill },
    Sequence {
        name: "kept: fill in around a block",
        before: |place| {
            copy_attributes(place);
            write_block(place);
        },
        act: fill,
    },
    Sequence {
        name: "seal",
        before: |place| {
            copy_attributes(place);
            write_block(place);
        },
        act: seal,
    },
    Sequence { name: "copy a directory", before: |_| {}, act: |place| drop(copy_of(place, "dir")) },
    Sequence { name: "copy links", before: |place| drop(copy_of(place, "dir")), act: link_up },
    Sequence {
        name: "file over whiteout",
        before: |place| unlink(place, "gone"),
        act: |place| make_over(place, What::File),
    },
    Sequence {
        name: "directory over whiteout",
        before: |place| unlink(place, "gone"),
        act: |place| make_over(place, What::Directory),
    },
    Sequence { name: "unlink of lower", before: |_| {}, act: |place| unlink(place, "gone") },
    Sequence {
        name: "unlink of both",
        before: |place| copy(place, &place.upper.root(), "changed", "changed"),
        act: |place| unlink(place, "changed"),
    },
    Sequence {
        name: "rmdir of both",
        before: empty_replaced,
        act: |place| remove_directory(place, "replaced"),
    },
    Sequence {
        name: "rename a file",
        before: |place| copy(place, &place.upper.root(), "changed", "changed"),
        act: |place| move_file(place, "new", Target::Nothing),
    },
    Sequence {
        name: "rename a file over a whiteout",
        before: |place| {
            copy(place, &place.upper.root(), "changed", "changed");
            unlink(place, "gone");
        },
        act: |place| move_file(place, "gone", Target::Whiteout),
    },
    Sequence {
        name: "rename a directory",
        before: materialise,
        act: |place| move_directory(place, "new", Target::Nothing),
    },
    Sequence {
        name: "rename a directory over a whiteout",
        before: |place| {
            materialise(place);
            unlink(place, "gone");
        },
        act: |place| move_directory(place, "gone", Target::Whiteout),
    },
    Sequence {
        name: "rename a directory over an emptied one",
        before: |place| {
            materialise(place);
            empty_replaced(place);
        },
        act: |place| move_directory(place, "replaced", Target::Directory),
    },
    Sequence {
        name: "exchange",
        before: |place| {
            materialise(place);
            copy(place, &place.upper.root(), "changed", "changed");
        },
        act: |place| move_directory(place, "changed", Target::Exchange(Moved::Other)),
    },
    Sequence {
        name: "a name for a nameless file",
        before: |place| unlink(place, "gone"),
        act: |place| {
            let file = place.upper.temporary(&new(What::File, 0o600, Over::Nothing)).unwrap();
            place.upper.link_temporary(&file, &place.upper.root(), b"gone", Over::Whiteout).unwrap();
        },
    },
];

/// Not a test of its own: what is run to be harmed.
#[test]
fn the_one_that_is_harmed() {
    let (Ok(name), Ok(directory)) = (std::env::var(SEQUENCE), std::env::var(DIRECTORY)) else { return };
    let sequence = SEQUENCES.iter().find(|sequence| sequence.name == name).unwrap();
    (sequence.act)(&Place::at(Path::new(&directory), &options(sequence)));
}

fn options(sequence: &Sequence) -> Options {
    Options { kept: sequence.name.starts_with("kept: "), ..Options::default() }
}

/// What is done to a process at one of its system calls.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Kill,
    /// The call is not made, and says this.
    Fail(&'static str),
}

/// Runs a sequence in a process that is harmed at its `count`th `call`; whether it came so far.
fn harm(sequence: &Sequence, directory: &Path, harm: Harm, call: &str, count: usize) -> bool {
    let log = directory.join("strace");
    let what = match harm {
        Harm::Kill => "signal=KILL".to_owned(),
        Harm::Fail(errno) => format!("error={errno}"),
    };
    let mut command = Command::new("strace");
    command.arg("-f").arg("-o").arg(&log).args(["-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:{what}:when={count}")]).arg(std::env::current_exe().unwrap());
    let status = run(sequence, directory, command);
    match harm {
        Harm::Kill => {
            assert!(status.success() || status.signal() == Some(libc::SIGKILL), "{status}");
            !status.success()
        }
        Harm::Fail(_) => {
            let harmed = std::fs::read_to_string(log).unwrap().contains("INJECTED");
            assert!(harmed || status.success(), "{status}");
            harmed
        }
    }
}

fn run(sequence: &Sequence, directory: &Path, mut command: Command) -> ExitStatus {
    command.args(["--exact", "union::upper::tests::crash::the_one_that_is_harmed", "--test-threads", "1"]);
    command.env(SEQUENCE, sequence.name).env(DIRECTORY, directory).env("RUST_BACKTRACE", "0");
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

fn prepared(sequence: &Sequence) -> tempfile::TempDir {
    let place = Place::with("/dev/shm", &options(sequence));
    std::fs::create_dir(place.path("lower")).unwrap();
    make_lower(&place.path("."), &LOWER);
    std::fs::hard_link(place.path("lower/hard"), place.path("lower/dir/link")).unwrap();
    (sequence.before)(&place);
    place.closed()
}

/// What the kernel shows, if it may mount, and what we do; they are the same.
fn seen(directory: &Path) -> Vec<String> {
    // While the journal has a record, the kernel refuses the upper; we finish what was begun. And while files are filled
    // in part.
    let refused = || directory.join("work/work/incompat").exists();
    let namespace = if is_root() { Namespace::Trusted } else { Namespace::User };
    let by_kernel =
        || if refused() { None } else { Merged::mount(directory, namespace).map(|merged| merged.tree()) };
    let first = by_kernel();
    let place = Place::at(directory, &Options::default());
    let mut ours = Vec::new();
    merge(&place, Some(&place.upper.root()), Some(place.path("lower")), "", &mut ours);
    ours.sort();
    drop(place);
    assert_eq!(std::fs::read_dir(directory.join("work/plyfs/hl")).unwrap().count(), 0);
    for kernel in [first, by_kernel()].into_iter().flatten() {
        assert_eq!(kernel, ours);
    }
    ours
}

/// The plainest union there is, in the words of the kernel's tree.
fn merge(place: &Place, upper: Option<&Dir>, lower: Option<PathBuf>, path: &str, lines: &mut Vec<String>) {
    let uppers = upper.map(|upper| place.upper.list(upper).unwrap()).unwrap_or_default();
    let mut names: Vec<String> =
        uppers.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
    let lowers = lower.iter().flat_map(|lower| std::fs::read_dir(lower).unwrap());
    names.extend(lowers.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    names.sort();
    names.dedup();
    for name in names {
        let entry = upper.map(|upper| place.upper.entry(upper, name.as_bytes()).unwrap());
        let below = lower.as_ref().map(|lower| lower.join(&name)).filter(|below| below.exists());
        let path = format!("{path}/{name}");
        match (entry.unwrap_or(Entry::Absent), upper) {
            (Entry::Whiteout, _) => {}
            (Entry::Object(object), Some(upper)) if object.stat.kind == Kind::Directory => {
                lines.push(format!("{path} dir {:o}", object.stat.permissions));
                let inner = place.upper.open_dir(upper, name.as_bytes()).unwrap();
                let below = below.filter(|below| !object.opaque && below.is_dir());
                merge(place, Some(&inner), below, &path, lines);
            }
            (Entry::Object(object), Some(_)) if object.unfilled.is_some() => {
                let mut bytes = vec![0; 100];
                let read = partial(place).read(&mut bytes, 0).unwrap();
                lines.push(format!("{path} file {:?}", String::from_utf8_lossy(&bytes[..read])));
            }
            (Entry::Object(_), Some(upper)) => {
                let file = place.upper.open_file(upper, name.as_bytes(), Access::Read).unwrap();
                lines.push(format!("{path} file {:?}", std::io::read_to_string(file).unwrap()));
            }
            _ => merge_lower(place, &below.unwrap(), &path, lines),
        }
    }
}

fn merge_lower(place: &Place, below: &Path, path: &str, lines: &mut Vec<String>) {
    if below.is_dir() {
        lines.push(format!("{path} dir 755"));
        merge(place, None, Some(below.to_owned()), path, lines);
    } else {
        lines.push(format!("{path} file {:?}", std::fs::read_to_string(below).unwrap()));
    }
}

fn harm_everywhere(sequence: &Sequence, harm_by: Harm) {
    let before = seen(prepared(sequence).path());
    let finished = prepared(sequence);
    let own = Command::new(std::env::current_exe().unwrap());
    assert!(run(sequence, finished.path(), own).success());
    let after = seen(finished.path());
    let mut times = 0;
    for call in CALLS {
        for count in 1.. {
            let directory = prepared(sequence);
            if !harm(sequence, directory.path(), harm_by, call, count) {
                break;
            }
            times += 1;
            let seen = seen(directory.path());
            let which = (sequence.name, harm_by, call, count);
            assert!(
                seen == before || seen == after,
                "{which:?}: {seen:#?} is neither {before:#?} nor {after:#?}"
            );
        }
    }
    assert!(times > 5, "{}", sequence.name);
}

fn harm_all(harm: Harm) {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        skipped("there is no strace");
        return;
    }
    SEQUENCES.iter().for_each(|sequence| harm_everywhere(sequence, harm));
}

#[test]
fn a_process_killed_anywhere_leaves_before_or_after() {
    harm_all(Harm::Kill);
}

#[test]
fn a_full_or_broken_disk_leaves_before_or_after() {
    harm_all(Harm::Fail("ENOSPC"));
    harm_all(Harm::Fail("EIO"));
}
