//! Manifests and indexes, with the bytes that their digest is of.

use serde::{Deserialize, Serialize};

use super::{Descriptor, Digest};

/// A parsed document and its exact bytes: a digest is of bytes, not of structs.
#[derive(Clone, Debug)]
pub struct Raw<T> {
    bytes: Box<[u8]>,
    value: T,
}

impl<T> Raw<T> {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn value(&self) -> &T {
        &self.value
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
}

/// What a manifest blob turns out to be.
#[derive(Clone, Debug)]
pub enum Document {
    Manifest(Raw<Manifest>),
    Index(Raw<Index>),
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidDocument {
    #[error("not JSON of the expected form: {0}")]
    Json(#[from] serde_json::Error),
}
