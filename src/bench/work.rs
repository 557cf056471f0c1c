//! The file system work that is timed, without a shell or an interpreter in the way. Lists of paths are made before
//! the clock starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use super::site::Site;
use super::statistics::Chance;

const PIECE: usize = 128 * 1024;
/// How many names are made, moved and removed.
pub const NAMES: usize = 2000;
const MISSING: usize = 30_000;
const RANDOM_READS: usize = 4096;
const READERS: usize = 8;

/// lstat of every path, in the order that it was listed in.
pub fn stat_all(site: &Site<'_>) -> io::Result<()> {
    site.facts.all.iter().try_for_each(|path| fs::symlink_metadata(site.root.join(path)).map(drop))
}

pub fn open_small(site: &Site<'_>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    site.facts.small.iter().try_for_each(|path| read_whole(&site.root.join(path), &mut buffer))
}

pub fn read_all(site: &Site<'_>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    site.facts.files.iter().try_for_each(|path| read_whole(&site.root.join(path), &mut buffer))
}

pub fn read_big(site: &Site<'_>) -> io::Result<()> {
    read_whole(&site.root.join(&site.facts.big), &mut vec![0; PIECE])
}

/// Pages here and there, the same ones every time.
pub fn read_random(site: &Site<'_>) -> io::Result<()> {
    let file = File::open(site.root.join(&site.facts.big))?;
    let pages = site.facts.big_size / 4096;
    let (mut chance, mut page) = (Chance::new(), [0; 4096]);
    (0..RANDOM_READS).try_for_each(|_| file.read_at(&mut page, chance.below(pages) * 4096).map(drop))
}

pub fn look_up_missing(site: &Site<'_>) -> io::Result<()> {
    let directories = &site.facts.directories;
    (0..MISSING).try_for_each(|turn| {
        let path =
            site.root.join(&directories[turn % directories.len()]).join(format!("no-such-name-{turn}"));
        match fs::symlink_metadata(&path) {
            Ok(_) => Err(io::Error::other(format!("{} is there", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// Several threads, each with every so many of the files.
pub fn read_side_by_side(site: &Site<'_>) -> io::Result<()> {
    readers(site, READERS)
}

pub fn readers(site: &Site<'_>, count: usize) -> io::Result<()> {
    let read = |first: usize| {
        let mut buffer = vec![0; PIECE];
        let own = site.facts.small.iter().skip(first).step_by(count);
        own.map(|path| site.root.join(path)).try_for_each(|path| read_whole(&path, &mut buffer))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|first| scope.spawn(move || read(first))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))
        })
    })
}

fn read_whole(path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    while file.read(buffer)? > 0 {}
    Ok(())
}

pub fn read_first(site: &Site<'_>) -> io::Result<()> {
    read_whole(&site.root.join(&site.facts.first), &mut vec![0; PIECE])
}

fn names(site: &Site<'_>) -> impl Iterator<Item = std::path::PathBuf> {
    let directory = site.made();
    (0..NAMES).map(move |number| directory.join(format!("file-{number:04}")))
}

pub fn make_directory(site: &Site<'_>) -> io::Result<()> {
    fs::create_dir(site.made())
}

/// New files of a kilobyte each.
pub fn create(site: &Site<'_>) -> io::Result<()> {
    names(site).try_for_each(|path| {
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(&[b'x'; 1024])
    })
}

pub fn make_and_create(site: &Site<'_>) -> io::Result<()> {
    make_directory(site)?;
    create(site)
}

pub fn unlink(site: &Site<'_>) -> io::Result<()> {
    names(site).try_for_each(fs::remove_file)
}

pub fn rename(site: &Site<'_>) -> io::Result<()> {
    names(site).try_for_each(|path| fs::rename(&path, path.with_extension("renamed")))
}

pub fn make_directories(site: &Site<'_>) -> io::Result<()> {
    names(site).try_for_each(fs::create_dir)
}

pub fn write_large(site: &Site<'_>) -> io::Result<()> {
    write_pieces(site, 256 << 20, 128 << 10)
}

pub fn write_small(site: &Site<'_>) -> io::Result<()> {
    write_pieces(site, 32 << 20, 4 << 10)
}

fn write_pieces(site: &Site<'_>, length: usize, piece: usize) -> io::Result<()> {
    let bytes = vec![b'x'; piece];
    let mut file = File::create_new(site.made())?;
    (0..length / piece).try_for_each(|_| file.write_all(&bytes))
}

/// A byte more at the end of the biggest file.
pub fn append_to_big(site: &Site<'_>) -> io::Result<()> {
    OpenOptions::new().append(true).open(site.root.join(&site.facts.big))?.write_all(b"x")
}
