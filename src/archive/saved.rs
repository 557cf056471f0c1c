//! An image as parts in an archive that has no OCI manifest: of `docker save`, of image format 1.0, or a bare layer.
//! Its manifest is made here. It depends on nothing but the bytes of the archive, so the image's digest stays the
//! same wherever and whenever it is made.

use super::error::{Error, Result};
use super::files::{Files, Found};
use super::identify::Identifier;
use super::v1;
use crate::oci::{Config, Descriptor, DiffId, History, Manifest, Platform, Raw, media};

/// One image.
#[derive(Debug)]
pub struct Saved {
    /// As they stand in the archive.
    pub names: Vec<String>,
    pub parts: Parts,
}

#[derive(Debug)]
pub enum Parts {
    /// In `manifest.json`: paths in the archive.
    Listed { config: String, layers: Vec<String> },
    /// The id of the topmost layer of an image of format 1.0.
    Tip(String),
    /// The file itself is the only layer.
    Layer,
}

/// The documents of an image, and where its layers are.
pub struct Assembled {
    pub manifest: Raw<Manifest>,
    pub config: Raw<Config>,
    pub layers: Vec<(Descriptor, Found)>,
}

impl Assembled {
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(media::OCI_MANIFEST, self.manifest.bytes())
    }
}

/// A layer of the archive, and what it decompresses to.
struct Part {
    descriptor: Descriptor,
    diff_id: DiffId,
    found: Found,
}

impl Saved {
    /// What the image is called in a message.
    pub fn label(&self) -> String {
        let unnamed = || match &self.parts {
            Parts::Listed { config, .. } => config.clone(),
            Parts::Tip(id) => id.clone(),
            Parts::Layer => "the layer".to_owned(),
        };
        self.names.first().cloned().unwrap_or_else(unnamed)
    }

    /// What the image says that it is for.
    pub fn platform(&self, files: &Files) -> Result<Option<Platform>> {
        match &self.parts {
            Parts::Listed { config, .. } => Ok(read_config(files, config)?.value().platform()),
            Parts::Tip(id) => Ok(v1::chain(files, id)?.config.platform()),
            Parts::Layer => Ok(None),
        }
    }

    /// Makes the documents. A layer whose digest the archive does not say is read through for it, once.
    pub fn assemble(&self, identifier: &Identifier<'_>, platform: Option<&Platform>) -> Result<Assembled> {
        let files = identifier.files;
        match &self.parts {
            Parts::Listed { config, layers } => self.of_listed(identifier, config, layers),
            Parts::Tip(id) => {
                let v1::Chain { layers, config } = v1::chain(files, id)?;
                let layers = layers.iter().map(|name| files.require(name)).collect::<Result<Vec<_>>>()?;
                of_unidentified(identifier, config, layers)
            }
            Parts::Layer => {
                let host = Platform::host();
                let config = config_of_layer(platform.unwrap_or(&host));
                of_unidentified(identifier, config, files.layer().cloned().into_iter().collect())
            }
        }
    }

    fn of_listed(&self, identifier: &Identifier<'_>, config: &str, layers: &[String]) -> Result<Assembled> {
        let files = identifier.files;
        let config = read_config(files, config)?;
        let diff_ids = &config.value().rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let (path, image) = (files.path().to_owned(), self.label());
            return Err(Error::LayerCount { path, image, layers: layers.len(), diff_ids: diff_ids.len() });
        }
        let parts = layers.iter().zip(diff_ids).map(|(name, diff_id)| {
            let found = files.require(name)?;
            let descriptor = identifier.describe(&found, *diff_id)?;
            Ok(Part { descriptor, diff_id: *diff_id, found })
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        assembled(files, config, parts)
    }
}

fn read_config(files: &Files, name: &str) -> Result<Raw<Config>> {
    let missing = || Error::NoMember { path: files.path().to_owned(), name: name.to_owned() };
    let text = files.document(name)?.ok_or_else(missing)?;
    Raw::parse(text).map_err(|source| Error::Invalid {
        path: files.path().to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    })
}

/// An image of layers of which nothing but their bytes is known.
fn of_unidentified(identifier: &Identifier<'_>, mut config: Config, layers: Vec<Found>) -> Result<Assembled> {
    let identify = |found: Found| {
        let (descriptor, diff_id) = identifier.identify(&found)?;
        Ok(Part { descriptor, diff_id, found })
    };
    let parts = layers.into_iter().map(identify).collect::<Result<Vec<_>>>()?;
    config.rootfs.diff_ids = parts.iter().map(|part| part.diff_id).collect();
    let config = Raw::encode(config).map_err(invalid(identifier.files))?;
    assembled(identifier.files, config, parts)
}

fn assembled(files: &Files, config: Raw<Config>, parts: Vec<Part>) -> Result<Assembled> {
    let of_config = Descriptor::of(media::OCI_CONFIG, config.bytes());
    let layers: Vec<_> = parts.into_iter().map(|part| (part.descriptor, part.found)).collect();
    let descriptors = layers.iter().map(|(descriptor, _)| descriptor.clone()).collect();
    let manifest = Raw::encode(Manifest::new(of_config, descriptors)).map_err(invalid(files))?;
    Ok(Assembled { manifest, config, layers })
}

fn invalid(files: &Files) -> impl Fn(crate::oci::InvalidDocument) -> Error {
    let path = files.path().to_owned();
    move |source| Error::Invalid {
        path: path.clone(),
        name: "what was made of it".to_owned(),
        source: Box::new(source),
    }
}

/// No time of creation: the same layer is the same image.
fn config_of_layer(platform: &Platform) -> Config {
    let history = History { comment: Some("imported from a tar".to_owned()), ..History::default() };
    Config {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        history: vec![history],
        ..Config::default()
    }
}
