//! A tar becomes an image of one layer.

use std::io::Read;

use super::made::taken;
use super::{Error, Image, Result};
use crate::layer::Codec;
use crate::oci::{Config, Descriptor, History, Manifest, Raw, Reference, media};
use crate::store::Store;

/// Keeps the layer that `stream` is, as it is, with a config and a manifest for it. Of `config` all stays but what
/// speaks of layers; `step` is how the history tells of this one.
pub fn import(
    store: &Store,
    stream: impl Read,
    mut config: Config,
    step: History,
    name: Option<&Reference>,
) -> Result<Image> {
    // Until the manifest is listed nothing reaches the blobs, and a sweep would take them.
    let _lease = store.lease()?;
    let identity = taken(store, stream)?;
    config.rootfs.diff_ids = vec![identity.diff_id];
    config.history = vec![step];
    let platform = config.platform();
    let made = |digest| move |source| Error::Invalid { digest, source };
    let config = Raw::encode(config).map_err(made(identity.digest))?;
    let layer = Descriptor::new(media_type(identity.codec), identity.digest, identity.size);
    let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, config.bytes()), vec![layer]);
    let manifest = Raw::encode(manifest).map_err(made(identity.digest))?;
    store.put(config.bytes())?;
    store.put(manifest.bytes())?;
    let mut descriptor = Descriptor::of(media::OCI_MANIFEST, manifest.bytes());
    descriptor.platform = platform;
    store.tag(&descriptor, name)?;
    Ok(Image { descriptor, manifest, config, names: name.into_iter().cloned().collect() })
}

fn media_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Gzip => media::OCI_LAYER_GZIP,
        Codec::Zstd => media::OCI_LAYER_ZSTD,
        // The spec has no type for any other; what is in the blob is told by its first bytes.
        Codec::Plain | Codec::Xz | Codec::Bzip2 => media::OCI_LAYER,
    }
}
