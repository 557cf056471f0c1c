//! Images from a few lines of text. A line each:
//!
//! ```text
//! name hello:latest            the name it has in an archive; several lines, several names
//! created 2024-05-01T10:00:00Z the config's and the history's time
//! env|label KEY=VALUE          into the config
//! entrypoint|cmd WORD...       into the config
//! layer [plain|gzip|zstd]      a layer starts; entries follow, in the order of its tar
//! dir PATH [ATTRIBUTE...]
//! file PATH [ATTRIBUTE...] [: TEXT]    the text and a newline; size=N for N made-up bytes
//! symlink|link PATH -> TARGET
//! fifo PATH    char|block PATH MAJOR:MINOR
//! whiteout PATH    opaque PATH
//! ```
//!
//! An attribute is `mode=0644`, `owner=UID:GID`, `mtime=SECONDS`, `size=BYTES` or `xattr=NAME:VALUE`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

#[derive(Default)]
pub struct Fixture {
    names: Vec<String>,
    created: String,
    env: Vec<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    labels: Map<String, Value>,
    layers: Vec<Layer>,
}

struct Layer {
    packing: Packing,
    tar: tar::Builder<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A blob and what names it.
struct Blob {
    bytes: Vec<u8>,
    hex: String,
}

struct Packed {
    blob: Blob,
    diff_id: String,
    media_type: &'static str,
}

#[derive(Default)]
struct Attributes {
    mode: Option<u32>,
    owner: (u64, u64),
    mtime: u64,
    size: Option<usize>,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Fixture {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fixture = Self { created: "2024-05-01T10:00:00Z".to_owned(), ..Self::default() };
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                fixture.line(line).map_err(|problem| format!("line {}: {line}: {problem}", at + 1))?;
            }
        }
        Ok(fixture)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "name" => self.names.push(rest.to_owned()),
            "created" => self.created = rest.to_owned(),
            "env" => self.env.push(rest.to_owned()),
            "entrypoint" => self.entrypoint.extend(rest.split_whitespace().map(str::to_owned)),
            "cmd" => self.cmd.extend(rest.split_whitespace().map(str::to_owned)),
            "label" => {
                let (key, value) = rest.split_once('=').ok_or("no =")?;
                self.labels.insert(key.to_owned(), value.into());
            }
            "layer" => self.layers.push(Layer::new(rest)?),
            _ => self.layers.last_mut().ok_or("no layer yet")?.entry(word, rest)?,
        }
        Ok(())
    }

    fn config(&self, layers: &[Packed]) -> Blob {
        let history: Vec<Value> = (1..=layers.len())
            .map(|number| json!({"created": self.created, "created_by": format!("layer {number}")}))
            .collect();
        let diff_ids: Vec<&String> = layers.iter().map(|layer| &layer.diff_id).collect();
        Blob::of_json(&json!({
            "created": self.created, "architecture": "amd64", "os": "linux", "config": self.run(),
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        }))
    }

    /// How it is run, of which only what the text says is there.
    fn run(&self) -> Value {
        let fields = [
            ("Env", json!(self.env)),
            ("Labels", Value::Object(self.labels.clone())),
            ("Entrypoint", json!(self.entrypoint)),
            ("Cmd", json!(self.cmd)),
        ];
        let says = |value: &Value| match value {
            Value::Array(words) => !words.is_empty(),
            Value::Object(pairs) => !pairs.is_empty(),
            _ => true,
        };
        let said = fields.into_iter().filter(|(_, value)| says(value));
        Value::Object(said.map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// What `docker save` writes.
    pub fn docker_archive(self) -> io::Result<Vec<u8>> {
        let names = self.names.clone();
        let (config, layers) = self.packed()?;
        let mut archive = tar::Builder::new(Vec::new());
        let config_name = format!("{}.json", config.hex);
        append(&mut archive, &config_name, &config.bytes)?;
        let mut layer_names = Vec::new();
        for layer in &layers {
            layer_names.push(format!("{}/layer.tar", layer.blob.hex));
            append(&mut archive, &format!("{}/layer.tar", layer.blob.hex), &layer.blob.bytes)?;
        }
        let manifest = json!([{"Config": config_name, "RepoTags": names, "Layers": layer_names}]);
        append(&mut archive, "manifest.json", manifest.to_string().as_bytes())?;
        archive.into_inner()
    }

    /// An OCI image layout.
    pub fn oci_layout(self, directory: &Path) -> io::Result<()> {
        let names = self.names.clone();
        let (config, layers) = self.packed()?;
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let descriptors: Vec<Value> =
            layers.iter().map(|layer| layer.blob.descriptor(layer.media_type)).collect();
        let manifest = Blob::of_json(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors,
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        }));
        for blob in layers.iter().map(|layer| &layer.blob).chain([&config, &manifest]) {
            fs::write(blobs.join(&blob.hex), &blob.bytes)?;
        }
        let mut entries: Vec<Value> = names.iter().map(|name| manifest.named(name)).collect();
        if entries.is_empty() {
            entries.push(manifest.descriptor(MANIFEST));
        }
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(directory.join("index.json"), index.to_string())
    }

    /// The uncompressed tar of each layer, bottom first.
    pub fn tars(self) -> io::Result<Vec<Vec<u8>>> {
        self.layers.into_iter().map(|layer| layer.tar.into_inner()).collect()
    }

    fn packed(mut self) -> io::Result<(Blob, Vec<Packed>)> {
        let layers = std::mem::take(&mut self.layers);
        let layers = layers.into_iter().map(Layer::pack).collect::<io::Result<Vec<_>>>()?;
        Ok((self.config(&layers), layers))
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { hex: hex(&bytes), bytes }
    }

    fn of_json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.hex), "size": self.bytes.len()})
    }

    fn named(&self, name: &str) -> Value {
        let mut descriptor = self.descriptor(MANIFEST);
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        descriptor
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, name, bytes)
}

