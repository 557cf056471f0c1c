//! Archives of image format 1.0, as docker wrote them up to 1.9: no `manifest.json`, but for each layer a directory
//! `ID/` with `json`, which names its parent, and `layer.tar`; and `repositories`, which names some of the layers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{Error, Result};
use super::files::Files;
use crate::oci::{Config, DOCUMENT_LIMIT, History, LAYER_LIMIT, RunConfig};

/// `{"busybox": {"latest": ID}}`
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// `ID/json`: the config of the image whose topmost layer this is.
#[derive(Debug, Default, Deserialize)]
struct Layer {
    parent: Option<String>,
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<RunConfig>,
    container_config: Option<RunConfig>,
}

/// An image's layers, as paths in the archive, bottom first; and its config, which lacks the diff ids.
pub struct Chain {
    pub layers: Vec<String>,
    pub config: Config,
}

/// The topmost layers of the images and the names of each: of every image that a name leads to; if there are no names,
/// of every one that no other is built on.
pub fn images(files: &Files) -> Result<BTreeMap<String, Vec<String>>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (repository, tags) in repositories(files)? {
        for (tag, id) in tags {
            names.entry(id).or_default().push(format!("{repository}:{tag}"));
        }
    }
    if names.is_empty() {
        names = tips(files)?.into_iter().map(|id| (id, Vec::new())).collect();
    }
    Ok(names)
}

fn repositories(files: &Files) -> Result<Repositories> {
    let Some(text) = files.document("repositories")? else { return Ok(Repositories::new()) };
    let parsed: Option<Repositories> = parse(files, "repositories", &text)?;
    Ok(parsed.unwrap_or_default())
}

fn parse<T: DeserializeOwned>(files: &Files, name: &str, text: &[u8]) -> Result<T> {
    let (path, name) = (files.path().to_owned(), name.to_owned());
    serde_json::from_slice(text).map_err(|source| Error::Json { path, name, source })
}

fn tips(files: &Files) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    let mut parents = BTreeSet::new();
    for id in files.directories()? {
        if let Some(text) = files.document(&json(&id))? {
            parents.extend(parse::<Layer>(files, &json(&id), &text)?.parent);
            ids.insert(id);
        }
    }
    Ok(&ids - &parents)
}

fn json(id: &str) -> String {
    format!("{id}/json")
}

/// Follows the parents from `tip` down.
pub fn chain(files: &Files, tip: &str) -> Result<Chain> {
    let mut layers = Vec::new();
    let mut read = 0;
    let mut next = Some(tip.to_owned());
    let mut ids = Vec::new();
    while let Some(id) = next.filter(|id| !id.is_empty()) {
        let Some(text) = files.document(&json(&id))? else {
            // `docker save` of old left parents out that other hosts were known to have.
            log::warn!("layer {id:?} is missing in {}", files.path().display());
            break;
        };
        read += text.len() as u64;
        check_limits(files, tip, layers.len(), read)?;
        let layer: Layer = parse(files, &json(&id), &text)?;
        next = layer.parent.clone();
        layers.push(layer);
        ids.push(id);
    }
    if layers.is_empty() {
        return Err(Error::NoMember { path: files.path().to_owned(), name: json(tip) });
    }
    let layer_paths = ids.iter().rev().map(|id| format!("{id}/layer.tar")).collect();
    Ok(Chain { layers: layer_paths, config: config(layers) })
}

/// Parents can go round in a circle, and be large.
fn check_limits(files: &Files, tip: &str, layers: usize, read: u64) -> Result<()> {
    let (path, image) = (files.path().to_owned(), tip.to_owned());
    if layers >= LAYER_LIMIT {
        return Err(Error::TooManyLayers { path, image, limit: LAYER_LIMIT });
    }
    let limit = 4 * DOCUMENT_LIMIT;
    if read > limit {
        return Err(Error::TooLarge { path, name: json(tip), size: read, limit });
    }
    Ok(())
}

/// The config that docker makes of such a chain, topmost first, when it loads it.
fn config(layers: Vec<Layer>) -> Config {
    let history = layers.iter().rev().map(history).collect();
    let tip = layers.into_iter().next().unwrap_or_default();
    Config {
        architecture: said(tip.architecture).unwrap_or_else(|| "amd64".to_owned()),
        os: said(tip.os).unwrap_or_else(|| "linux".to_owned()),
        created: tip.created,
        author: said(tip.author),
        config: tip.config,
        history,
        ..Config::default()
    }
}

fn history(layer: &Layer) -> History {
    History {
        created: layer.created.clone(),
        created_by: said(layer.container_config.as_ref().map(|config| config.cmd.join(" "))),
        author: said(layer.author.clone()),
        comment: said(layer.comment.clone()),
        ..History::default()
    }
}

fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
