//! `manifest.json` of `docker save`: for each image its names, its config and its layers, as paths in the archive.

use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::files::Files;
use super::saved::{Parts, Saved};
use crate::oci::LAYER_LIMIT;

const NAME: &str = "manifest.json";

/// The images that `manifest.json` lists; `None` where there is none.
pub fn images(files: &Files) -> Result<Option<Vec<Saved>>> {
    let Some(text) = files.listing(NAME)? else { return Ok(None) };
    let invalid = |source| Error::Json { path: files.path().to_owned(), name: NAME.to_owned(), source };
    let entries: Option<Vec<Map<String, Value>>> = serde_json::from_slice(&text).map_err(invalid)?;
    entries.unwrap_or_default().into_iter().map(|entry| image(files, &entry)).collect::<Result<_>>().map(Some)
}

/// Docker reads the keys as Go does: in any case. Jib writes them in camel case.
fn field<T: serde::de::DeserializeOwned + Default>(
    files: &Files,
    entry: &Map<String, Value>,
    key: &str,
) -> Result<T> {
    let invalid = |source| Error::Json { path: files.path().to_owned(), name: NAME.to_owned(), source };
    let value = entry.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.clone());
    let parsed: Option<T> = serde_json::from_value(value.unwrap_or_default()).map_err(invalid)?;
    Ok(parsed.unwrap_or_default())
}

fn image(files: &Files, entry: &Map<String, Value>) -> Result<Saved> {
    let names: Vec<String> = field(files, entry, "RepoTags")?;
    let config: String = field(files, entry, "Config")?;
    let layers: Vec<String> = field(files, entry, "Layers")?;
    if layers.len() > LAYER_LIMIT {
        let (path, image) = (files.path().to_owned(), config);
        return Err(Error::TooManyLayers { path, image, limit: LAYER_LIMIT });
    }
    Ok(Saved { names, parts: Parts::Listed { config, layers } })
}
