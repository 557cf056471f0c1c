//! Which of an archive's images is meant.

use super::error::{Error, Result};
use super::identify::Identifier;
use super::layout::{self, Layout};
use super::saved::{Assembled, Saved};
use super::{Archive, Made};
use crate::image::{self, Image, Source};
use crate::oci::{Descriptor, Digest, Document, Manifest, Platform, Raw, Reference, Strictness};

/// How many names a message lists.
const NAMES_SHOWN: usize = 5;
/// How many entries are looked into for the name of the image that was found.
const ENTRIES_ASKED: usize = 100;
/// How deep indexes are nested.
const DEPTH_LIMIT: usize = 8;
/// How many documents are read in search of a manifest that is not needed.
const DOCUMENTS_READ: usize = 100;

/// Where to look for the image that is meant, and what to tell of that.
pub(super) struct Choice {
    pub roots: Vec<Descriptor>,
    pub names: Vec<Reference>,
    pub warnings: Vec<String>,
}

impl Archive {
    pub(super) fn choose_saved(
        &self,
        images: &[Saved],
        wanted: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<Choice> {
        let chosen = match wanted {
            Some(wanted) => self.saved_named(images, wanted)?,
            None => self.saved_for(images, platform)?,
        };
        let labels = images.iter().map(Saved::label);
        let warning = match wanted {
            None if images.len() > 1 => Some(self.several(labels.collect(), &chosen.label())),
            _ => None,
        };
        let identifier = Identifier { store: &self.store, files: &self.files, memo: &self.memo };
        let assembled = chosen.assemble(&identifier, platform)?;
        let roots = vec![self.take_in(assembled)];
        let names = chosen.names.iter().filter_map(|name| name.parse().ok()).collect();
        Ok(Choice { roots, names, warnings: warning.into_iter().collect() })
    }

    fn saved_named<'a>(&self, images: &'a [Saved], wanted: &str) -> Result<&'a Saved> {
        if let Some(index) = wanted.strip_prefix('@') {
            return self.at(images, index);
        }
        let is_wanted = |name: &String| layout::is_same_name(name, wanted);
        let found = images.iter().find(|image| image.names.iter().any(is_wanted));
        found.ok_or_else(|| self.no_such_name(wanted, images.iter().map(Saved::label).collect()))
    }

    fn at<'a, T>(&self, images: &'a [T], index: &str) -> Result<&'a T> {
        let found = index.parse::<usize>().ok().and_then(|index| images.get(index));
        let (path, index, count) = (self.files.path().to_owned(), index.to_owned(), images.len());
        found.ok_or(Error::NoSuchIndex { path, index, count })
    }

    fn no_such_name(&self, wanted: &str, held: Vec<String>) -> Error {
        let (path, wanted) = (self.files.path().to_owned(), wanted.to_owned());
        Error::NoSuchName { path, wanted, held: some_of(&held) }
    }

    /// The first that suits the platform best, else the first.
    fn saved_for<'a>(&self, images: &'a [Saved], platform: Option<&Platform>) -> Result<&'a Saved> {
        let none = || Error::NoImage(self.files.path().to_owned());
        let first = images.first().ok_or_else(none)?;
        if images.len() == 1 {
            return Ok(first);
        }
        let host = Platform::host();
        let strictness =
            if platform.is_some() { Strictness::SameArchitecture } else { Strictness::Compatible };
        let mut best = (usize::MAX, first);
        for image in images {
            let offered = image.platform(&self.files)?;
            let rank = offered.and_then(|offered| platform.unwrap_or(&host).rank(&offered, strictness));
            if let Some(rank) = rank.filter(|rank| *rank < best.0) {
                best = (rank, image);
            }
        }
        Ok(best.1)
    }

    /// Keeps what was made, so that it is found as if it were in the archive, and gives the image's descriptor.
    fn take_in(&self, assembled: Assembled) -> Descriptor {
        if let Some(own) = self.own_manifest(&assembled) {
            return own;
        }
        let descriptor = assembled.descriptor();
        let Assembled { manifest, config, layers } = assembled;
        let mut made = self.made.lock();
        made.insert(manifest.digest(), Made::Document(manifest.bytes().to_vec()));
        made.insert(config.digest(), Made::Document(config.bytes().to_vec()));
        for (layer, found) in layers {
            made.insert(layer.digest, Made::Layer(found));
        }
        descriptor
    }

    /// The image's real manifest, where the layout beside `manifest.json` has it with all that it names: by its
    /// digest the image is known to registries.
    fn own_manifest(&self, assembled: &Assembled) -> Option<Descriptor> {
        let layout = self.layout()?;
        let config = assembled.config.digest();
        let mut search = Search { archive: self, left: DOCUMENTS_READ };
        search.manifest_of(&layout.entries, &config, assembled.layers.len(), 0)
    }

    pub(super) fn choose_in_layout(&self, layout: &Layout, wanted: Option<&str>) -> Result<Choice> {
        let roots = match wanted {
            None => layout.entries.clone(),
            Some(wanted) => match wanted.strip_prefix('@') {
                Some(index) => vec![self.at(&layout.entries, index)?.clone()],
                None => layout.named(wanted),
            },
        };
        if let (true, Some(wanted)) = (roots.is_empty(), wanted) {
            return Err(self.no_such_name(wanted, labels(&layout.entries)));
        }
        Ok(Choice { roots, names: Vec::new(), warnings: layout.passed_over.clone() })
    }

    /// The names of the image that was found in a layout, and a warning if it is one of several.
    pub(super) fn names_in_layout(
        &self,
        roots: &[Descriptor],
        image: &Image,
        platform: Option<&Platform>,
    ) -> (Vec<Reference>, Option<String>) {
        let leads_to = |entry: &&Descriptor| {
            entry.digest == image.descriptor.digest
                || image::select(self, std::slice::from_ref(*entry), platform)
                    .is_ok_and(|selected| selected.image.descriptor.digest == image.descriptor.digest)
        };
        let entry = match roots {
            [only] => Some(only),
            several => several.iter().take(ENTRIES_ASKED).find(leads_to),
        };
        let mut different = labels(roots);
        different.dedup();
        let warning = (different.len() > 1).then(|| {
            let taken = entry.and_then(layout::label).map(str::to_owned);
            self.several(different, &taken.unwrap_or_else(|| image.descriptor.digest.to_string()))
        });
        (entry.map(layout::references).unwrap_or_default(), warning)
    }

    fn several(&self, labels: Vec<String>, taken: &str) -> String {
        format!("{} holds {}; took {taken}", self.files.path().display(), some_of(&labels))
    }
}

