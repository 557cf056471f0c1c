//! An image's tree as lower objects.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::object::{Below, Child, Located, Object, Pairs, Path};
use super::{Lower, Number, Result, Stat};
use crate::layer::write::join;
use crate::layer::{Extent, Id, Index, Kind};

/// Where inodes with several names have them: the directory and the name.
type Aliases = HashMap<Id, Vec<(Id, Vec<u8>)>>;

struct Image {
    lower: Arc<Lower>,
    /// Found when first asked for, since it takes a walk of the whole tree.
    aliases: OnceLock<Aliases>,
}

struct InImage {
    image: Arc<Image>,
    id: Id,
    path: Vec<u8>,
}

/// The root of an image's tree.
pub fn image(lower: Arc<Lower>) -> Below {
    Arc::new(InImage { image: Arc::new(Image { lower, aliases: OnceLock::new() }), id: 0, path: Vec::new() })
}

impl InImage {
    fn tree(&self) -> &Index {
        self.image.lower.tree()
    }
}

impl Object for InImage {
    fn path(&self) -> &[u8] {
        &self.path
    }

    fn stat(&self) -> Result<Stat> {
        Ok(Stat::in_tree(self.tree(), self.id)?)
    }

    fn lookup(&self, name: &[u8]) -> Result<Option<Below>> {
        let found = self.tree().lookup(self.id, name);
        // What a damaged tree shows is not what is there: that there is nothing must not be believed.
        self.tree().intact()?;
        let child = |id| Self { image: self.image.clone(), id, path: join(&self.path, name) };
        Ok(found.map(|entry| Arc::new(child(entry.id)) as Below))
    }

    fn children(&self) -> Result<Vec<Child>> {
        let children = self.tree().children(self.id);
        self.tree().intact()?;
        let child = |at| children.get(at);
        Ok((0..children.len())
            .filter_map(child)
            .map(|entry| Child {
                name: entry.name.to_vec(),
                kind: entry.kind,
                number: Number::in_image(entry.id),
            })
            .collect())
    }

    fn target(&self) -> Result<Vec<u8>> {
        Ok(self.tree().target(self.id)?.to_vec())
    }

    fn xattrs(&self) -> Result<Pairs> {
        let pairs = self.tree().xattrs(self.id)?;
        Ok(pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    }

    fn read(&self, offset: u64, length: u32, serve: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.image.lower.read(self.id, offset, length, serve)
    }

    fn is_at_hand(&self, offset: u64, length: u32) -> bool {
        self.image.lower.is_at_hand(self.id, offset, length)
    }

    fn data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let content = self.tree().content(self.id)?;
        Ok(match content.extents {
            None => (offset < content.size).then_some(offset..content.size),
            Some(extents) => run(extents, offset),
        })
    }

    fn file(&self) -> Result<Option<Arc<File>>> {
        self.image.lower.file(self.id)
    }

    /// That of a sparse file is of more than its bytes.
    fn digest(&self) -> Result<Option<[u8; 32]>> {
        let content = self.tree().content(self.id)?;
        Ok(content.extents.is_none().then_some(content.digest))
    }

    fn located(&self) -> Result<Option<Located>> {
        Ok(None)
    }

    fn aliases(&self) -> Result<Vec<Path>> {
        let all = self.image.aliases.get_or_init(|| aliases(self.tree()));
        let Some(found) = all.get(&self.id) else { return Ok(Vec::new()) };
        Ok(found.iter().map(|(directory, name)| path(self.tree(), *directory, name)).collect())
    }
}

/// Extents are in the order of the file and do not overlap; those that touch are one run.
fn run(extents: &[Extent], offset: u64) -> Option<Range<u64>> {
    let bounds =
        |extent: &Extent| (extent.offset.get(), extent.offset.get().saturating_add(extent.length.get()));
    let mut rest = extents.iter().map(bounds).filter(|&(start, end)| start < end && offset < end);
    let (start, mut end) = rest.next()?;
    for (next, after) in rest {
        if next != end {
            break;
        }
        end = after;
    }
    Some(start.max(offset)..end)
}

fn aliases(tree: &Index) -> Aliases {
    let mut found = Aliases::new();
    for directory in (0..tree.len()).filter(|id| tree.inode(*id).kind() == Kind::Directory) {
        let children = tree.children(directory);
        for entry in (0..children.len()).filter_map(|at| children.get(at)) {
            if entry.kind != Kind::Directory && tree.inode(entry.id).nlink() > 1 {
                found.entry(entry.id).or_default().push((directory, entry.name.to_vec()));
            }
        }
    }
    found
}

fn path(tree: &Index, mut directory: Id, name: &[u8]) -> Path {
    let mut path = vec![name.to_vec()];
    while directory != 0 {
        let parent = tree.inode(directory).parent();
        let children = tree.children(parent);
        let own = (0..children.len()).filter_map(|at| children.get(at)).find(|entry| entry.id == directory);
        path.extend(own.map(|entry| entry.name.to_vec()));
        directory = parent;
    }
    path.reverse();
    path
}
