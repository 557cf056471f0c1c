//! A mount's requests, a line each, as they are answered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::context::Context;
use crate::cli::error::warn;
use crate::cli::inside::lower;
use crate::cli::open::open;
use crate::cli::output::{Output, printable};
use crate::layer::{Id, Index, Kind};
use crate::lower::Lower;
use crate::mount::{self, Mount};
use crate::stats::{Event, Follow};

/// Short enough that what comes meanwhile finds room.
const PAUSE: Duration = Duration::from_millis(5);

pub fn follow(context: &Context, mount: &Mount) -> anyhow::Result<()> {
    let file = context.records().open_stats(&mount.record, mount::Reading::Following)?;
    let names = Names::of(context, mount);
    let mut follow = Follow::begin(&file)?;
    while !is_gone(&file)? {
        let (events, lost) = follow.answered()?;
        if lost > 0 {
            warn(&format!("{lost} requests came too fast to be shown"));
        }
        print(&events, &names)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// It goes with the mount.
fn is_gone(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() == 0)
}

fn print(events: &[Event], names: &Names) -> io::Result<()> {
    let mut out = Output::new();
    for event in events {
        writeln!(out, "{}", line(event, names))?;
    }
    out.finish()
}

fn line(event: &Event, names: &Names) -> String {
    let at = Timestamp::try_from(event.at).unwrap_or_default().to_zoned(TimeZone::system());
    let path = names.path(event.node, &event.name);
    let answer = match event.errno {
        0 => "ok".to_owned(),
        errno => {
            let text = io::Error::from_raw_os_error(errno).to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    };
    let took = event.took.as_nanos() as f64 / 1000.0;
    format!("{} {:<12} {path} = {answer} <{took:.1} us>", at.strftime("%H:%M:%S%.6f"), event.opcode.name())
}

/// The paths of an image's inodes. What is only in an upper is told by its number.
struct Names {
    image: Option<Lower>,
    parents: HashMap<Id, (Id, usize)>,
}

impl Names {
    /// An image that is not found any more has no names here, and is followed all the same.
    fn of(context: &Context, mount: &Mount) -> Self {
        let image = open(context, &mount.record.image, None).and_then(|opened| lower(&opened)).ok();
        let parents = image.as_ref().map(|image| parents(image.tree())).unwrap_or_default();
        Self { image, parents }
    }

    fn path(&self, node: u64, name: &[u8]) -> String {
        let directory = self.known(node).unwrap_or_else(|| format!("#{node}"));
        match (directory.as_str(), name) {
            (_, []) => directory,
            ("/", name) => format!("/{}", printable(name)),
            (_, name) => format!("{directory}/{}", printable(name)),
        }
    }

    fn known(&self, node: u64) -> Option<String> {
        let tree = self.image.as_ref()?.tree();
        let mut at = id_of(node).filter(|id| *id < tree.len())?;
        let mut path = String::new();
        while at != 0 {
            let (parent, position) = *self.parents.get(&at)?;
            let entry = tree.children(parent).get(position)?;
            path = format!("/{}{path}", printable(entry.name));
            at = parent;
        }
        Some(if path.is_empty() { "/".to_owned() } else { path })
    }
}

/// A node of the image, alone or below an upper, is its inode's number and one; an upper's have another file system's.
fn id_of(node: u64) -> Option<Id> {
    const FILE_SYSTEM: u64 = 1 << 56;
    let number = if node & FILE_SYSTEM == 0 { node } else { node ^ FILE_SYSTEM };
    Id::try_from(number.checked_sub(1)?).ok()
}

/// Where each inode has its first name: a directory stands before what is in it, so that no way leads in a circle.
fn parents(tree: &Index) -> HashMap<Id, (Id, usize)> {
    let mut found = HashMap::new();
    for directory in (0..tree.len()).filter(|id| tree.inode(*id).kind() == Kind::Directory) {
        for (position, entry) in tree.children(directory).iter().enumerate() {
            if entry.kind != Kind::Directory || entry.id > directory {
                found.entry(entry.id).or_insert((directory, position));
            }
        }
    }
    found
}