fn labels(entries: &[Descriptor]) -> Vec<String> {
    entries.iter().filter_map(layout::label).map(str::to_owned).collect()
}

fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "images without a name".to_owned(),
        count if count > NAMES_SHOWN => format!("{shown} and {} more", count - NAMES_SHOWN),
        _ => shown,
    }
}

/// Looks through indexes for a manifest.
struct Search<'a> {
    archive: &'a Archive,
    left: usize,
}

impl Search<'_> {
    fn manifest_of(
        &mut self,
        entries: &[Descriptor],
        config: &Digest,
        layers: usize,
        depth: usize,
    ) -> Option<Descriptor> {
        for entry in entries.iter().filter(|entry| !entry.is_attestation()) {
            self.left = self.left.checked_sub(1)?;
            let Ok(bytes) = self.archive.document(entry) else { continue };
            let found = match Document::parse(bytes) {
                Ok(Document::Index(index)) if depth < DEPTH_LIMIT => {
                    self.manifest_of(&index.value().manifests, config, layers, depth + 1)
                }
                Ok(Document::Manifest(manifest)) => {
                    self.is_whole(&manifest, config, layers).then(|| entry.clone())
                }
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn is_whole(&self, manifest: &Raw<Manifest>, config: &Digest, layers: usize) -> bool {
        let Manifest { config: of, layers: named, .. } = manifest.value();
        of.digest == *config
            && named.len() == layers
            && self.archive.document(of).is_ok()
            && named.iter().all(|layer| self.archive.place(layer).is_ok())
    }
}
