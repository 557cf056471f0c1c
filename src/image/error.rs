//! What can be wrong with an image.

use crate::layer::{OpenError, index, pass};
use crate::oci::{DiffId, Digest, InvalidDocument, Platform};
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What a [`Source`](super::Source) answers for content that it has not.
    #[error("blob {0} is missing")]
    Missing(Digest),
    #[error("layer {digest} is not kept with the image; it is fetched from {}", urls.join(", "))]
    Foreign { digest: Digest, urls: Vec<String> },
    #[error("layer {digest} is {what}, and only tars can be read: its type is {media_type:?}")]
    NotTar { digest: Digest, what: &'static str, media_type: String },
    #[error("blob {expected} is corrupt: its digest is {found}")]
    DigestMismatch { expected: Digest, found: Digest },
    #[error("blob {digest} has {found} bytes, its descriptor says {described}")]
    SizeMismatch { digest: Digest, described: u64, found: Length },
    #[error("layer {layer} decompresses to {found}, and its image config says {expected}")]
    DiffIdMismatch { layer: Digest, expected: DiffId, found: DiffId },
    #[error("manifest {manifest} has {layers} layers, and its config has {diff_ids} diff ids")]
    LayerCount { manifest: Digest, layers: usize, diff_ids: usize },
    #[error("{digest}: {source}")]
    Invalid { digest: Digest, source: InvalidDocument },
    #[error("{digest} is not an image but {media_type:?}")]
    NotAnImage { digest: Digest, media_type: String },
    #[error("docker's image manifests name no layer that is compressed with {0}")]
    NoForm(&'static str),
    #[error("no image")]
    NoImage,
    #[error("no image for platform {wanted}; there is {}", list(available))]
    NoPlatform { wanted: Box<Platform>, available: Vec<Platform> },
    #[error("index {0} is nested too deeply")]
    TooDeep(Digest),
    #[error("index {0} leads to more indexes than are followed")]
    TooManyIndexes(Digest),
    #[error("layer {layer}: {source}")]
    Pass { layer: Digest, source: pass::Error },
    #[error(transparent)]
    Index(index::Error),
    #[error(transparent)]
    Layer(#[from] OpenError),
    #[error("a worker has failed; the log says why")]
    Worker,
    #[error("no such image: {0}")]
    NotFound(String),
    #[error("more than one image has an id that starts with {0}")]
    AmbiguousId(String),
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A fault of a source of another module.
    #[error(transparent)]
    Source(Box<dyn std::error::Error + Send + Sync>),
}

/// How long a stream is: one that is too long is not read to its end to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Exactly(u64),
    MoreThan(u64),
}

impl std::fmt::Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(size) => write!(f, "{size}"),
            Self::MoreThan(size) => write!(f, "more than {size}"),
        }
    }
}

impl Error {
    /// Whether what was looked for is not there, rather than wrong.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::NotAnImage { .. })
    }

    /// Whether the bytes were read, and are not what they must be.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::DiffIdMismatch { .. } => true,
            Self::Pass { source, .. } => !matches!(source, pass::Error::Read(_) | pass::Error::Sidecar(_)),
            _ => false,
        }
    }

    /// Wraps a fault of another module's source.
    pub fn source(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Source(Box::new(error))
    }
}

fn list(platforms: &[Platform]) -> String {
    match platforms {
        [] => "none".to_owned(),
        platforms => platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", "),
    }
}
