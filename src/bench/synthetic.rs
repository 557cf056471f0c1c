//! An image that is always the same: for a machine that has none yet, and for figures that grow with its size. A base
//! with many small files, an application of thousands, one big file, and a layer that changes and hides some.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::Error;
use super::layout::Layout;
use super::statistics::Chance;
use crate::oci::{Descriptor, Digest, Hasher, Manifest, Raw, media};

/// How much there is of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Of the application; the base has half as many.
    pub files: usize,
    pub big_bytes: usize,
}

impl Size {
    pub const USUAL: Self = Self { files: 6000, big_bytes: 64 << 20 };
    pub const QUICK: Self = Self { files: 1500, big_bytes: 16 << 20 };
}

/// 2024-05-01, for no clock may be in what is always the same.
const MOMENT: u64 = 1_714_521_600;
const GZIP: u32 = 6;

/// Writes the image, and gives its layers, bottom first.
pub fn write(image: &mut Building<'_>, size: &Size) -> Result<Vec<Descriptor>, Error> {
    image.layer(|layer| base(layer, size.files / 2))?;
    image.layer(|layer| application(layer, size.files))?;
    image.layer(|layer| layer.filled("usr/lib/big.so", size.big_bytes))?;
    image.layer(|layer| changes(layer, size.files))?;
    image.finish()
}

fn base(layer: &mut Layer, files: usize) -> io::Result<()> {
    layer.file("etc/os-release", b"NAME=\"plyfs bench\"\nID=plyfs-bench\n")?;
    let mut chance = Chance::new();
    for number in 0..files {
        let path = format!("usr/share/base-{:02}/file-{number:05}", number % 40);
        layer.filled(&path, size_of_file(&mut chance))?;
    }
    layer.link("bin", "usr/bin")
}

fn application(layer: &mut Layer, files: usize) -> io::Result<()> {
    let mut chance = Chance::new();
    for number in 0..files {
        let path = format!("opt/application/package-{:03}/lib/module-{number:05}.js", number / 20);
        layer.filled(&path, size_of_file(&mut chance))?;
    }
    Ok(())
}

/// Some files changed, some hidden, and a directory that shows nothing of what was in it.
fn changes(layer: &mut Layer, files: usize) -> io::Result<()> {
    for number in (0..files / 2).step_by(15) {
        let directory = format!("usr/share/base-{:02}", number % 40);
        match number % 2 {
            0 => layer.file(&format!("{directory}/file-{number:05}"), b"changed\n")?,
            _ => layer.file(&format!("{directory}/.wh.file-{number:05}"), b"")?,
        }
    }
    layer.file("opt/application/package-000/.wh..wh..opq", b"")?;
    layer.file("opt/application/package-000/index.js", b"changed\n")
}

/// Most files are small, and a few are not: from 100 bytes to 100 kB, each size as often as twice that size.
fn size_of_file(chance: &mut Chance) -> usize {
    let doublings = chance.below(1000) as f64 / 100.0;
    (100.0 * doublings.exp2()) as usize
}

/// Words in no order, which compress about as well as programs do.
fn filler(length: usize) -> Vec<u8> {
    const WORDS: [&[u8]; 12] = [
        b"return ",
        b"function ",
        b"const ",
        b"(value) ",
        b"=> {\n",
        b"}\n",
        b"if ",
        b"null",
        b".map",
        b"\x00\x01\x02\x03",
        b"\x7fELF",
        b"import ",
    ];
    let mut chance = Chance::new();
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        bytes.extend_from_slice(chance.one_of::<&[u8]>(&WORDS));
        bytes.extend_from_slice(&chance.number().to_le_bytes()[..chance.below(5) as usize]);
    }
    bytes.truncate(length);
    bytes
}

/// An image on its way.
pub struct Building<'a> {
    layout: &'a Layout,
    layers: Vec<Descriptor>,
    diff_ids: Vec<String>,
}

/// A tar that is compressed and digested while it is written.
pub struct Layer(tar::Builder<Digesting<GzEncoder<Digesting<BufWriter<File>>>>>);

struct Digesting<W> {
    to: W,
    digest: Hasher,
    length: u64,
}

impl<W: Write> Digesting<W> {
    fn new(to: W) -> Self {
        Self { to, digest: Hasher::default(), length: 0 }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<'a> Building<'a> {
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, layers: Vec::new(), diff_ids: Vec::new() }
    }

    /// One more layer, over those that are there.
    pub fn layer(&mut self, fill: impl FnOnce(&mut Layer) -> io::Result<()>) -> Result<(), Error> {
        let built = self.build(fill).map_err(Error::doing("writing a layer"))?;
        let (digest, size, diff_id) = built;
        self.layout.adopt(&digest)?;
        self.layers.push(Descriptor::new(media::OCI_LAYER_GZIP, digest, size));
        self.diff_ids.push(diff_id.to_string());
        Ok(())
    }

    fn build(&self, fill: impl FnOnce(&mut Layer) -> io::Result<()>) -> io::Result<(Digest, u64, Digest)> {
        let blob = Digesting::new(BufWriter::new(File::create(self.layout.unnamed())?));
        let mut layer =
            Layer(tar::Builder::new(Digesting::new(GzEncoder::new(blob, Compression::new(GZIP)))));
        fill(&mut layer)?;
        let Digesting { to: packing, digest: diff_id, .. } = layer.0.into_inner()?;
        let mut blob = packing.finish()?;
        blob.flush()?;
        Ok((blob.digest.finish(), blob.length, diff_id.finish()))
    }

    pub fn finish(&self) -> Result<Vec<Descriptor>, Error> {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        });
        let config = config.to_string().into_bytes();
        let described = Descriptor::of(media::OCI_CONFIG, &config);
        self.layout.write(&described.digest, &config)?;
        let manifest = Raw::encode(Manifest::new(described, self.layers.clone()))
            .map_err(|error| Error::doing("writing a manifest")(io::Error::other(error)))?;
        let descriptor = Descriptor::of(media::OCI_MANIFEST, manifest.bytes());
        self.layout.finish(&descriptor, manifest.bytes())?;
        Ok(self.layers.clone())
    }
}

impl Layer {
    fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MOMENT);
        header.set_size(size as u64);
        header
    }

    pub fn file(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Self::header(tar::EntryType::Regular, 0o644, bytes.len());
        self.0.append_data(&mut header, path, bytes)
    }

    /// The usual content.
    pub fn filled(&mut self, path: &str, length: usize) -> io::Result<()> {
        self.file(path, &filler(length))
    }

    fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = Self::header(tar::EntryType::Symlink, 0o777, 0);
        self.0.append_link(&mut header, path, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_the_same_every_time() {
        let small = Size { files: 60, big_bytes: 5000 };
        let written = || {
            let place = tempfile::tempdir().unwrap();
            let layout = Layout::new(place.path()).unwrap();
            write(&mut Building::new(&layout), &small).unwrap()
        };
        let (one, other) = (written(), written());
        assert_eq!(one, other);
        assert_eq!(one.len(), 4);
    }

    #[test]
    fn filler_compresses_about_as_programs_do() {
        let bytes = filler(1 << 20);
        let mut packed = GzEncoder::new(Vec::new(), Compression::new(GZIP));
        packed.write_all(&bytes).unwrap();
        let ratio = bytes.len() as f64 / packed.finish().unwrap().len() as f64;
        assert!((1.8..5.0).contains(&ratio), "{ratio}");
    }
}
