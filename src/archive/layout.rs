//! OCI image layouts, `index.json` and blobs by digest, and the `dir:` transport, which is one image with its blobs
//! beside its manifest. An `oci-layout` file is not asked for: some writers leave it out.

use serde::Deserialize;
use serde_json::Value;

use super::error::{Error, Result};
use super::files::{Files, Found};
use crate::oci::{Descriptor, Digest, Reference, media};

const INDEX: &str = "index.json";
const MANIFEST: &str = "manifest.json";
/// PATH_MAX.
const LONGEST_LINK: u64 = 4096;

/// What is listed at the top.
pub struct Layout {
    naming: Naming,
    pub entries: Vec<Descriptor>,
    /// Why other entries are passed over.
    pub passed_over: Vec<String>,
}

/// How a blob's file is called.
enum Naming {
    /// `blobs/sha256/HEX`
    Layout,
    /// `HEX`, `HEX.manifest.json`; and `manifest.json`, of this digest.
    Dir(Digest),
}

#[derive(Deserialize)]
struct Root {
    manifests: Option<Vec<Value>>,
}

impl Layout {
    /// Reads `index.json`; `None` where there is none.
    pub fn read(files: &Files) -> Result<Option<Self>> {
        let Some(text) = files.listing(INDEX)? else { return Ok(None) };
        let invalid = |source| Error::Json { path: files.path().to_owned(), name: INDEX.to_owned(), source };
        let root: Option<Root> = serde_json::from_slice(&text).map_err(invalid)?;
        let mut layout = Self { naming: Naming::Layout, entries: Vec::new(), passed_over: Vec::new() };
        for entry in root.and_then(|root| root.manifests).unwrap_or_default() {
            layout.add(files, entry)?;
        }
        Ok(Some(layout))
    }

    /// Reads the `manifest.json` of `dir:`, which is a manifest or an index.
    pub fn read_dir(files: &Files) -> Result<Option<Self>> {
        let Some(text) = files.document(MANIFEST)? else { return Ok(None) };
        let descriptor = Descriptor::of("", &text);
        let naming = Naming::Dir(descriptor.digest);
        Ok(Some(Self { naming, entries: vec![descriptor], passed_over: Vec::new() }))
    }

    /// An entry that cannot be one, or that names what is not there, does not keep the others from being read.
    fn add(&mut self, files: &Files, entry: Value) -> Result<()> {
        let shown = entry.get("digest").map_or_else(String::new, Value::to_string);
        let descriptor: Descriptor = match serde_json::from_value(entry) {
            Ok(descriptor) => descriptor,
            Err(error) => {
                self.passed_over.push(format!("{INDEX} lists {shown}, which is no image: {error}"));
                return Ok(());
            }
        };
        if descriptor.is_attestation() {
            return Ok(());
        }
        match self.find(files, &descriptor.digest)? {
            found if found.is_some() || descriptor.embedded().is_some() => self.entries.push(descriptor),
            _ => self.passed_over.push(format!("{INDEX} lists {}, which is missing", descriptor.digest)),
        }
        Ok(())
    }

    /// The file that should be the blob of this digest.
    pub fn find(&self, files: &Files, digest: &Digest) -> Result<Option<Found>> {
        match self.names_of(digest).iter().find_map(|name| files.find(name).transpose()).transpose()? {
            Some(found) => match linked_name(files, &found, digest)? {
                Some(name) => files.find(&name),
                None => Ok(Some(found)),
            },
            None => Ok(None),
        }
    }

    /// A small blob; not verified.
    pub fn document(&self, files: &Files, digest: &Digest) -> Result<Option<Vec<u8>>> {
        match self.find(files, digest)? {
            Some(found) => files.document(&found.name),
            None => Ok(None),
        }
    }

    fn names_of(&self, digest: &Digest) -> Vec<String> {
        match self.naming {
            Naming::Layout => vec![blob_name(digest)],
            Naming::Dir(manifest) if manifest == *digest => vec![MANIFEST.to_owned()],
            Naming::Dir(_) => vec![digest.hex(), format!("{}.manifest.json", digest.hex())],
        }
    }

    /// Those of the entries that a tag or name means.
    pub fn named(&self, wanted: &str) -> Vec<Descriptor> {
        self.entries.iter().filter(|entry| is_named(entry, wanted)).cloned().collect()
    }
}

/// A layout whose blobs are symlinks, and that git checked out where it makes none, has their targets as text. Such a
/// file is read as the symlink it was.
fn linked_name(files: &Files, found: &Found, digest: &Digest) -> Result<Option<String>> {
    if found.range.size > LONGEST_LINK {
        return Ok(None);
    }
    let text = files.document(&found.name)?.unwrap_or_default();
    let target = std::str::from_utf8(&text).ok().filter(|target| target.starts_with("../"));
    Ok(target.filter(|_| Digest::of(&text) != *digest).and_then(|target| beside(&found.name, target)))
}

/// The name that `target` has, seen from the directory of `name`; `None` outside of the archive.
fn beside(name: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

pub fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The digest in the name of a blob's file, as docker 25 and later name layers.
pub fn digest_in(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix("blobs/sha256/")?;
    format!("sha256:{hex}").parse().ok()
}

/// What an entry is called: its full name, if it has one, else its tag.
pub fn label(entry: &Descriptor) -> Option<&str> {
    let said = |key| entry.annotations.get(key).map(String::as_str);
    said(media::CONTAINERD_NAME).or_else(|| said(media::REF_NAME)).filter(|label| !label.is_empty())
}

/// Whether two spellings name one image.
pub fn is_same_name(name: &str, wanted: &str) -> bool {
    let reference = |text: &str| text.parse::<Reference>().ok();
    name == wanted || reference(name).is_some_and(|name| reference(wanted) == Some(name))
}

fn is_named(entry: &Descriptor, wanted: &str) -> bool {
    let names = [media::REF_NAME, media::CONTAINERD_NAME].map(|key| entry.annotations.get(key));
    let ends_with_tag = |name: &str| name.strip_suffix(wanted).is_some_and(|before| before.ends_with(':'));
    // `latest` alone is a tag, and not the image docker.io/library/latest.
    let is_tag = !wanted.contains([':', '/', '@']);
    names.into_iter().flatten().any(|name| {
        name == wanted
            || ends_with_tag(name)
            || !is_tag && name.contains(['/', ':']) && is_same_name(name, wanted)
    })
}

/// The full names of an entry. A tag alone names no image.
pub fn references(entry: &Descriptor) -> Vec<Reference> {
    let keys = [media::CONTAINERD_NAME, media::REF_NAME];
    let names = keys.iter().filter_map(|key| entry.annotations.get(*key));
    let mut references: Vec<Reference> =
        names.filter(|name| name.contains(['/', ':'])).filter_map(|name| name.parse().ok()).collect();
    references.dedup();
    references
}
