//! The nouns of the OCI and docker image specs, as data. Nothing here touches a disk or a network.

mod config;
mod descriptor;
mod digest;
mod manifest;
mod platform;
mod reference;

pub use config::{Config, History, RootFs, RunConfig};
pub use descriptor::{Descriptor, MediaType};
pub use digest::{ChainId, DiffId, Digest, Hasher, InvalidDigest};
pub use manifest::{Document, Index, InvalidDocument, Manifest, Raw};
pub use platform::{InvalidPlatform, Platform};
pub use reference::{InvalidReference, Reference};
