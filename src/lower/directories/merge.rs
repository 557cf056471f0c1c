//! The listing of a directory that several layers have.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, FileType};

use super::whiteout::{self, Found};
use super::{Directories, Stacked};
use crate::layer::Kind;
use crate::lower::object::Child;
use crate::lower::{Number, Result};

/// What the layers so far say of a name.
enum Shown {
    Hidden,
    Child(Kind, Number),
}

pub(super) fn children(stacked: &Stacked) -> Result<Vec<Child>> {
    let mut names: HashMap<Vec<u8>, Shown> = HashMap::new();
    for &layer in stacked.layers() {
        let found = stacked.in_layer(layer)?;
        let read = layer_names(stacked.all(), layer, &found).map_err(|error| stacked.fault(layer, error))?;
        for (name, shown) in read.shown {
            names.entry(name).or_insert(shown);
        }
        for name in read.hidden {
            names.entry(name).or_insert(Shown::Hidden);
        }
    }
    let child = |(name, shown)| match shown {
        Shown::Hidden => None,
        Shown::Child(kind, number) => Some(Child { name, kind, number }),
    };
    Ok(names.into_iter().filter_map(child).collect())
}

#[derive(Default)]
struct Names {
    shown: Vec<(Vec<u8>, Shown)>,
    /// By a `.wh.` marker beside them; a name that is there itself is shown before.
    hidden: Vec<Vec<u8>>,
}

fn layer_names(all: &Directories, layer: usize, directory: &OwnedFd) -> rustix::io::Result<Names> {
    let mut names = Names::default();
    let marked =
        whiteout::mark(crate::sys::xattr::Place::Name(directory.as_fd(), b"."), all.namespace, "opaque")?
            .as_deref()
            == Some(b"x");
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let doubtful = match entry.file_type() {
            FileType::CharacterDevice | FileType::Unknown => true,
            FileType::RegularFile => marked || name.starts_with(b".wh."),
            _ => false,
        };
        let file_system = all.layers[layer].file_system;
        let plain = Shown::Child(Kind::from(entry.file_type()), Number { file_system, inode: entry.ino() });
        let shown =
            match doubtful.then(|| whiteout::find(directory.as_fd(), name, all.namespace)).transpose()? {
                None => plain,
                Some(Found::Whiteout) => Shown::Hidden,
                Some(Found::Directory(stat) | Found::Leaf(stat)) => Shown::Child(
                    Kind::from(FileType::from_raw_mode(stat.st_mode)),
                    Number { file_system, inode: stat.st_ino },
                ),
                Some(Found::Absent) => {
                    names.hidden.extend(whiteout::hidden(name).map(<[u8]>::to_vec));
                    continue;
                }
            };
        names.shown.push((name.to_vec(), shown));
    }
    Ok(names)
}
