//! What the lower side has under a name, be it in an image or in plain directories. Nothing of it is ever written.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Number, Result, Stat};
use crate::layer::Kind;

/// A lower object, for as long as someone needs it.
pub type Below = Arc<dyn Object>;

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The names that lead to an object from the root.
pub type Path = Vec<Vec<u8>>;

/// An object of a file system, open (`O_PATH`), and the file system's UUID.
pub struct Located {
    pub object: OwnedFd,
    pub uuid: [u8; 16],
}

/// A name in a lower directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub name: Vec<u8>,
    pub kind: Kind,
    pub number: Number,
}

pub trait Object: Send + Sync {
    /// From the root, without a leading slash; the root's is empty.
    fn path(&self) -> &[u8];
    fn stat(&self) -> Result<Stat>;
    /// What a directory shows under a name; of anything else: nothing.
    fn lookup(&self, name: &[u8]) -> Result<Option<Below>>;
    fn children(&self) -> Result<Vec<Child>>;
    /// A symlink's target.
    fn target(&self) -> Result<Vec<u8>>;
    fn xattrs(&self) -> Result<Pairs>;
    /// Calls `serve` once, with the bytes from `offset` on: `length` of them, or as many as there are.
    fn read(&self, offset: u64, length: u32, serve: &mut dyn FnMut(&[u8])) -> Result<()>;
    /// Whether a read would answer at once.
    fn is_at_hand(&self, offset: u64, length: u32) -> bool;
    /// The first run of data at or after `offset`; `None` when only a hole follows.
    fn data(&self, offset: u64) -> Result<Option<Range<u64>>>;
    /// The whole file, where there is one to read from.
    fn file(&self) -> Result<Option<Arc<File>>>;
    /// BLAKE3 of a file's bytes, where it is known without reading them.
    fn digest(&self) -> Result<Option<[u8; 32]>>;
    /// The object itself, where it is one of a file system.
    fn located(&self) -> Result<Option<Located>>;
    /// All names of a file that has several, this one included; empty where they are not known.
    fn aliases(&self) -> Result<Vec<Path>>;
}
