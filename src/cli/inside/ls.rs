//! `plyfs ls`: what is in a directory of an image, with no mount.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use crate::cli::context::Context;
use crate::cli::error::{Told, tell};
use crate::cli::inside::attributes;
use crate::cli::inside::place::{Place, places};
use crate::cli::inside::walk::{Last, find, join};
use crate::cli::inside::{Images, Inside};
use crate::cli::output::{Output, printable};
use crate::cli::platform::Choice;
use crate::layer::{Id, Index, Kind};

/// List what is in an image, with no mount
///
/// `plyfs ls alpine:3.20 /etc /bin` or `plyfs ls alpine:3.20:/etc`: IMAGE:PATH is split at its last `:/`.
/// Links are followed inside of the image.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file; then paths in it
    #[arg(value_name = "IMAGE[:PATH]", required = true)]
    what: Vec<OsString>,
    /// Mode, links, owner, group, size and time too
    #[arg(short)]
    long: bool,
    /// Directories in directories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// For those who are used to it: names that start with a dot are always listed
    #[arg(short, long)]
    all: bool,
    /// One object a line
    #[arg(long, conflicts_with = "long")]
    json: bool,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let places = places(&arguments.what)?;
    let mut images = Images::new(context, arguments.platform.platform()?);
    let style = Style::of(arguments);
    let mut lister =
        Lister { out: Output::new(), style, headed: places.len() > 1 || arguments.recursive, any: false };
    let mut failed = false;
    for place in &places {
        if let Err(error) = images.get(&place.image).and_then(|inside| lister.list(inside, place, arguments))
        {
            // What was listed before comes before the word on what was not.
            lister.out.flush()?;
            tell(&error);
            failed = true;
        }
    }
    lister.out.finish()?;
    images.check_intact()?;
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Names,
    Long,
    Json,
}

impl Style {
    fn of(arguments: &Arguments) -> Self {
        match (arguments.json, arguments.long) {
            (true, _) => Self::Json,
            (_, true) => Self::Long,
            _ => Self::Names,
        }
    }
}

struct Lister {
    out: Output,
    style: Style,
    /// Whether each directory's name stands above what is in it.
    headed: bool,
    any: bool,
}

/// A name to be shown, and the path it is at.
struct Item {
    name: Vec<u8>,
    path: Vec<u8>,
    id: Id,
}

impl Lister {
    fn list(&mut self, inside: &Inside, place: &Place, arguments: &Arguments) -> anyhow::Result<()> {
        let tree = inside.tree();
        let last = if arguments.long { Last::Kept } else { Last::Followed };
        let id = find(tree, &place.path, last)?;
        if tree.inode(id).kind() != Kind::Directory {
            let item = Item { name: place.path.clone(), path: place.path.clone(), id };
            self.any = true;
            return self.items(tree, &[item]);
        }
        let mut todo = vec![(place.path.clone(), id)];
        while let Some((path, directory)) = todo.pop() {
            let items = items(tree, directory, &path);
            self.heading(&path)?;
            self.items(tree, &items)?;
            if arguments.recursive {
                let directories =
                    items.into_iter().filter(|item| tree.inode(item.id).kind() == Kind::Directory);
                todo.extend(directories.rev().map(|item| (item.path, item.id)));
            }
        }
        Ok(())
    }

    fn heading(&mut self, path: &[u8]) -> std::io::Result<()> {
        if !self.headed || self.style == Style::Json {
            return Ok(());
        }
        if std::mem::replace(&mut self.any, true) {
            writeln!(self.out)?;
        }
        self.name(path)?;
        writeln!(self.out, ":")
    }

    fn items(&mut self, tree: &Index, items: &[Item]) -> anyhow::Result<()> {
        match self.style {
            Style::Names => {
                for item in items {
                    self.name(&item.name)?;
                    writeln!(self.out)?;
                }
            }
            Style::Json => {
                for item in items {
                    writeln!(self.out, "{}", attributes::json(tree, item.id, &item.path)?)?;
                }
            }
            Style::Long => self.long(tree, items)?,
        }
        Ok(())
    }

    fn long(&mut self, tree: &Index, items: &[Item]) -> anyhow::Result<()> {
        let cells = |item: &Item| {
            let inode = tree.inode(item.id);
            let numbers = [inode.nlink().to_string(), inode.uid().to_string(), inode.gid().to_string()];
            (numbers, attributes::size(tree, item.id))
        };
        let rows: Vec<_> = items.iter().map(cells).collect();
        let width = |at: usize| rows.iter().map(|(numbers, _)| numbers[at].len()).max().unwrap_or(0);
        let (links, uid, gid) = (width(0), width(1), width(2));
        let size = rows.iter().map(|(_, size)| size.len()).max().unwrap_or(0);
        for (item, (numbers, bytes)) in items.iter().zip(&rows) {
            let inode = tree.inode(item.id);
            let mode = attributes::mode(inode.kind(), inode.mode());
            let [n, u, g] = numbers;
            let time = attributes::minute(inode.mtime());
            write!(self.out, "{mode} {n:>links$} {u:<uid$} {g:<gid$} {bytes:>size$} {time} ")?;
            self.name(&item.name)?;
            if inode.kind() == Kind::Symlink {
                write!(self.out, " -> ")?;
                self.name(tree.target(item.id)?)?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }

    /// On a terminal no name may steer it; elsewhere a name is its bytes.
    fn name(&mut self, name: &[u8]) -> std::io::Result<()> {
        if std::io::stdout().is_terminal() {
            write!(self.out, "{}", printable(name))
        } else {
            self.out.write_all(name)
        }
    }
}

fn items(tree: &Index, directory: Id, path: &[u8]) -> Vec<Item> {
    let item = |entry: crate::layer::index::Entry<'_>| Item {
        name: entry.name.to_vec(),
        path: join(path, entry.name),
        id: entry.id,
    };
    tree.children(directory).iter().filter(|entry| entry.kind != Kind::Whiteout).map(item).collect()
}
