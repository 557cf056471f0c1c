//! The names of images: `index.json`, changed under a lock and replaced whole.
//!
//! Other tools write to it too. What plyfs does not know in it is kept as it is.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

use serde_json::{Map, Value, json};

use super::{Error, INDEX, Result, Store};
use crate::oci::{Descriptor, Digest, Reference, media};
use crate::sys::file;

pub(super) const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// A hundred thousand images.
const INDEX_LIMIT: u64 = 64 << 20;

/// An image of the store: by one of its names, or by none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub name: Option<Reference>,
    /// Of a manifest, or of an index of several.
    pub descriptor: Descriptor,
}

impl Store {
    /// Every name and every untagged image, in the order of `index.json`.
    pub fn tags(&self) -> Result<Vec<Tag>> {
        let names = self.read_names()?;
        Ok(names
            .entries
            .iter()
            .filter_map(descriptor)
            .map(|descriptor| Tag { name: descriptor.reference(), descriptor })
            .collect())
    }

    /// Keeps the image in the store and gives it the name, which moves if another image has it. That one stays, if
    /// need be untagged.
    pub fn tag(&self, descriptor: &Descriptor, name: Option<&Reference>) -> Result<()> {
        if !self.has_blob(&descriptor.digest)? {
            return Err(Error::NoBlob(descriptor.digest));
        }
        self.change(|entries| {
            if let Some(name) = name {
                withdraw(entries, name);
            }
            place(entries, descriptor, name);
        })
    }

    /// Takes the name away, and tells whose it was. An image with no other name stays, untagged.
    pub fn untag(&self, name: &Reference) -> Result<Option<Descriptor>> {
        self.change(|entries| withdraw(entries, name))
    }

    /// Removes the images by all their names. Their blobs stay until they are swept.
    pub fn remove(&self, manifests: &[Digest]) -> Result<()> {
        let manifests: HashSet<&Digest> = manifests.iter().collect();
        let goes = |entry: &Value| digest(entry).is_some_and(|digest| manifests.contains(&digest));
        self.change(|entries| entries.retain(|entry| !goes(entry)))
    }

    fn change<R>(&self, edit: impl FnOnce(&mut Vec<Value>) -> R) -> Result<R> {
        let _lock = self.lock()?;
        let mut names = self.read_names()?;
        let before = names.entries.clone();
        let result = edit(&mut names.entries);
        if names.entries != before {
            self.write_names(names)?;
        }
        Ok(result)
    }

    fn read_names(&self) -> Result<Names> {
        let path = self.path(INDEX);
        let mut text = Vec::new();
        let index = File::open(&path).map_err(Error::at("opening", &path))?;
        index.take(INDEX_LIMIT + 1).read_to_end(&mut text).map_err(Error::at("reading", &path))?;
        let size = text.len() as u64;
        if size > INDEX_LIMIT {
            return Err(Error::IndexTooLarge { path, size });
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        Names::parse(text).map_err(|source| Error::Index { path, source })
    }

    fn write_names(&self, names: Names) -> Result<()> {
        let path = self.path(INDEX);
        let text = names.into_value().to_string();
        file::write_whole(&path, text.as_bytes(), &self.temporary()).map_err(Error::at("writing", &path))
    }
}

/// `index.json`, with its list of manifests apart.
struct Names {
    rest: Map<String, Value>,
    entries: Vec<Value>,
}

impl Names {
    fn parse(text: &[u8]) -> serde_json::Result<Self> {
        let mut rest: Map<String, Value> = serde_json::from_slice(text)?;
        let entries = match rest.remove("manifests") {
            None => Vec::new(),
            Some(manifests) => serde_json::from_value::<Option<Vec<Value>>>(manifests)?.unwrap_or_default(),
        };
        Ok(Self { rest, entries })
    }

    fn into_value(mut self) -> Value {
        self.rest.insert("manifests".to_owned(), Value::Array(self.entries));
        Value::Object(self.rest)
    }
}

fn descriptor(entry: &Value) -> Option<Descriptor> {
    serde_json::from_value(entry.clone())
        .inspect_err(|error| log::warn!("index.json names something that is no descriptor: {error}"))
        .ok()
}

fn digest(entry: &Value) -> Option<Digest> {
    entry.get("digest")?.as_str()?.parse().ok()
}

fn is_untagged(entry: &Value) -> bool {
    entry.pointer("/annotations").and_then(|annotations| annotations.get(media::REF_NAME)).is_none()
}

/// Takes the name from whatever has it. An entry that says nothing more than another of the same image goes.
fn withdraw(entries: &mut Vec<Value>, name: &Reference) -> Option<Descriptor> {
    let mut owner = None;
    while let Some((at, found)) = find(entries, name) {
        rename(&mut entries[at], None);
        let is_same = |(other, entry): (usize, &Value)| other != at && digest(entry) == Some(found.digest);
        if entries.iter().enumerate().any(is_same) {
            entries.remove(at);
        }
        owner.get_or_insert(found);
    }
    owner
}

fn find(entries: &[Value], name: &Reference) -> Option<(usize, Descriptor)> {
    let named =
        |entry: &Value| descriptor(entry).filter(|descriptor| descriptor.reference().as_ref() == Some(name));
    entries.iter().enumerate().find_map(|(at, entry)| named(entry).map(|descriptor| (at, descriptor)))
}

/// Adds the image by `name`, which nothing has.
fn place(entries: &mut Vec<Value>, image: &Descriptor, name: Option<&Reference>) {
    let is_same = |entry: &Value| digest(entry) == Some(image.digest);
    if let Some(untagged) = entries.iter_mut().find(|entry| is_same(entry) && is_untagged(entry)) {
        rename(untagged, name);
    } else if name.is_some() || !entries.iter().any(is_same) {
        let mut entry = json!(image);
        rename(&mut entry, name);
        entries.push(entry);
    }
}

/// Sets an entry's name, for skopeo and for containerd. All else that it says stays.
fn rename(entry: &mut Value, name: Option<&Reference>) {
    let Some(entry) = entry.as_object_mut() else { return };
    let mut annotations = match entry.remove("annotations") {
        Some(Value::Object(annotations)) => annotations,
        _ => Map::new(),
    };
    for key in [media::REF_NAME, media::CONTAINERD_NAME] {
        match name {
            Some(name) => annotations.insert(key.to_owned(), Value::String(name.to_string())),
            None => annotations.remove(key),
        };
    }
    if !annotations.is_empty() {
        entry.insert("annotations".to_owned(), Value::Object(annotations));
    }
}