impl Layer {
    fn new(packing: &str) -> Result<Self, String> {
        let packing = match packing {
            "plain" => Packing::Plain,
            "" | "gzip" => Packing::Gzip,
            "zstd" => Packing::Zstd,
            _ => return Err("plain, gzip or zstd".to_owned()),
        };
        Ok(Self { packing, tar: tar::Builder::new(Vec::new()) })
    }

    fn pack(self) -> io::Result<Packed> {
        let tar = self.tar.into_inner()?;
        let diff_id = format!("sha256:{}", hex(&tar));
        let (bytes, media_type) = match self.packing {
            Packing::Plain => (tar, "application/vnd.oci.image.layer.v1.tar"),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&tar)?;
                (encoder.finish()?, "application/vnd.oci.image.layer.v1.tar+gzip")
            }
            Packing::Zstd => (zstd::encode_all(&tar[..], 3)?, "application/vnd.oci.image.layer.v1.tar+zstd"),
        };
        Ok(Packed { blob: Blob::new(bytes), diff_id, media_type })
    }

    fn entry(&mut self, word: &str, rest: &str) -> Result<(), String> {
        match word {
            "symlink" | "link" => {
                let (path, target) = rest.split_once(" -> ").ok_or("no ->")?;
                let kind = if word == "link" { tar::EntryType::Link } else { tar::EntryType::Symlink };
                let mut header = header(kind, &Attributes::default());
                self.tar.append_link(&mut header, path, target).map_err(|error| error.to_string())
            }
            "char" | "block" => {
                let (path, numbers) = rest.split_once(' ').ok_or("no MAJOR:MINOR")?;
                self.device(word, path, numbers)
            }
            "whiteout" => self.append(tar::EntryType::Regular, &whiteout(rest), &Attributes::default(), b""),
            "opaque" => {
                let marker = format!("{}/.wh..wh..opq", rest.trim_end_matches('/'));
                let marker = marker.trim_start_matches('/');
                self.append(tar::EntryType::Regular, marker, &Attributes::default(), b"")
            }
            "dir" | "file" | "fifo" => self.plain(word, rest),
            _ => Err("unknown word".to_owned()),
        }
    }

    fn plain(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let (head, text) = match rest.split_once(" : ") {
            Some((head, text)) => (head, Some(format!("{text}\n"))),
            None => (rest, None),
        };
        let (path, attributes) = head.split_once(' ').unwrap_or((head, ""));
        let attributes = Attributes::parse(attributes)?;
        let content = match (text, attributes.size) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(size)) => made_up(path, size),
            (None, None) => Vec::new(),
        };
        let kind = match word {
            "dir" => tar::EntryType::Directory,
            "fifo" => tar::EntryType::Fifo,
            _ => tar::EntryType::Regular,
        };
        self.append(kind, path, &attributes, &content)
    }

    fn append(
        &mut self,
        kind: tar::EntryType,
        path: &str,
        attributes: &Attributes,
        bytes: &[u8],
    ) -> Result<(), String> {
        let xattrs: Vec<(String, &[u8])> = attributes
            .xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
            .collect();
        let mut header = header(kind, attributes);
        header.set_size(bytes.len() as u64);
        let extensions = xattrs.iter().map(|(name, value)| (name.as_str(), *value));
        if !xattrs.is_empty() {
            self.tar.append_pax_extensions(extensions).map_err(|error| error.to_string())?;
        }
        self.tar.append_data(&mut header, path, bytes).map_err(|error| error.to_string())
    }

    fn device(&mut self, word: &str, path: &str, numbers: &str) -> Result<(), String> {
        let kind = if word == "char" { tar::EntryType::Char } else { tar::EntryType::Block };
        let (major, minor) = pair(numbers)?;
        let mut header = header(kind, &Attributes::default());
        header.set_device_major(major as u32).map_err(|error| error.to_string())?;
        header.set_device_minor(minor as u32).map_err(|error| error.to_string())?;
        self.tar.append_data(&mut header, path, io::empty()).map_err(|error| error.to_string())
    }
}

