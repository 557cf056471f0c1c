//! Images go into an archive: an OCI layout in a tar and, for docker's readers, docker's `manifest.json` beside it, as
//! docker itself has written it since version 25.
//!
//! Manifests and layers stay as they are, so that an image has the same digest when it is read again. The same images
//! give the same bytes.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::error::{Error, Result};
use super::layout::blob_name;
use crate::image::{self, Image, Outgoing, Parts, Progress, Sink, Source, copy};
use crate::oci::{Descriptor, Digest, Document, Index, Reference, media};

/// Which readers the archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// Docker's of any age, and those of an OCI layout.
    Docker,
    /// Those of an OCI layout alone.
    Oci,
}

/// An archive that is being written. It is whole once it is [finished](Writer::finish).
pub struct Writer<W: Write + Send> {
    saving: Saving,
    /// A tar takes one thing after the other.
    tar: Mutex<Tar<W>>,
    index: Vec<Descriptor>,
    listed: Vec<Listed>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

struct Tar<W: Write> {
    builder: tar::Builder<W>,
    written: HashSet<Digest>,
    /// Why it can't be written any further: the way of it through the sink's errors is long.
    fault: Option<io::Error>,
}

/// An image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl<W: Write + Send> Writer<W> {
    pub fn new(out: W, saving: Saving) -> Self {
        let builder = tar::Builder::new(out);
        let tar = Mutex::new(Tar { builder, written: HashSet::new(), fault: None });
        Self { saving, tar, index: Vec::new(), listed: Vec::new(), repositories: BTreeMap::new() }
    }

    /// Adds what `root` names, a manifest or an index, by `names`. Of an index, the manifests that the source has not
    /// are left out: the index itself stays what it is. `shown` is what docker's readers see of it.
    pub fn add(
        &mut self,
        source: &dyn Source,
        root: &Descriptor,
        shown: &Image,
        names: &[Reference],
        progress: &dyn Progress,
    ) -> Result<()> {
        let copied = self.copy(source, root, progress);
        if let Some(source) = self.tar.get_mut().fault.take() {
            return Err(Error::Write(source));
        }
        copied.map_err(|error| Error::Save(Box::new(error)))?;
        self.enter(root, names);
        self.list(shown, names);
        Ok(())
    }

    fn copy(&self, source: &dyn Source, root: &Descriptor, progress: &dyn Progress) -> image::Result<()> {
        let invalid = |source| image::Error::Invalid { digest: root.digest, source };
        let bytes = source.document(root)?;
        let Document::Index(index) = Document::parse(bytes.clone()).map_err(invalid)? else {
            return self.copy_parts(source, Parts::of(source, root)?, progress);
        };
        for manifest in &index.value().manifests {
            match Parts::of(source, manifest) {
                Ok(parts) => self.copy_parts(source, parts, progress)?,
                Err(image::Error::Missing(absent)) if absent == manifest.digest => {
                    log::info!("{absent} of index {} is not there, and is left out", root.digest);
                }
                Err(error) => return Err(error),
            }
        }
        self.put_manifest(root, &bytes, &[])
    }

    /// One layer after the other: side by side they would come in any order.
    fn copy_parts(&self, source: &dyn Source, parts: Parts, progress: &dyn Progress) -> image::Result<()> {
        for layer in &parts.layers {
            copy(source, self, &Parts { layers: vec![layer.clone()], ..Parts::default() }, &[], progress)?;
        }
        copy(source, self, &Parts { layers: Vec::new(), ..parts }, &[], progress)
    }

    /// Names it in `index.json`, as docker does: once for each name.
    fn enter(&mut self, root: &Descriptor, names: &[Reference]) {
        let named = |name: Option<&Reference>| {
            let mut entry = root.clone();
            for key in [media::CONTAINERD_NAME, media::REF_NAME] {
                entry.annotations.remove(key);
            }
            if let Some(name) = name {
                entry.annotations.insert(media::CONTAINERD_NAME.to_owned(), name.to_string());
                let tag = name.tag().map(|tag| (media::REF_NAME.to_owned(), tag.to_owned()));
                entry.annotations.extend(tag);
            }
            entry
        };
        match names {
            [] => self.index.push(named(None)),
            names => self.index.extend(names.iter().map(|name| named(Some(name)))),
        }
    }

    /// A name goes to the first image that has it; others for other platforms are known by their config.
    fn list(&mut self, shown: &Image, names: &[Reference]) {
        let taken = |name: &String| {
            self.listed.iter().any(|listed| listed.repo_tags.iter().flatten().any(|tag| tag == name))
        };
        let tags: Vec<String> = names.iter().map(Reference::familiar).filter(|name| !taken(name)).collect();
        let manifest = shown.manifest.value();
        for name in names.iter().filter(|name| tags.contains(&name.familiar())) {
            if let (Some(tag), Some(top)) = (name.tag(), manifest.layers.last()) {
                let of_name = self.repositories.entry(name.familiar_name()).or_default();
                of_name.insert(tag.to_owned(), top.digest.hex());
            }
        }
        self.listed.push(Listed {
            config: blob_name(&manifest.config.digest),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers: manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect(),
        });
    }

    /// Writes what lists the images, and gives back what was written to.
    pub fn finish(self) -> Result<W> {
        let Self { saving, tar, index, listed, repositories } = self;
        let mut tar = tar.into_inner();
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        let mut documents = vec![("oci-layout", layout), ("index.json", json!(Index::new(index)))];
        if saving == Saving::Docker {
            documents.push(("manifest.json", json!(listed)));
            documents.push(("repositories", json!(repositories)));
        }
        documents.sort_by_key(|(name, _)| *name);
        for (name, document) in documents {
            let text = document.to_string();
            tar.append(name, text.len() as u64, text.as_bytes()).map_err(Error::Write)?;
        }
        tar.builder.into_inner().map_err(Error::Write)
    }
}

impl<W: Write> Tar<W> {
    fn append(&mut self, name: &str, size: u64, bytes: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o444);
        header.set_size(size);
        self.builder.append_data(&mut header, name, bytes)
    }

    /// What goes wrong with the tar itself is kept; what goes wrong with what is read is told.
    fn append_blob(&mut self, digest: &Digest, size: u64, bytes: impl Read) -> image::Result<()> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        let mut reading = Reading { bytes, failed: false };
        match self.append(&blob_name(digest), size, &mut reading) {
            Ok(()) => Ok(()),
            Err(error) if reading.failed => Err(unwrapped(error)),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.fault.get_or_insert(error);
                Err(image::Error::source(told))
            }
        }
    }
}

/// Remembers whether it was the reading that failed.
struct Reading<R> {
    bytes: R,
    failed: bool,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer).inspect_err(|_| self.failed = true)
    }
}

/// The reason that reading a blob gave.
fn unwrapped(error: io::Error) -> image::Error {
    error.downcast::<image::Error>().unwrap_or_else(image::Error::source)
}

impl<W: Write + Send> Sink for Writer<W> {
    fn has(&self, blob: &Descriptor) -> image::Result<bool> {
        Ok(self.tar.lock().written.contains(&blob.digest))
    }

    fn put_blob(&self, blob: &Outgoing<'_>) -> image::Result<()> {
        let Descriptor { digest, size, .. } = blob.descriptor();
        self.tar.lock().append_blob(digest, *size, blob.open()?)
    }

    fn put_manifest(&self, descriptor: &Descriptor, bytes: &[u8], _: &[Reference]) -> image::Result<()> {
        self.tar.lock().append_blob(&descriptor.digest, bytes.len() as u64, bytes)
    }
}
