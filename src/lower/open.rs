//! A merged tree with its bytes: what is mounted. The tree is made once for a chain of layers and kept in the store.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::{Error, Result, merge};
use crate::layer::{self, BUDGET, ChunkCache, Contents, Id, Index, Layer};
use crate::oci::{ChainId, DiffId, Digest};
use crate::store::files::{FileCache, Limits};
use crate::store::{Derived, Store};

/// How many bytes of a layer's chunks are kept while it is read once more for the merge.
const REREAD_BUDGET: usize = 8 << 20;

/// An image's files, as its layers make them.
pub struct Lower {
    tree: Index,
    contents: Contents,
    /// Where the layers are from.
    store: Option<Store>,
}

impl Lower {
    /// `contents` has the layers that `tree` was merged from, in the same order.
    pub fn new(tree: Index, contents: Contents) -> Self {
        Self { tree, contents, store: None }
    }

    /// The tree of `layers`, bottom first. It is merged once, kept by the chain of the layers, and mapped from then on.
    pub fn open(store: &Store, layers: Vec<Arc<Layer>>) -> Result<Self> {
        let tree = match kept(store, &key(&layers))? {
            Some(tree) => tree,
            None => merged(store, &layers)?,
        };
        let files = FileCache::new(store.files_directory(), Limits::default());
        let contents = Contents::new(layers, Arc::new(ChunkCache::new(BUDGET)), Some(files));
        Ok(Self { tree, contents, store: Some(store.clone()) })
    }

    pub fn tree(&self) -> &Index {
        &self.tree
    }

    /// Calls `serve` once, with the bytes of the file `id` from `offset` on: `length` of them, or as many as there are.
    pub fn read<R>(&self, id: Id, offset: u64, length: u32, serve: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let content = self.tree.content(id)?;
        let layer = self.tree.inode(id).layer();
        Ok(self
            .contents
            .read(layer, &content, offset, length, serve)
            .inspect_err(|error| self.retire(error))?)
    }

    /// Whether [`Lower::read`] would not have to wait for decompression.
    pub fn is_at_hand(&self, id: Id, offset: u64, length: u32) -> bool {
        let layer = self.tree.inode(id).layer();
        self.tree.content(id).is_ok_and(|content| self.contents.is_at_hand(layer, &content, offset, length))
    }

    /// The whole file, where it is cached on disk.
    pub fn file(&self, id: Id) -> Result<Option<Arc<File>>> {
        Ok(self.contents.file(self.tree.inode(id).layer(), &self.tree.content(id)?))
    }

    /// The same; where it is not, it is to be.
    pub fn whole_file(&self, id: Id) -> Result<Option<Arc<File>>> {
        let (layer, content) = (self.tree.inode(id).layer(), self.tree.content(id)?);
        let file = self.contents.file(layer, &content);
        if file.is_none() {
            self.contents.keep(layer, &content)?;
        }
        Ok(file)
    }

    /// Takes what turned out to be wrong out of the store, so that it is fetched or made again.
    fn retire(&self, error: &layer::Error) {
        if let Some(store) = &self.store {
            retire(store, error);
        }
    }
}

fn retire(store: &Store, error: &layer::Error) {
    let retired = match error {
        layer::Error::Corrupt { layer, .. } => store.set_aside(layer),
        layer::Error::Sidecar { layer, .. } => store.drop_derived(Derived::Sidecar, layer),
        layer::Error::Index { layer, .. } => store.drop_derived(Derived::Index, layer),
        layer::Error::Read { .. } | layer::Error::NoLayer(_) => Ok(()),
    };
    if let Err(failed) = retired {
        log::warn!("{failed}");
    }
}

/// What a merged tree is kept by. It says nothing of compression, as the tree does not.
fn key(layers: &[Arc<Layer>]) -> Digest {
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.index().identity().diff_id).collect();
    ChainId::of(&diff_ids).map_or_else(|| Digest::of(b""), |chain| chain.0)
}

fn kept(store: &Store, key: &Digest) -> Result<Option<Index>> {
    let Some(file) = store.derived(Derived::Tree, key)? else { return Ok(None) };
    match Index::open(&file, key) {
        Ok(tree) => Ok(Some(tree)),
        Err(error) => {
            log::warn!("{error}; it is made again");
            store.drop_derived(Derived::Tree, key)?;
            Ok(None)
        }
    }
}

fn merged(store: &Store, layers: &[Arc<Layer>]) -> Result<Index> {
    let key = key(layers);
    let indexes: Vec<&Index> = layers.iter().map(|layer| layer.index()).collect();
    let cache = ChunkCache::new(REREAD_BUDGET);
    let tars =
        |number: u16| Box::new(layers[usize::from(number)].uncompressed_tar(&cache)) as Box<dyn Read + '_>;
    let merged = merge(&indexes, &tars, key);
    check(store, &indexes)?;
    if let Err(Error::Contents(error)) = &merged {
        retire(store, error);
    }
    let bytes = merged?;
    match store.put_derived(Derived::Tree, &key, &bytes) {
        Ok(file) => Ok(Index::open(&file, &key)?),
        Err(error) => {
            log::warn!("{error}; the merged tree is used from memory");
            Ok(Index::from_bytes(bytes, &key)?)
        }
    }
}

/// What a damaged index shows is not what the layer has: it is dropped, to be made again, and so is the merge of it.
fn check(store: &Store, indexes: &[&Index]) -> Result<()> {
    for index in indexes {
        if let Err(error) = index.intact() {
            store.drop_derived(Derived::Index, &index.key())?;
            return Err(error.into());
        }
    }
    Ok(())
}

impl Drop for Lower {
    /// A tree that turned out to be damaged is not for the next mount.
    fn drop(&mut self) {
        if let (Err(_), Some(store)) = (self.tree.intact(), &self.store)
            && let Err(error) = store.drop_derived(Derived::Tree, &self.tree.key())
        {
            log::warn!("{error}");
        }
    }
}
