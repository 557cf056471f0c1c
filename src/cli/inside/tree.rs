//! `plyfs tree`: an image's tree, drawn, with no mount.

use std::ffi::OsString;
use std::io::Write;

use crate::cli::context::Context;
use crate::cli::inside::Images;
use crate::cli::inside::place;
use crate::cli::inside::walk::{Last, find};
use crate::cli::output::{Output, printable};
use crate::cli::platform::Choice;
use crate::layer::{Id, Index, Kind, index};

/// Draw an image's tree, with no mount
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file; and a directory in it
    #[arg(value_name = "IMAGE[:PATH]")]
    what: OsString,
    /// The directory, if it does not stand behind the image
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    /// How many levels deep
    #[arg(short = 'L', long = "level", value_name = "LEVELS", value_parser = clap::value_parser!(u32).range(1..))]
    levels: Option<u32>,
    /// Directories only
    #[arg(short, long = "dirs-only")]
    directories: bool,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let what: Vec<OsString> = [&arguments.what].into_iter().chain(&arguments.path).cloned().collect();
    let places = place::places(&what)?;
    let mut images = Images::new(context, arguments.platform.platform()?);
    let mut drawing = Drawing { out: Output::new(), directories: 0, files: 0 };
    for place in &places {
        let tree = images.get(&place.image)?.tree();
        let top = find(tree, &place.path, Last::Followed)?;
        writeln!(drawing.out, "{}", printable(&place.path))?;
        drawing.draw(tree, top, arguments)?;
    }
    images.check_intact()?;
    let Drawing { mut out, directories, files } = drawing;
    let s = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    write!(out, "\n{}", s(directories, "directory", "directories"))?;
    if !arguments.directories {
        write!(out, ", {}", s(files, "file", "files"))?;
    }
    writeln!(out)?;
    Ok(out.finish()?)
}

struct Drawing {
    out: Output,
    directories: u64,
    files: u64,
}

/// A directory on the way: what is in it, how much of that is drawn, and what stands left of it.
struct Level<'a> {
    entries: Vec<index::Entry<'a>>,
    next: usize,
    indent: String,
}

impl Drawing {
    /// With a stack of its own: an image may be deeper than a thread's.
    fn draw(&mut self, tree: &Index, top: Id, arguments: &Arguments) -> anyhow::Result<()> {
        let deepest = arguments.levels.map_or(usize::MAX, |levels| levels as usize);
        let mut levels = vec![level(tree, top, arguments.directories, String::new())];
        while let Some(Level { entries, next, indent }) = levels.last_mut() {
            let Some(entry) = entries.get(*next).copied() else {
                levels.pop();
                continue;
            };
            *next += 1;
            let is_last = *next == entries.len();
            self.line(tree, &entry, indent, is_last)?;
            let indent = format!("{indent}{}", if is_last { "    " } else { "│   " });
            if entry.kind == Kind::Directory && levels.len() < deepest {
                levels.push(level(tree, entry.id, arguments.directories, indent));
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        tree: &Index,
        entry: &index::Entry<'_>,
        indent: &str,
        is_last: bool,
    ) -> anyhow::Result<()> {
        let branch = if is_last { "└── " } else { "├── " };
        write!(self.out, "{indent}{branch}{}", printable(entry.name))?;
        match entry.kind {
            Kind::Directory => self.directories += 1,
            Kind::Symlink => {
                self.files += 1;
                write!(self.out, " -> {}", printable(tree.target(entry.id)?))?;
            }
            _ => self.files += 1,
        }
        Ok(writeln!(self.out)?)
    }
}

fn level(tree: &Index, directory: Id, only_directories: bool, indent: String) -> Level<'_> {
    let shown = |entry: &index::Entry<'_>| match entry.kind {
        Kind::Whiteout => false,
        Kind::Directory => true,
        _ => !only_directories,
    };
    Level { entries: tree.children(directory).iter().filter(shown).collect(), next: 0, indent }
}
