//! Why an archive gives no image.

use std::io;
use std::path::PathBuf;

use crate::image;
use crate::layer::pass;
use crate::oci::{Digest, InvalidDocument};
use crate::store;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot unpack {}: {source}", path.display())]
    Unpack { path: PathBuf, source: io::Error },
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("{} is neither a docker archive, an OCI layout nor a tar", .0.display())]
    NotAnImage(PathBuf),
    #[error("{} is not {wanted}: {lacks}", path.display())]
    OtherForm { path: PathBuf, wanted: &'static str, lacks: &'static str },
    #[error("{} is not a sound tar: {fault}", path.display())]
    BrokenTar { path: PathBuf, fault: String },
    #[error("cannot read {name:?} in {}: {source}", path.display())]
    Member { path: PathBuf, name: String, source: io::Error },
    #[error("{name:?} is missing in {}", path.display())]
    NoMember { path: PathBuf, name: String },
    #[error("{name:?} in {} has {size} bytes, more than the limit of {limit}", path.display())]
    TooLarge { path: PathBuf, name: String, size: u64, limit: u64 },
    #[error("{name:?} in {}: {source}", path.display())]
    Json { path: PathBuf, name: String, source: serde_json::Error },
    #[error("{name:?} in {}: {source}", path.display())]
    Invalid { path: PathBuf, name: String, source: Box<InvalidDocument> },
    #[error("image {image} in {} has more than {limit} layers", path.display())]
    TooManyLayers { path: PathBuf, image: String, limit: usize },
    #[error("image {image} in {} has {layers} layers, and its config has {diff_ids} diff ids", path.display())]
    LayerCount { path: PathBuf, image: String, layers: usize, diff_ids: usize },
    #[error("no image in {}", .0.display())]
    NoImage(PathBuf),
    #[error("no image in {}: {why}", path.display())]
    NoUsable { path: PathBuf, why: String },
    #[error("no image {wanted:?} in {}; it holds {held}", path.display())]
    NoSuchName { path: PathBuf, wanted: String, held: String },
    #[error("no image @{index} in {}, which holds {count}", path.display())]
    NoSuchIndex { path: PathBuf, index: String, count: usize },
    #[error("cannot index {name:?} in {}: {source}", path.display())]
    Index { path: PathBuf, name: String, source: Box<pass::Error> },
    #[error("cannot write the index of layer {digest}: {source}")]
    Keep { digest: Digest, source: io::Error },
    #[error("{}: {source}", path.display())]
    Image { path: PathBuf, source: Box<image::Error> },
    #[error("writing the archive: {0}")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Save(Box<image::Error>),
    #[error(transparent)]
    Store(#[from] store::Error),
}
