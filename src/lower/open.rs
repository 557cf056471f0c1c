//! A merged tree with its bytes: what is mounted. The tree is made once for a chain of layers and kept in the store.

use std::fmt::Write;
use std::sync::Arc;

use super::{Result, merge};
use crate::layer::contents::Contents;
use crate::layer::index::{self, Id, Index};
use crate::layer::{BUDGET, ChunkCache, Layer};
use crate::oci::Digest;
use crate::store::files::{FileCache, Limits};
use crate::store::{Derived, Store};

/// The layers of an image as one read-only tree.
pub struct Lower {
    tree: Index,
    contents: Contents,
}

impl Lower {
    /// `contents` has the layers that `tree` was merged from, in the same order.
    pub fn new(tree: Index, contents: Contents) -> Self {
        Self { tree, contents }
    }

    /// Merges `layers`, bottom first, unless the store has kept their tree.
    pub fn open(store: &Store, layers: Vec<Arc<Layer>>) -> Result<Self> {
        let key = chain_key(&layers);
        let tree = match kept(store, &key)? {
            Some(tree) => tree,
            None => merged(store, &layers, &key)?,
        };
        let files = FileCache::new(store.root().join("plyfs/files"), Limits::default());
        let contents = Contents::new(layers, Arc::new(ChunkCache::new(BUDGET)), Some(files));
        Ok(Self::new(tree, contents))
    }

    pub fn tree(&self) -> &Index {
        &self.tree
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Calls `serve` once, with the bytes of a file from `offset` on: `length` of them, or as many as there are.
    pub fn read<R>(&self, id: Id, offset: u64, length: u32, serve: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let content = self.tree.content(id)?;
        Ok(self.contents.read(self.tree.inode(id).layer(), &content, offset, length, serve)?)
    }
}

/// Names a chain by its layers' blobs: the tree remembers where in them the bytes are.
fn chain_key(layers: &[Arc<Layer>]) -> Digest {
    let mut chain = String::from("plyfs tree\n");
    for layer in layers {
        // Writing to a string does not fail.
        let _ = writeln!(chain, "{}", layer.index().key());
    }
    Digest::of(chain.as_bytes())
}

/// A tree that is damaged is dropped, and as good as none.
fn kept(store: &Store, key: &Digest) -> Result<Option<Index>> {
    let Some(file) = store.derived(Derived::Tree, key)? else { return Ok(None) };
    match Index::open(&file, key) {
        Ok(tree) => Ok(Some(tree)),
        Err(error @ index::Error::Damaged { .. }) => {
            log::warn!("{error}; it is made again");
            store.drop_derived(Derived::Tree, key)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn merged(store: &Store, layers: &[Arc<Layer>], key: &Digest) -> Result<Index> {
    let indexes: Vec<&Index> = layers.iter().map(|layer| layer.index()).collect();
    let bytes = merge(&indexes, *key)?;
    // A store that cannot be written to costs the next mount a merge, and this one memory.
    match store.put_derived(Derived::Tree, key, &bytes) {
        Ok(file) => Ok(Index::open(&file, key)?),
        Err(error) => {
            log::warn!("keeping the merged tree: {error}");
            Ok(Index::from_bytes(bytes, key)?)
        }
    }
}
