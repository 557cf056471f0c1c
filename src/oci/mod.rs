//! The nouns of the OCI and docker image specs, as data. Nothing here touches a disk or a network.

mod config;
mod descriptor;
mod digest;
mod lenient;
mod manifest;
pub mod media;
mod platform;
mod reference;

pub use config::{Config, Healthcheck, History, RootFs, RunConfig};
pub use descriptor::{Descriptor, MediaType};
pub use digest::{ChainId, DiffId, Digest, Hasher, InvalidDigest};
pub use manifest::{DOCUMENT_LIMIT, Document, Index, InvalidDocument, Kind, LAYER_LIMIT, Manifest, Raw};
pub use platform::{InvalidPlatform, Platform, Strictness};
pub use reference::{InvalidReference, Reference};