fn whiteout(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/.wh.{name}"),
        None => format!(".wh.{path}"),
    }
}

fn header(kind: tar::EntryType, attributes: &Attributes) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    let default = match kind {
        tar::EntryType::Directory => 0o755,
        tar::EntryType::Symlink => 0o777,
        _ => 0o644,
    };
    header.set_mode(attributes.mode.unwrap_or(default));
    header.set_uid(attributes.owner.0);
    header.set_gid(attributes.owner.1);
    header.set_mtime(attributes.mtime);
    header.set_size(0);
    header
}

impl Attributes {
    fn parse(text: &str) -> Result<Self, String> {
        let mut attributes = Self::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("no = in {word}"))?;
            match key {
                "mode" => {
                    attributes.mode = Some(u32::from_str_radix(value, 8).map_err(|error| error.to_string())?)
                }
                "owner" => attributes.owner = pair(value)?,
                "mtime" => attributes.mtime = number(value)?,
                "size" => attributes.size = Some(number(value)? as usize),
                "xattr" => {
                    let (name, value) = value.split_once(':').ok_or("no : in an xattr")?;
                    attributes.xattrs.push((name.to_owned(), value.as_bytes().to_vec()));
                }
                _ => return Err(format!("unknown attribute {key}")),
            }
        }
        Ok(attributes)
    }
}

fn pair(text: &str) -> Result<(u64, u64), String> {
    let (one, other) = text.split_once(':').ok_or("no :")?;
    Ok((number(one)?, number(other)?))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

/// Bytes that don't compress, and are the same for the same path every time.
fn made_up(path: &str, size: usize) -> Vec<u8> {
    let mut state = path.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(size)
    .collect()
}
