//! The file system work that `scripts/bench` times, without a shell or an interpreter in the way.
//!
//!     work stat  DIR LIST  lstat below DIR every path that LIST names, NUL after each: nothing of DIR is read before
//!     work open  DIR       open, read and close every regular file of at most 16 KiB below DIR
//!     work miss  DIR N     look up N names that are not there, in the directories below DIR
//!     work read  FILE      read a file in 128 KiB pieces
//!
//! Prints the seconds that the work took; lists of paths are made before the clock starts.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints what it measured")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const SMALL: u64 = 16 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(seconds) => {
            println!("{seconds:.6}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("work {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<f64> {
    match words {
        ["stat", dir, list] => timed(listed(dir, list)?, |path| fs::symlink_metadata(path).map(drop)),
        ["open", dir] => timed(paths(dir, &Wanted::SmallFiles)?, read),
        ["miss", dir, count] => {
            let count = count.parse().map_err(io::Error::other)?;
            timed(missing(dir, count)?, |path| match fs::symlink_metadata(path) {
                Ok(_) => Err(io::Error::other(format!("{} is there", path.display()))),
                Err(_) => Ok(()),
            })
        }
        ["read", file] => timed(vec![PathBuf::from(file)], read),
        // `cargo bench` calls without words: there is nothing to measure on its own.
        [] => Ok(0.0),
        _ => Err(io::Error::other("usage: work stat DIR LIST | open DIR | miss DIR N | read FILE")),
    }
}

fn timed(paths: Vec<PathBuf>, mut each: impl FnMut(&Path) -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();
    for path in &paths {
        each(path)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn read(path: &Path) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    let mut file = File::open(path)?;
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

fn listed(top: &str, list: &str) -> io::Result<Vec<PathBuf>> {
    let names = fs::read(list)?;
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| Path::new(top).join(OsStr::from_bytes(name))).collect())
}

enum Wanted {
    All,
    SmallFiles,
}

fn paths(top: &str, wanted: &Wanted) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(top)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            }
            let take = match wanted {
                Wanted::All => true,
                Wanted::SmallFiles => kind.is_file() && entry.metadata()?.size() <= SMALL,
            };
            if take {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn missing(top: &str, count: usize) -> io::Result<Vec<PathBuf>> {
    let dirs: Vec<PathBuf> =
        paths(top, &Wanted::All)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect();
    Ok((0..count).map(|turn| dirs[turn % dirs.len()].join(format!("no-such-name-{turn}"))).collect())
}
