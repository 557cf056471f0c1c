//! An image made from another without running anything: its documents edited, a layer more or all layers as one. The
//! layers that stay are shared, and what the other's documents say beyond what plyfs knows stays too.

use std::collections::BTreeMap;

use super::intake::{Intake, distinct};
use super::side_by_side::{side_by_side, workers};
use super::{Error, Image, LayerOf, Progress, Result, Source};
use crate::layer::{Codec, Identity};
use crate::oci::{Config, Descriptor, History, Manifest, MediaType, Raw, Reference, media};
use crate::store::Store;

/// What another image is to be made of.
pub struct Derivation<'a> {
    pub base: &'a Image,
    /// How many of the base's layers stay, from the bottom.
    pub kept: usize,
    /// All but what it says of layers.
    pub config: Config,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
    pub steps: Vec<Step>,
}

/// What was done, as the history tells it, and the layer that it made.
pub struct Step {
    pub history: History,
    pub layer: Option<Identity>,
}

impl<'a> Derivation<'a> {
    /// One that has all of the base, and is made at another time.
    pub fn of(base: &'a Image, created: String) -> Self {
        Self {
            base,
            kept: base.manifest.value().layers.len(),
            config: Config { created: Some(created), ..base.config.value().clone() },
            annotations: base.manifest.value().annotations.clone(),
            steps: Vec::new(),
        }
    }

    /// Lists the image in the store, with those of the base's layers that are not there yet.
    pub fn make(
        self,
        store: &Store,
        source: &dyn Source,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let _lease = store.lease()?;
        let mut layers = self.base.layers()?;
        layers.truncate(self.kept);
        let intake = Intake { store, source, progress };
        side_by_side(&distinct(&layers)?, LayerOf::size, workers(source), |layer| intake.load(layer))?;
        let (manifest, config) = self.documents()?;
        store.put(config.bytes())?;
        store.put(manifest.bytes())?;
        let mut descriptor = Descriptor::of(manifest.value().media_type(), manifest.bytes());
        descriptor.platform = config.value().platform();
        store.tag(&descriptor, name)?;
        Ok(Image { descriptor, manifest, config, names: name.into_iter().cloned().collect() })
    }

    fn documents(self) -> Result<(Raw<Manifest>, Raw<Config>)> {
        let base = self.base.descriptor.digest;
        let invalid = |source| Error::Invalid { digest: base, source };
        let mut manifest = self.base.manifest.value().clone();
        let form = Form::of(&manifest);
        let mut config = self.config;
        config.rootfs.diff_ids.truncate(self.kept);
        manifest.layers.truncate(self.kept);
        config.history.truncate(steps(&config.history, self.kept));
        for Step { history, layer } in self.steps {
            config.history.push(History { empty_layer: layer.is_none(), ..history });
            if let Some(layer) = layer {
                config.rootfs.diff_ids.push(layer.diff_id);
                let media_type = form.layer(layer.codec).ok_or(Error::NoForm(layer.codec.name()))?;
                manifest.layers.push(Descriptor::new(media_type, layer.digest, layer.size));
            }
        }
        let config = self.base.config.edit(config).map_err(invalid)?;
        let kind: MediaType = manifest.config.media_type.clone();
        manifest.config = Descriptor::of(kind, config.bytes());
        manifest.subject = None;
        manifest.annotations = self.annotations;
        Ok((self.base.manifest.edit(manifest).map_err(invalid)?, config))
    }
}

/// How many steps of a history are told when so many layers are there; all, where all layers stay.
fn steps(history: &[History], layers: usize) -> usize {
    let mut seen = 0;
    let of_layers = history.iter().filter(|step| !step.empty_layer).count();
    if layers >= of_layers {
        return history.len();
    }
    history
        .iter()
        .take_while(|step| {
            seen += usize::from(!step.empty_layer);
            seen <= layers
        })
        .count()
}

/// Whose media types a manifest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Docker,
    Oci,
}

impl Form {
    fn of(manifest: &Manifest) -> Self {
        match manifest.media_type() {
            media::DOCKER_MANIFEST => Self::Docker,
            _ => Self::Oci,
        }
    }

    /// `None`: no such layer can be named.
    fn layer(self, codec: Codec) -> Option<&'static str> {
        match (self, codec) {
            (Self::Docker, Codec::Plain) => Some(media::DOCKER_LAYER),
            (Self::Docker, Codec::Gzip) => Some(media::DOCKER_LAYER_GZIP),
            (Self::Oci, Codec::Plain) => Some(media::OCI_LAYER),
            (Self::Oci, Codec::Gzip) => Some(media::OCI_LAYER_GZIP),
            (Self::Oci, Codec::Zstd) => Some(media::OCI_LAYER_ZSTD),
            _ => None,
        }
    }
}
