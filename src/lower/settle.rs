//! What of a layer only its place in a stack decides: hardlinks to files of lower layers, and names that lead through a
//! symlink of a lower layer. A layer that has those is read once more, upon the tree that the lower layers make.

use std::collections::{HashMap, VecDeque};
use std::io::Read;

use super::error::{Error, Result};
use super::flatten::flatten;
use super::stack::{Held, Place, Shown, Stack, Storey};
use crate::layer::Seek;
use crate::layer::index::{Id, Identity, Index, Kind};
use crate::layer::scan::{Ground, upon};
use crate::oci::Digest;

/// Opens the uncompressed tar of the layer of a number.
pub type Tars<'a> = &'a dyn Fn(u16) -> Box<dyn Read + 'a>;

/// How many symlinks a path may lead through.
const MAX_HOPS: usize = 40;

/// The layer `number`, as it stands upon `below`.
pub(super) fn settle<'a>(
    index: &'a Index,
    number: u16,
    below: &Stack<'_>,
    tars: Tars<'_>,
) -> Result<Storey<'a>> {
    let index = match depends_on(index, below)? {
        false => Held::Own(index),
        true => Held::Settled(Box::new(settled(index, number, below, tars)?)),
    };
    let links = links(&index, number, below)?;
    Ok(Storey { index, links })
}

fn settled(own: &Index, number: u16, stack: &Stack<'_>, tars: Tars<'_>) -> Result<Index> {
    let key = Digest::of(b"below");
    let below = flatten(stack)?.into_index(&Identity::of_merged(key), &Seek::default());
    let below = Index::from_bytes(below, &key)?;
    let tree = upon(Ground::new(&below, own), || tars(number)).map_err(|error| Error::upon(number, error))?;
    let bytes = tree.into_index(&Identity::of_merged(own.key()), &Seek::default());
    Ok(Index::from_bytes(bytes, &own.key())?)
}

/// Whether some way of the layer may lead through a symlink below it.
fn depends_on(index: &Index, below: &Stack<'_>) -> Result<bool> {
    let mut may_lead_on = false;
    for id in (1..index.len()).filter(|_| !below.is_empty()) {
        let inode = index.inode(id);
        match inode.kind() {
            // What stood there was replaced, and where its entries went is not known.
            kind if inode.is_late() && (kind != Kind::Directory || inode.is_opaque()) => return Ok(true),
            Kind::Directory => may_lead_on |= leads_on(index, id),
            Kind::LowerLink if find(below, index.target(id)?).hops > 0 => return Ok(true),
            _ => {}
        }
    }
    Ok(may_lead_on && goes_through_a_symlink(index, below))
}

/// Whether entries led through the directory without one for itself before them.
fn leads_on(index: &Index, directory: Id) -> bool {
    index.inode(directory).is_implicit() || index.inode(directory).is_late()
}

/// Whether such a directory is a symlink below.
fn goes_through_a_symlink(index: &Index, below: &Stack<'_>) -> bool {
    let mut open = vec![(0, below.root())];
    while let Some((dir, directory)) = open.pop() {
        for entry in index.children(dir).iter().filter(|entry| entry.kind == Kind::Directory) {
            match below.lookup(&directory, entry.name) {
                Shown::Directory(directory) => open.push((entry.id, directory)),
                Shown::Leaf(place) if leads_on(index, entry.id) && symlink(below, place).is_some() => {
                    return true;
                }
                Shown::Leaf(_) | Shown::Nothing => {}
            }
        }
    }
    false
}

/// What each link into a lower layer means.
fn links(index: &Index, number: u16, below: &Stack<'_>) -> Result<HashMap<Id, Place>> {
    let mut links = HashMap::new();
    for id in (0..index.len()).filter(|id| index.inode(*id).kind() == Kind::LowerLink) {
        let target = index.target(id)?;
        match find(below, target).shown {
            Some(Shown::Leaf(place)) => links.insert(id, below.linked(place)),
            _ => return Err(Error::link_target(number, target)),
        };
    }
    Ok(links)
}

/// What a path shows.
struct Found {
    /// `None` for too many symlinks.
    shown: Option<Shown>,
    /// How many symlinks it leads through.
    hops: usize,
}

/// What `path` shows, its parents' symlinks followed.
fn find(stack: &Stack<'_>, path: &[u8]) -> Found {
    let mut hops = 0;
    let shown = follow(stack, path, &mut hops);
    Found { shown, hops }
}

fn follow(stack: &Stack<'_>, path: &[u8], hops: &mut usize) -> Option<Shown> {
    let mut trail = vec![stack.root()];
    let mut todo: VecDeque<Vec<u8>> = components(path).collect();
    while let Some(name) = todo.pop_front() {
        if name == b".." {
            trail.truncate(trail.len().saturating_sub(1).max(1));
            continue;
        }
        match stack.lookup(trail.last()?, &name) {
            Shown::Directory(directory) => trail.push(directory),
            Shown::Leaf(place) if todo.is_empty() => return Some(Shown::Leaf(place)),
            Shown::Leaf(place) => {
                let target = symlink(stack, place)?;
                *hops += 1;
                if *hops > MAX_HOPS {
                    return None;
                }
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                prepend(&mut todo, target);
            }
            Shown::Nothing => return Some(Shown::Nothing),
        }
    }
    trail.pop().map(Shown::Directory)
}

/// The target of what is at `place`, if that is a symlink.
fn symlink<'s>(stack: &'s Stack<'_>, place: Place) -> Option<&'s [u8]> {
    let place = stack.linked(place);
    let index = stack.index(place.storey);
    let is_symlink = index.inode(place.id).kind() == Kind::Symlink;
    is_symlink.then(|| index.target(place.id).ok()).flatten()
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

fn prepend(todo: &mut VecDeque<Vec<u8>>, path: &[u8]) {
    for name in components(path).rev() {
        todo.push_front(name);
    }
}
