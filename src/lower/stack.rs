//! A stack of layers, looked at as one tree without building it: what a name shows, and which layers a directory is of.

use std::collections::HashMap;
use std::ops::Deref;

use crate::layer::index::{Entry, Id, Index, Kind};

/// One layer in a stack.
pub(super) struct Storey<'a> {
    pub index: Held<'a>,
    /// What each of the layer's [`Kind::LowerLink`] inodes stands for.
    pub links: HashMap<Id, Place>,
}

/// The index of a storey: the layer's own, or one made for its place in this stack.
pub(super) enum Held<'a> {
    Own(&'a Index),
    Settled(Box<Index>),
}

impl Deref for Held<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        match self {
            Self::Own(index) => index,
            Self::Settled(index) => index,
        }
    }
}

/// An inode of a storey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub storey: u16,
    pub id: Id,
}

/// What a name shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// Anything but a directory.
    Leaf(Place),
    Directory(Directory),
}

/// A directory: those of the layers that it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// The topmost that says what the directory is; none where all of them are only implied.
    pub attributes: Option<Place>,
    /// Those whose entries count, top first.
    pub parts: Vec<Place>,
}

/// Layers, bottom first.
#[derive(Default)]
pub(super) struct Stack<'a> {
    storeys: Vec<Storey<'a>>,
}

impl<'a> Stack<'a> {
    pub fn push(&mut self, storey: Storey<'a>) {
        self.storeys.push(storey);
    }

    pub fn is_empty(&self) -> bool {
        self.storeys.is_empty()
    }

    pub fn index(&self, storey: u16) -> &Index {
        &self.storeys[usize::from(storey)].index
    }

    /// The inode that `place` means: where it is a link into a lower layer, what is linked there.
    pub fn linked(&self, place: Place) -> Place {
        self.storeys[usize::from(place.storey)].links.get(&place.id).copied().unwrap_or(place)
    }

    pub fn root(&self) -> Directory {
        let mut gathering = Gathering::default();
        for storey in (0..self.storeys.len()).rev().filter_map(|storey| u16::try_from(storey).ok()) {
            if gathering.take(self.index(storey), Place { storey, id: 0 }) == Below::Hidden {
                break;
            }
        }
        gathering.directory
    }

    /// What `name` shows in `directory`.
    pub fn lookup(&self, directory: &Directory, name: &[u8]) -> Shown {
        self.decide(directory.parts.iter().filter_map(|part| {
            let entry = self.index(part.storey).lookup(part.id, name)?;
            Some((part.storey, entry))
        }))
    }

    /// Every name in `directory`, sorted, with what it shows; also those that show nothing.
    pub fn list(&self, directory: &Directory) -> Vec<(&[u8], Shown)> {
        let mut entries: Vec<(u16, Entry<'_>)> = directory
            .parts
            .iter()
            .flat_map(|part| {
                self.index(part.storey).children(part.id).iter().map(|entry| (part.storey, entry))
            })
            .collect();
        if directory.parts.len() > 1 {
            // Stable: entries of one name stay top first.
            entries.sort_by_key(|(_, entry)| entry.name);
        }
        entries
            .chunk_by(|(_, one), (_, other)| one.name == other.name)
            .map(|group| (group[0].1.name, self.decide(group.iter().copied())))
            .collect()
    }

    /// What the entries of one name show, given top first.
    fn decide<'e>(&self, entries: impl Iterator<Item = (u16, Entry<'e>)>) -> Shown {
        let mut gathering = Gathering::default();
        for (storey, entry) in entries {
            let place = Place { storey, id: entry.id };
            let below = match entry.kind {
                Kind::Whiteout => Below::Hidden,
                Kind::Directory => gathering.take(self.index(storey), place),
                _ if gathering.is_real => Below::Hidden,
                _ => return Shown::Leaf(place),
            };
            if below == Below::Hidden {
                break;
            }
        }
        if gathering.is_real { Shown::Directory(gathering.directory) } else { Shown::Nothing }
    }
}

/// Whether what lies below can still matter.
#[derive(PartialEq, Eq)]
enum Below {
    Matters,
    Hidden,
}

/// A directory while the layers are gone through, top first.
#[derive(Default)]
struct Gathering {
    directory: Directory,
    /// Some layer has more there than markers: those hide what is below, and make nothing.
    is_real: bool,
    /// An opaque one was met: those below give attributes at most.
    is_closed: bool,
}

impl Gathering {
    fn take(&mut self, index: &Index, place: Place) -> Below {
        let inode = index.inode(place.id);
        if !self.is_closed {
            self.directory.parts.push(place);
        }
        self.is_real |= !inode.is_marker_only();
        self.is_closed |= inode.is_opaque();
        if self.directory.attributes.is_none() && !inode.is_implicit() {
            self.directory.attributes = Some(place);
        }
        let is_settled = self.is_closed && self.is_real && self.directory.attributes.is_some();
        if is_settled { Below::Hidden } else { Below::Matters }
    }
}
