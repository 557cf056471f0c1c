//! Archives are built in memory, in the few lines that matter, and read.

mod docker;
mod layers;
mod layouts;
mod outer;
mod real;
mod writing;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::image::Source;
use crate::oci::{Descriptor, Reference, media};

/// A store, and a directory for archives.
struct Place {
    directory: tempfile::TempDir,
    store: Store,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    Place { directory, store }
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, path: &Path) -> Result<Archive> {
        Archive::open(&self.store, &Location { form: Form::Any, path: path.to_owned(), reference: None })
    }

    fn image(&self, path: &Path, wanted: Option<&str>) -> Result<(Image, Vec<String>)> {
        self.open(path)?.image(wanted, None)
    }

    fn refusal(&self, path: &Path, wanted: Option<&str>) -> String {
        let said = self.image(path, wanted).map(|(image, _)| image.id()).unwrap_err().to_string();
        said.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

/// What stands in a tar.
enum Entry {
    File(Vec<u8>),
    Symlink(&'static str),
    Hardlink(&'static str),
}

fn text(value: &Value) -> Entry {
    Entry::File(value.to_string().into_bytes())
}

fn tar<N: AsRef<str>>(entries: &[(N, Entry)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let name = name.as_ref();
        match entry {
            Entry::File(bytes) => {
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, &bytes[..]).unwrap();
            }
            Entry::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            }
            Entry::Hardlink(target) => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn file(bytes: &[u8]) -> Entry {
    Entry::File(bytes.to_vec())
}

/// A layer with one file, `name`.
fn layer(name: &str) -> Vec<u8> {
    tar(&[(name, file(b"content"))])
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 3);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A config of `layers`, which are not compressed.
fn config(architecture: &str, layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

/// The bytes of an image's layers, as they are stored.
fn bytes_of(archive: &Archive, image: &Image) -> Vec<Vec<u8>> {
    let read = |layer: crate::image::LayerOf| {
        let mut bytes = Vec::new();
        archive.blob(&layer.descriptor).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    image.layers().unwrap().into_iter().map(read).collect()
}

fn host() -> String {
    Platform::host().architecture
}
