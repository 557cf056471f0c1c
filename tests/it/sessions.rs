//! Sessions at a terminal: the `console` blocks of tests/cli/*.md and README.md are run and must print what they say.
//!
//! `$ ` starts a command for bash, `> ` goes on with it; what follows is stdout and stderr together. `? 2` says the exit
//! status where it is not 0. `[..]` stands for anything in a line, `...` for any lines. A block marked
//! ```` ```console fuse ```` runs only where images can be mounted, one marked `run` only where an OCI runtime is there
//! too; its commands find the machine's own programs for an image that has none in `$HOST`. Each file has a directory, a store, the fixture
//! images hello.tar and hello.oci, and at `$REGISTRY` a registry of its own, which takes any login. `PLYFS_BLESS=1` writes what came
//! instead of comparing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::fixture::Fixture;
use crate::support::server::Server;

/// A place to run commands in, and what they find there.
struct Terminal {
    home: tempfile::TempDir,
    registry: Server,
    fuse: bool,
    runtime: bool,
}

/// A command and what it is to print, as lines of the file.
#[derive(Debug)]
struct Step {
    command: String,
    expected: Vec<String>,
    status: i32,
}

#[derive(Debug)]
struct Outcome {
    printed: Vec<String>,
    status: i32,
}

impl Terminal {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let hello = || Fixture::parse(include_str!("../../fixtures/hello.layers")).unwrap();
        fs::write(home.path().join("hello.tar"), hello().docker_archive().unwrap()).unwrap();
        hello().oci_layout(&home.path().join("hello.oci")).unwrap();
        let mut terminal = Self { home, registry: Server::plain(), fuse: false, runtime: false };
        terminal.fuse = terminal.run("plyfs doctor").status == 0;
        terminal.runtime = terminal.run("command -v crun || command -v runc").status == 0;
        terminal
    }

    fn run(&self, command: &str) -> Outcome {
        let program = Path::new(env!("CARGO_BIN_EXE_plyfs")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.home.path())
            .env_clear()
            .envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("COLUMNS", "100")])
            .env("HOME", self.home.path())
            .env("PLYFS_ROOT", self.home.path().join("store"))
            .env("REGISTRY", &self.registry.address)
            .env("HOST", "-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.replace(self.home.path().to_str().unwrap(), "~");
        let text = text.replace(&self.registry.address, "$REGISTRY");
        let printed = text.lines().map(|line| line.trim_end().to_owned()).collect();
        Outcome { printed, status: output.status.code().unwrap_or(-1) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.run("plyfs rm --all --force; plyfs umount --all --force");
    }
}

fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line == "..." => (0..=printed.len()).any(|at| matches(rest, &printed[at..])),
        Some((line, rest)) => {
            printed.first().is_some_and(|first| line_matches(line, first)) && matches(rest, &printed[1..])
        }
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let mut parts = expected.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Runs a file's sessions; returns it with what was printed, and what was not as it said.
fn play(text: &str, terminal: &Terminal) -> (String, Vec<String>) {
    let mut written = String::new();
    let mut wrong = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        let Some(mark) = line.strip_prefix("```console") else { continue };
        let block: Vec<&str> = std::iter::from_fn(|| lines.next_if(|line| *line != "```")).collect();
        let possible = match mark.trim() {
            "fuse" => terminal.fuse,
            "run" => terminal.fuse && terminal.runtime,
            _ => true,
        };
        if !possible {
            eprintln!("skipped, that can't be mounted or run here: {}", block.join("\n"));
            block.iter().for_each(|line| written.push_str(&format!("{line}\n")));
            continue;
        }
        for step in steps(&block) {
            written.push_str(&play_step(&step, terminal, &mut wrong));
        }
    }
    (written, wrong)
}

fn play_step(step: &Step, terminal: &Terminal, wrong: &mut Vec<String>) -> String {
    let outcome = terminal.run(&step.command);
    let as_said = outcome.status == step.status && matches(&step.expected, &outcome.printed);
    if !as_said {
        wrong.push(format!("{step:#?}\nwas {outcome:#?}"));
    }
    let printed = if as_said { &step.expected } else { &outcome.printed };
    let mut text = format!("$ {}\n", step.command.replace('\n', "\n> "));
    if outcome.status != 0 {
        text.push_str(&format!("? {}\n", outcome.status));
    }
    printed.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    text
}

fn steps(block: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), expected: Vec::new(), status: 0 });
            continue;
        }
        let step = steps.last_mut().expect("a block starts with a command");
        match (line.strip_prefix("> "), line.strip_prefix("? ")) {
            (Some(more), _) if step.expected.is_empty() => step.command.push_str(&format!("\n{more}")),
            (_, Some(status)) if step.expected.is_empty() => step.status = status.parse().unwrap(),
            _ => step.expected.push(line.trim_end().to_owned()),
        }
    }
    steps
}

fn check(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let (written, wrong) = play(&text, &Terminal::new());
    if std::env::var_os("PLYFS_BLESS").is_some() {
        fs::write(path, written).unwrap();
        return Vec::new();
    }
    wrong.into_iter().map(|wrong| format!("{}: {wrong}", path.display())).collect()
}

#[test]
fn every_session_prints_what_it_says() {
    let wrong: Vec<String> = session_files().iter().flat_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// All commands that do something themselves, as they are called.
fn commands(command: &clap::Command, called: &str) -> Vec<String> {
    let below: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    match below.as_slice() {
        [] => vec![called.to_owned()],
        below => {
            below.iter().flat_map(|sub| commands(sub, &format!("{called} {}", sub.get_name()))).collect()
        }
    }
}

fn session_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sessions = fs::read_dir(root.join("tests/cli")).unwrap();
    let mut files: Vec<PathBuf> = sessions.map(|entry| entry.unwrap().path()).collect();
    files.push(root.join("README.md"));
    files.sort();
    files
}

#[test]
fn every_command_is_seen_to_work_and_to_refuse() {
    let text: String = session_files().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("```")).collect();
    let steps = steps(&lines[lines.iter().position(|line| line.starts_with("$ ")).unwrap()..]);
    let calls = |step: &Step, name: &str| {
        let ends = |rest: &str| !rest.starts_with(|next: char| next == '-' || next.is_alphanumeric());
        step.command.match_indices(name).any(|(at, _)| ends(&step.command[at + name.len()..]))
    };
    let lacks: Vec<String> = commands(&plyfs::cli::command(), "plyfs")
        .into_iter()
        .flat_map(|name| {
            let seen =
                |works: bool| steps.iter().any(|step| (step.status == 0) == works && calls(step, &name));
            // Root, who may run these, is told that there is no need; tests/outside/podman shows it for others.
            let works = name == "plyfs unshare" || seen(true);
            let lack = |seen: bool, what: &str| (!seen).then(|| format!("{name} is not seen to {what}"));
            [lack(works, "work"), lack(seen(false), "refuse")].into_iter().flatten().collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(lacks, Vec::<String>::new());
}

#[test]
fn wildcards_stand_for_anything() {
    assert!(line_matches("a [..] c", "a bb c"));
    assert!(!line_matches("a [..] c", "a bb d"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(matches(&lines("1\n...\n9"), &lines("1\n2\n3\n9")));
    assert!(!matches(&lines("1\n...\n8"), &lines("1\n2\n3\n9")));
}
