//! Images go from a source to a sink: the blobs that the sink lacks, side by side, then each manifest once all that it
//! needs is there.

use std::collections::HashSet;

use super::outgoing::{Bytes, Outgoing};
use super::select::{DEPTH_LIMIT, INDEX_LIMIT};
use super::side_by_side::{WORKERS, side_by_side};
use super::{Error, Progress, Result, Sink, Source};
use crate::oci::{Descriptor, Digest, Document, Reference, media};

/// All that an image is made of, each once; of an index, all that its images are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub configs: Vec<Descriptor>,
    /// Without those that may not be passed on.
    pub layers: Vec<Descriptor>,
    /// Manifests and indexes; what one of them names stands before it, and so what was asked for stands last.
    pub manifests: Vec<Descriptor>,
}

impl Parts {
    /// Of the manifest or index `root`. A document that the source does not have is [`Error::Missing`].
    pub fn of(source: &dyn Source, root: &Descriptor) -> Result<Self> {
        let mut walk = Walk { source, seen: HashSet::new(), parts: Self::default() };
        walk.visit(root, 0)?;
        Ok(walk.parts)
    }
}

/// Copies what `parts` lists, and gives what was asked for its names.
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    parts: &Parts,
    names: &[Reference],
    progress: &dyn Progress,
) -> Result<()> {
    let send = |layer: &Descriptor| send(sink, layer, || Ok(Bytes::In(source)), progress);
    side_by_side(&parts.layers, |layer| layer.size, WORKERS, send)?;
    for config in &parts.configs {
        send_config(source, sink, config)?;
    }
    let Some((root, below)) = parts.manifests.split_last() else { return Ok(()) };
    for manifest in below {
        sink.put_manifest(manifest, &source.document(manifest)?, &[])?;
    }
    sink.put_manifest(root, &source.document(root)?, names)
}

fn send_config(source: &dyn Source, sink: &dyn Sink, config: &Descriptor) -> Result<()> {
    let document = || source.document(config).map(Bytes::Document);
    // Too small to be worth a word.
    send(sink, config, document, &())
}

fn send<'a>(
    sink: &dyn Sink,
    blob: &'a Descriptor,
    bytes: impl FnOnce() -> Result<Bytes<'a>>,
    progress: &'a dyn Progress,
) -> Result<()> {
    match sink.has(blob)? {
        true => Ok(()),
        false => sink.put_blob(&Outgoing::new(blob, bytes()?, progress)),
    }
}

/// The way through the indexes to all that they name.
struct Walk<'a> {
    source: &'a dyn Source,
    seen: HashSet<Digest>,
    parts: Parts,
}

impl Walk<'_> {
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let Descriptor { digest, media_type, .. } = descriptor;
        if !self.seen.insert(*digest) {
            return Ok(());
        }
        if !(media_type.is_empty() || media::is_index(media_type) || media::is_manifest(media_type)) {
            self.parts.layers.push(descriptor.clone());
            return Ok(());
        }
        let invalid = |source| Error::Invalid { digest: *digest, source };
        match Document::parse(self.source.document(descriptor)?).map_err(invalid)? {
            Document::Index(index) => self.descend(*digest, &index.value().manifests, depth)?,
            Document::Manifest(manifest) => self.take(manifest.value()),
        }
        self.parts.manifests.push(descriptor.clone());
        match self.parts.manifests.len() {
            0..=INDEX_LIMIT => Ok(()),
            _ => Err(Error::TooManyIndexes(*digest)),
        }
    }

    fn descend(&mut self, index: Digest, named: &[Descriptor], depth: usize) -> Result<()> {
        match depth {
            DEPTH_LIMIT => Err(Error::TooDeep(index)),
            _ => named.iter().try_for_each(|descriptor| self.visit(descriptor, depth + 1)),
        }
    }

    fn take(&mut self, manifest: &crate::oci::Manifest) {
        if self.seen.insert(manifest.config.digest) {
            self.parts.configs.push(manifest.config.clone());
        }
        for layer in &manifest.layers {
            if !media::is_foreign(&layer.media_type) && self.seen.insert(layer.digest) {
                self.parts.layers.push(layer.clone());
            }
        }
    }
}
