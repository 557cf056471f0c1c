//! What users wait for, by name. Each is done on every driver in the same way; what it needs first is not counted.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use super::driver::{Abilities, Mode};
use super::program::{command, find, run};
use super::site::{Bed, Facts, Site};
use super::{Error, work};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// From the image's file, or from nothing mounted, to something to look into.
    Start,
    Read,
    Write,
    /// The user's own.
    Own,
}

/// What the machine remembers when the clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Temperature {
    /// Nothing; and the mount is new.
    Cold,
    /// Contents, but no names or inodes; and the mount is new.
    Forgotten,
    Warm,
}

impl Temperature {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Forgotten => "forgotten",
            Self::Warm => "warm",
        }
    }
}

/// Done in the tree of a driver.
pub type Work = dyn Fn(&Site<'_>) -> std::io::Result<()>;

pub enum Task {
    /// What makes the tree be there, from the image's file on, to the first file that is read.
    FromFile,
    /// The same from what is kept of the image.
    Mount,
    Inside(Box<Work>),
    Program(fn(&Site<'_>) -> Command),
    Own(String),
}

pub struct Workload {
    pub name: String,
    pub title: String,
    pub group: Group,
    pub temperatures: &'static [Temperature],
    pub task: Task,
    /// Done before the clock starts, in the tree that is worked in.
    pub prepare: fn(&Site<'_>) -> Result<(), Error>,
    /// What of the tree is written to, so that a copy of it does.
    pub needs: fn(&Facts) -> Vec<PathBuf>,
    /// Why it can't be done here.
    pub lacks: fn(&Bed) -> Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("unknown workload `{0}`; there are {names}, and cmd:COMMAND", names = names().join(", "))]
pub struct UnknownWorkload(String);

use Temperature::{Cold, Forgotten, Warm};

const WARM: &[Temperature] = &[Warm];
const FORGOTTEN: &[Temperature] = &[Forgotten];
const COLD: &[Temperature] = &[Cold];
const FORGOTTEN_WARM: &[Temperature] = &[Forgotten, Warm];
const COLD_WARM: &[Temperature] = &[Cold, Warm];

impl Workload {
    pub fn new(
        name: &str,
        title: &str,
        group: Group,
        temperatures: &'static [Temperature],
        task: Task,
    ) -> Self {
        let none = |_: &Facts| Vec::new();
        let ready = |_: &Site<'_>| Ok(());
        let (name, title) = (name.to_owned(), title.to_owned());
        Self { name, title, group, temperatures, task, prepare: ready, needs: none, lacks: |_| None }
    }

    fn read(name: &str, title: &str, temperatures: &'static [Temperature], task: Task) -> Self {
        Self::new(name, title, Group::Read, temperatures, task)
    }

    fn write(name: &str, title: &str, task: Task) -> Self {
        Self::new(name, title, Group::Write, FORGOTTEN, task)
    }

    fn needing(self, needs: fn(&Facts) -> Vec<PathBuf>) -> Self {
        Self { needs, ..self }
    }

    fn prepared(self, prepare: fn(&Site<'_>) -> Result<(), Error>) -> Self {
        Self { prepare, ..self }
    }

    fn unless(self, lacks: fn(&Bed) -> Option<String>) -> Self {
        Self { lacks, ..self }
    }

    fn own(words: &str) -> Self {
        let task = Task::Own(words.to_owned());
        Self::new(words, words, Group::Own, FORGOTTEN, task).needing(|_| vec![PathBuf::from(".")])
    }

    pub fn mode(&self) -> Mode {
        match self.group {
            Group::Start | Group::Read => Mode::Read,
            Group::Write | Group::Own => Mode::Write,
        }
    }

    pub fn suits(&self, abilities: Abilities) -> bool {
        match (&self.task, self.mode()) {
            (Task::FromFile, _) => abilities.from_file,
            (_, Mode::Read) => abilities.read,
            (_, Mode::Write) => abilities.write,
        }
    }

    /// Those that are named, or all.
    pub fn parse_all<S: AsRef<str>>(words: &[S]) -> Result<Vec<Self>, UnknownWorkload> {
        if words.is_empty() {
            return Ok(all());
        }
        words.iter().map(|word| Self::parse(word.as_ref())).collect()
    }

    fn parse(word: &str) -> Result<Self, UnknownWorkload> {
        let unknown = || UnknownWorkload(word.to_owned());
        match word.strip_prefix("cmd:") {
            Some("") => Err(unknown()),
            Some(words) => Ok(Self::own(words)),
            None => all().into_iter().find(|workload| workload.name == word).ok_or_else(unknown),
        }
    }
}

fn names() -> Vec<String> {
    all().into_iter().map(|workload| workload.name).collect()
}

fn all() -> Vec<Workload> {
    let start = |name, title, task| Workload::new(name, title, Group::Start, FORGOTTEN, task);
    let mut all = vec![
        start("first-file", "from the image's file to the first file read", Task::FromFile),
        start("mount", "mount, and read a file", Task::Mount),
    ];
    all.extend(reads());
    all.extend(writes());
    all
}

fn inside(work: fn(&Site<'_>) -> std::io::Result<()>) -> Task {
    Task::Inside(Box::new(work))
}

fn reads() -> Vec<Workload> {
    let read = Workload::read;
    vec![
        read("find", "find with the size of each file", FORGOTTEN_WARM, Task::Program(find_sizes)),
        read("stat", "stat of every path", FORGOTTEN_WARM, inside(work::stat_all)),
        read("missing", "30,000 names that are not there", WARM, inside(work::look_up_missing)),
        read("read-all", "read every file", COLD, inside(work::read_all)),
        read("tar", "tar of everything", WARM, Task::Program(tar_all)),
        read("open", "open, read and close small files", WARM, inside(work::open_small)),
        read("readers", "eight readers of small files at once", COLD_WARM, inside(work::read_side_by_side)),
        read("read", "the biggest file, front to back", COLD_WARM, inside(work::read_big)),
        read("random", "4,096 pages here and there in it", COLD_WARM, inside(work::read_random)),
        read("fio", "fio, random reads", WARM, Task::Program(fio)).unless(|_| lacks_program("fio", "fio")),
        read("python", "start of Python", FORGOTTEN_WARM, Task::Program(python))
            .unless(|bed| lacks_file(bed, "usr/bin/python3")),
        read("perl", "start of Perl", WARM, Task::Program(perl))
            .unless(|bed| lacks_file(bed, "usr/bin/perl")),
    ]
}

fn writes() -> Vec<Workload> {
    let write = Workload::write;
    let named = |name, title, work| write(name, title, inside(work));
    let program = |name, title, task| write(name, title, Task::Program(task));
    let many = |facts: &Facts| vec![facts.many.clone()];
    vec![
        named("create", "create 2,000 files", work::create).prepared(|site| done(work::make_directory(site))),
        named("unlink", "unlink them", work::unlink).prepared(|site| done(work::make_and_create(site))),
        named("rename", "rename them", work::rename).prepared(|site| done(work::make_and_create(site))),
        named("mkdir", "make 2,000 directories", work::make_directories)
            .prepared(|site| done(work::make_directory(site))),
        named("copy-up", "write a byte to the biggest file", work::append_to_big)
            .needing(|facts| vec![facts.big.clone()]),
        named("write", "write 256 MiB by 128 KiB", work::write_large),
        named("write-small", "write 32 MiB by 4 KiB", work::write_small),
        program("chmod", "chmod -R of a tree of the image", chmod).needing(many),
        program("rm", "rm -rf of it", remove).needing(many),
        program("untar", "untar it beside", untar).prepared(make_tarball),
        program("git-clone", "git clone of it", git_clone)
            .prepared(make_repository)
            .unless(|_| lacks_program("git", "git")),
        program("git-status", "git status of the clone", git_status)
            .prepared(clone_first)
            .unless(|_| lacks_program("git", "git")),
        program("build", "make -j2 of 40 C files", build)
            .prepared(copy_source)
            .unless(|_| lacks_program("cc", "gcc").or_else(|| lacks_program("make", "make"))),
        program("install", "dpkg -i of a package of 500 files", install)
            .prepared(make_package)
            .needing(|_| vec![PathBuf::from("var/lib/dpkg")])
            .unless(|bed| match bed.rights.is_root() {
                true => lacks_program("dpkg-deb", "dpkg").or_else(|| lacks_file(bed, "var/lib/dpkg/status")),
                false => Some("dpkg takes root".to_owned()),
            }),
    ]
}

fn done(result: std::io::Result<()>) -> Result<(), Error> {
    result.map_err(Error::doing("preparing"))
}

fn lacks_program(program: &str, package: &str) -> Option<String> {
    find(program).is_none().then(|| format!("{program} is missing: apt-get install {package}"))
}

fn lacks_file(bed: &Bed, path: &str) -> Option<String> {
    let there = fs::symlink_metadata(bed.tree().join(path)).is_ok();
    (!there).then(|| format!("the image has no /{path}"))
}

fn find_sizes(site: &Site<'_>) -> Command {
    let mut find = Command::new("find");
    find.arg(site.root).args(["-printf", "%s"]);
    find
}

fn tar_all(site: &Site<'_>) -> Command {
    // tar reads nothing if it sees that its output is /dev/null.
    let mut tar = command("sh", &["-c", "tar -C \"$1\" --one-file-system -cf - . | cat >/dev/null", "sh"]);
    tar.arg(site.root);
    tar
}

fn fio(site: &Site<'_>) -> Command {
    let mut fio = Command::new("fio");
    fio.arg(format!("--filename={}", site.root.join(&site.facts.big).display()));
    fio.args([
        "--name=random",
        "--rw=randread",
        "--readonly",
        "--bs=4k",
        "--number_ios=20000",
        "--ioengine=psync",
    ]);
    fio.args(["--output-format=terse", "--randrepeat=1", "--invalidate=0"]);
    fio
}

fn chroot(site: &Site<'_>, words: &[&str]) -> Command {
    let mut chroot = Command::new("chroot");
    chroot.arg(site.root).args(words);
    chroot
}

fn python(site: &Site<'_>) -> Command {
    chroot(site, &["/usr/bin/python3", "-c", "import json, ssl, http.client"])
}

fn perl(site: &Site<'_>) -> Command {
    chroot(site, &["/usr/bin/perl", "-MPOSIX", "-e", "1"])
}

fn chmod(site: &Site<'_>) -> Command {
    let mut chmod = command("chmod", &["-R", "g+w"]);
    chmod.arg(site.root.join(&site.facts.many));
    chmod
}

fn remove(site: &Site<'_>) -> Command {
    let mut remove = command("rm", &["-rf"]);
    remove.arg(site.root.join(&site.facts.many));
    remove
}

fn make_tarball(site: &Site<'_>) -> Result<(), Error> {
    done(work::make_directory(site))?;
    let tarball = site.bed.path("many.tar");
    if tarball.exists() {
        return Ok(());
    }
    let mut tar = Command::new("tar");
    run(tar.arg("-C").arg(site.bed.tree()).arg("-cf").arg(&tarball).arg(&site.facts.many)).map(drop)
}

fn untar(site: &Site<'_>) -> Command {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(site.made()).arg("-xf").arg(site.bed.path("many.tar"));
    tar
}

/// git, heeding nobody's settings.
fn git() -> Command {
    let mut git = command(
        "git",
        &["-c", "safe.directory=*", "-c", "user.name=bench", "-c", "user.email=bench@localhost"],
    );
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    git
}

fn make_repository(site: &Site<'_>) -> Result<(), Error> {
    let repository = site.bed.path("repository");
    if repository.exists() {
        return Ok(());
    }
    fs::create_dir(&repository).map_err(Error::doing("making a directory"))?;
    run(command("cp", &["-r"]).arg(site.bed.tree().join(&site.facts.many)).arg(repository.join("tree")))?;
    for words in [&["init", "-q"][..], &["add", "-A", "-f"], &["commit", "-q", "-m", "all"]] {
        run(git().arg("-C").arg(&repository).args(words))?;
    }
    Ok(())
}

fn git_clone(site: &Site<'_>) -> Command {
    let mut clone = git();
    clone.args(["clone", "-q", "--no-hardlinks"]).arg(site.bed.path("repository")).arg(site.made());
    clone
}

fn clone_first(site: &Site<'_>) -> Result<(), Error> {
    make_repository(site)?;
    run(&mut git_clone(site)).map(drop)
}

fn git_status(site: &Site<'_>) -> Command {
    let mut status = git();
    status.arg("-C").arg(site.made()).args(["status", "--porcelain"]);
    status
}

fn copy_source(site: &Site<'_>) -> Result<(), Error> {
    let write = || {
        fs::create_dir(site.made())?;
        let mut objects = String::new();
        for number in 0..40 {
            let text = format!(
                "#include <stdio.h>\nint f{number}(int x) {{ return printf(\"%d\", x) + {number}; }}\n"
            );
            fs::write(site.made().join(format!("f{number}.c")), text)?;
            objects += &format!(" f{number}.o");
        }
        fs::write(site.made().join("Makefile"), format!("all.a:{objects}\n\tar rc $@ $^\n"))
    };
    done(write())
}

fn build(site: &Site<'_>) -> Command {
    let mut make = command("make", &["-s", "-j2", "-C"]);
    make.arg(site.made());
    make
}

fn make_package(site: &Site<'_>) -> Result<(), Error> {
    let package = site.bed.path("package");
    if package.exists() {
        return Ok(());
    }
    let write = || {
        let (control, files) = (package.join("DEBIAN"), package.join("opt/plyfs-bench"));
        fs::create_dir_all(&control)?;
        fs::create_dir_all(&files)?;
        let about = "Package: plyfs-bench\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: files\n";
        fs::write(control.join("control"), about)?;
        (0..500).try_for_each(|number| fs::write(files.join(format!("file-{number}")), [b'x'; 2048]))
    };
    done(write())?;
    run(command("dpkg-deb", &["-q", "--build"]).arg(&package).arg(site.bed.path("package.deb"))).map(drop)
}

fn install(site: &Site<'_>) -> Command {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", site.root.display()))
        .args(["--force-all", "-i"])
        .arg(site.bed.path("package.deb"));
    dpkg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_found_by_name_and_commands_are_the_users_own() {
        let found = Workload::parse_all(&["find", "cmd:make -j2"]).unwrap();
        let facts: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.group, one.mode())).collect();
        assert_eq!(facts, [("find", Group::Read, Mode::Read), ("make -j2", Group::Own, Mode::Write)]);
        let refused = Workload::parse_all(&["fnid"]).err().map(|error| error.to_string()).unwrap();
        assert!(
            refused.starts_with("unknown workload `fnid`; there are first-file, mount, find"),
            "{refused}"
        );
    }

    #[test]
    fn no_two_workloads_share_a_name() {
        let mut names = names();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
