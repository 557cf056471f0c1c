//! An OCI image layout with one image, as every other tool reads it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Error;
use crate::oci::{Descriptor, Digest};

pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub const TAG: &str = "bench";

    pub fn new(directory: &Path) -> Result<Self, Error> {
        let layout = Self { directory: directory.to_owned() };
        fs::create_dir_all(layout.directory.join("blobs/sha256"))
            .map_err(Error::doing("making an image layout"))?;
        Ok(layout)
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    pub fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        fs::write(self.blob(digest), bytes).map_err(Error::doing("writing an image layout"))
    }

    pub fn write_from(&self, digest: &Digest, mut bytes: impl Read) -> Result<(), Error> {
        let mut copy = || io::copy(&mut bytes, &mut File::create(self.blob(digest))?);
        copy().map(drop).map_err(Error::doing("writing an image layout"))
    }

    /// A new file, which [`Self::adopt`] gives its name.
    pub fn unnamed(&self) -> PathBuf {
        self.directory.join("blobs/new")
    }

    pub fn adopt(&self, digest: &Digest) -> Result<(), Error> {
        fs::rename(self.unnamed(), self.blob(digest)).map_err(Error::doing("writing an image layout"))
    }

    /// The manifest, and the name that it has.
    pub fn finish(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        self.write(&manifest.digest, bytes)?;
        let entry = json!({
            "mediaType": manifest.media_type, "digest": manifest.digest, "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": Self::TAG},
        });
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let write = |name: &str, text: String| {
            fs::write(self.directory.join(name), text).map_err(Error::doing("writing an image layout"))
        };
        write("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        write("index.json", index.to_string())
    }
}
