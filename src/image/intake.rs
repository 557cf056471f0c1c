//! A layer comes in: verified and indexed in one pass over its bytes, and kept once it is what the image says.

use std::collections::HashMap;
use std::io::{self, Read};

use super::incoming::Incoming;
use super::{Error, LayerOf, Length, Progress, Result, Source};
use crate::layer::pass::{self, Pass, Passed, SidecarPolicy};
use crate::layer::{Identity, Index, index};
use crate::oci::{Descriptor, Digest, media};
use crate::store::{Derived, Ingest, Store};

/// Each blob once. One that is said to be two different things is not.
pub(super) fn distinct(layers: &[LayerOf]) -> Result<Vec<LayerOf>> {
    let mut first: HashMap<Digest, &LayerOf> = HashMap::new();
    let mut distinct = Vec::new();
    for layer in layers {
        let digest = layer.descriptor.digest;
        match first.insert(digest, layer) {
            None => distinct.push(layer.clone()),
            Some(other) if other.descriptor.size != layer.descriptor.size => {
                let found = Length::Exactly(other.descriptor.size);
                return Err(Error::SizeMismatch { digest, described: layer.descriptor.size, found });
            }
            Some(other) if other.diff_id != layer.diff_id => {
                let (expected, found) = (layer.diff_id, other.diff_id);
                return Err(Error::DiffIdMismatch { layer: digest, expected, found });
            }
            Some(_) => {}
        }
    }
    Ok(distinct)
}

/// What brings layers in.
pub(super) struct Intake<'a> {
    pub store: &'a Store,
    pub source: &'a dyn Source,
    pub progress: &'a dyn Progress,
}

impl Intake<'_> {
    /// The layer's index from the store, if it is there and sound.
    pub fn index(&self, layer: &LayerOf) -> Result<Option<Index>> {
        let digest = &layer.descriptor.digest;
        let Some(file) = self.store.derived(Derived::Index, digest)? else { return Ok(None) };
        match Index::open(&file, digest) {
            Ok(index) => {
                check(layer, index.identity())?;
                Ok(Some(index))
            }
            Err(error @ index::Error::Damaged { .. }) => {
                log::warn!("{error}; it is made again");
                self.store.drop_derived(Derived::Index, digest)?;
                Ok(None)
            }
            Err(error) => Err(Error::Index(error)),
        }
    }

    /// Reads the layer through, and keeps what that gives once it is what the image says.
    pub fn make_index(
        &self,
        source: &dyn Source,
        layer: &LayerOf,
        policy: SidecarPolicy,
        ingest: Option<Ingest>,
    ) -> Result<Index> {
        let stream = source.blob(&layer.descriptor).map_err(|error| explain_absence(layer, error))?;
        self.index_stream(stream, layer, policy, ingest)
    }

    /// What `ingest` has already comes first in the stream.
    pub fn index_stream(
        &self,
        stream: Box<dyn Read + Send + '_>,
        layer: &LayerOf,
        policy: SidecarPolicy,
        ingest: Option<Ingest>,
    ) -> Result<Index> {
        check_type(&layer.descriptor)?;
        let Descriptor { digest, size, .. } = layer.descriptor;
        let mut incoming = Incoming::new(stream, &layer.descriptor, ingest, self.progress);
        let mut spool = || self.store.begin_derived().map_err(io::Error::other);
        let passed = pass::pass(&mut incoming, Pass { sidecar: policy, spool: &mut spool });
        let ingest = incoming.finish()?;
        let (passed, ingest) = match (passed, ingest) {
            (Ok(passed), ingest) => (passed, ingest),
            (Err(source), ingest) => {
                // It was right as far as it came.
                if let (pass::Error::Read(_), Some(ingest)) = (&source, ingest) {
                    ingest.leave();
                }
                return Err(Error::Pass { layer: digest, source });
            }
        };
        check(layer, &passed.identity)?;
        let index = self.keep(&digest, passed)?;
        if let Some(ingest) = ingest {
            ingest.publish(&digest, size)?;
        }
        Ok(index)
    }

    /// The sidecar first: an index without the sidecar that it needs would be of no use.
    fn keep(&self, digest: &Digest, passed: Passed) -> Result<Index> {
        if let Some(sidecar) = passed.sidecar {
            self.store.publish_derived(Derived::Sidecar, digest, sidecar)?;
        }
        let file = self.store.put_derived(Derived::Index, digest, &passed.index)?;
        Index::open(&file, digest).map_err(Error::Index)
    }
}

/// Whether the bytes were what the image says of them.
fn check(layer: &LayerOf, identity: &Identity) -> Result<()> {
    let Descriptor { digest, size, .. } = layer.descriptor;
    if identity.digest != digest {
        return Err(Error::DigestMismatch { expected: digest, found: identity.digest });
    }
    if identity.size != size {
        return Err(Error::SizeMismatch { digest, described: size, found: Length::Exactly(identity.size) });
    }
    if identity.diff_id != layer.diff_id {
        let (expected, found) = (layer.diff_id, identity.diff_id);
        return Err(Error::DiffIdMismatch { layer: digest, expected, found });
    }
    Ok(())
}

/// Real types are often wrong about how a tar is compressed; that it is none is not said by mistake.
fn check_type(Descriptor { digest, media_type, .. }: &Descriptor) -> Result<()> {
    match media::other_than_tar(media_type) {
        Some(what) => Err(Error::NotTar { digest: *digest, what, media_type: media_type.clone() }),
        None => Ok(()),
    }
}

/// A layer that may not be passed on is absent by intent, and its descriptor says where it is.
pub(super) fn explain_absence(layer: &LayerOf, error: Error) -> Error {
    let Descriptor { digest, urls, media_type, .. } = &layer.descriptor;
    match error {
        Error::Missing(_) if media::is_foreign(media_type) || !urls.is_empty() => {
            Error::Foreign { digest: *digest, urls: urls.clone() }
        }
        other => other,
    }
}
