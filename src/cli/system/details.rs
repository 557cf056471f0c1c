//! `plyfs system df -v`: each image and each upper.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use serde_json::{Map, Value, json};

use super::survey::{Survey, bytes};
use crate::cli::error::Usage;
use crate::cli::output::{Column, Format, Listing, Output};
use crate::cli::written::uppers;
use crate::cli::{facts, units};
use crate::image::{Entry, Image, Stored};
use crate::layer::Kind;
use crate::oci::{ChainId, Descriptor, Digest, Reference};
use crate::store::{Derived, Kept, Store};

const IMAGES: &[Column] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
    ("CompressedSize", "COMPRESSED"),
    ("IndexedSize", "INDEXED"),
    ("CachedSize", "CACHED"),
];

const INDEXES: &[Column] = &[("Kind", "KIND"), ("Count", "COUNT"), ("Size", "SIZE")];

pub fn print(survey: &Survey, format: &Format) -> anyhow::Result<()> {
    let images = image_rows(survey);
    let uppers = survey.uppers.iter().map(uppers::row).collect::<anyhow::Result<Vec<_>>>()?;
    let indexes: Vec<_> = survey.derived.iter().map(index_row).collect();
    let cache = json!({
        "Count": survey.cached.len().to_string(),
        "Size": units::size(bytes(&survey.cached)),
    });
    let mut out = Output::new();
    let all = || json!({"Images": images, "Uppers": uppers, "Indexes": indexes, "FileCache": cache});
    match format {
        Format::Table => {
            let tables = [
                ("Images space usage:", IMAGES, &images),
                ("Uppers space usage:", uppers::HEADINGS, &uppers),
                ("Indexes space usage:", INDEXES, &indexes),
            ];
            for (heading, columns, rows) in tables {
                writeln!(out, "{heading}\n")?;
                Listing { columns, headings: columns, rows: rows.clone() }.table(&mut out)?;
                writeln!(out)?;
            }
            writeln!(out, "File cache usage: {} in {} files", text(&cache, "Size"), text(&cache, "Count"))?;
        }
        Format::TableOf(_) => {
            return Err(
                Usage("--verbose has several tables, and none of them is TEMPLATE's".to_owned()).into()
            );
        }
        Format::Json => writeln!(out, "{}", all())?,
        Format::Template(template) => writeln!(out, "{}", template.render(&all())?)?,
    }
    Ok(out.finish()?)
}

fn text<'a>(fields: &'a Value, name: &str) -> &'a str {
    fields[name].as_str().unwrap_or_default()
}

fn index_row((kind, files): &(Derived, Vec<Kept>)) -> Map<String, Value> {
    let kind = match kind {
        Derived::Index => "layers",
        Derived::Sidecar => "sidecars",
        Derived::Tree => "merged trees",
        Derived::Archive => "archives",
    };
    let fields =
        [("Count", files.len().to_string()), ("Kind", kind.to_owned()), ("Size", units::size(bytes(files)))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// An image of the store, for all the platforms that are here.
struct Listed<'a> {
    entry: &'a Entry,
    images: Vec<Image>,
    /// Each once.
    layers: Vec<Descriptor>,
}

impl<'a> Listed<'a> {
    fn of(store: &Store, entry: &'a Entry) -> Self {
        let images = Stored::new(store).platforms(entry);
        let mut layers: Vec<Descriptor> = Vec::new();
        for layer in images.iter().flat_map(|image| &image.manifest.value().layers) {
            if layers.iter().all(|known| known.digest != layer.digest) {
                layers.push(layer.clone());
            }
        }
        Self { entry, images, layers }
    }

    fn has(&self, layer: &Digest) -> bool {
        self.layers.iter().any(|known| known.digest == *layer)
    }
}

fn image_rows(survey: &Survey) -> Vec<Map<String, Value>> {
    let listed: Vec<Listed<'_>> =
        survey.entries.iter().map(|entry| Listed::of(&survey.store, entry)).collect();
    let sizes = Sizes::of(survey);
    listed.iter().enumerate().map(|(at, image)| row(survey, &sizes, image, at, &listed)).collect()
}

fn row(
    survey: &Survey,
    sizes: &Sizes<'_>,
    listed: &Listed<'_>,
    at: usize,
    all: &[Listed<'_>],
) -> Map<String, Value> {
    let is_shared = |layer: &&Descriptor| {
        all.iter().enumerate().any(|(other, image)| other != at && image.has(&layer.digest))
    };
    let (shared, unique): (Vec<&Descriptor>, Vec<&Descriptor>) = listed.layers.iter().partition(is_shared);
    let unpacked = |layers: &[&Descriptor]| {
        layers.iter().map(|layer| facts::layer_size(&survey.store, layer)).sum::<u64>()
    };
    let (shared, unique) = (unpacked(&shared), unpacked(&unique));
    let name = listed.entry.names.first();
    let repository = name.map_or_else(|| facts::NONE.to_owned(), Reference::familiar_name);
    let image = listed.images.first();
    let id = image.map_or(listed.entry.descriptor.digest, Image::id).short();
    let fields = [
        ("CachedSize", units::size(sizes.cached(listed))),
        ("CompressedSize", units::size(sizes.compressed(listed))),
        ("Containers", survey.users.of(&survey.store, listed.entry).to_string()),
        ("CreatedSince", image.map_or_else(|| "N/A".to_owned(), |image| facts::created(image).since())),
        ("ID", id),
        ("IndexedSize", units::size(sizes.indexed(listed))),
        ("Repository", repository),
        ("SharedSize", units::size(shared)),
        ("Size", units::size(shared + unique)),
        ("Tag", name.and_then(Reference::tag).unwrap_or(facts::NONE).to_owned()),
        ("UniqueSize", units::size(unique)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// How large each file on disk is.
struct Sizes<'a> {
    store: &'a Store,
    blobs: HashMap<Digest, u64>,
    derived: Vec<HashMap<Digest, u64>>,
    cached: HashMap<[u8; 32], u64>,
}

impl<'a> Sizes<'a> {
    fn of(survey: &'a Survey) -> Self {
        let by_name = |files: &[Kept]| files.iter().map(|file| (file.name, file.size)).collect();
        Self {
            store: &survey.store,
            blobs: by_name(&survey.blobs),
            derived: survey.derived.iter().map(|(_, files)| by_name(files)).collect(),
            cached: survey.cached.iter().map(|file| (file.name, file.size)).collect(),
        }
    }

    /// The image's blobs, as they are stored.
    fn compressed(&self, listed: &Listed<'_>) -> u64 {
        let documents = listed.images.iter().flat_map(|image| [image.descriptor.digest, image.id()]);
        let layers = listed.layers.iter().map(|layer| layer.digest);
        let all: HashSet<Digest> = documents.chain(layers).chain([listed.entry.descriptor.digest]).collect();
        all.iter().filter_map(|digest| self.blobs.get(digest)).sum()
    }

    /// What was made of its layers, and of all of them together.
    fn indexed(&self, listed: &Listed<'_>) -> u64 {
        let chains = listed.images.iter().filter_map(|image| ChainId::of(image.diff_ids()));
        let layers = listed.layers.iter().map(|layer| layer.digest);
        let all: HashSet<Digest> = chains.map(|chain| chain.0).chain(layers).collect();
        let of = |digest| self.derived.iter().filter_map(move |sizes| sizes.get(digest));
        all.iter().flat_map(of).sum()
    }

    /// Those of its files that are in the cache.
    fn cached(&self, listed: &Listed<'_>) -> u64 {
        if self.cached.is_empty() {
            return 0;
        }
        let found: HashSet<[u8; 32]> = listed.layers.iter().flat_map(|layer| self.cached_of(layer)).collect();
        found.iter().filter_map(|digest| self.cached.get(digest)).sum()
    }

    fn cached_of(&self, layer: &Descriptor) -> Vec<[u8; 32]> {
        let Some(index) = facts::index(self.store, layer) else { return Vec::new() };
        let files = (0..index.len()).filter(|id| index.inode(*id).kind() == Kind::File);
        let digests = files.filter_map(|id| index.content(id).ok()).map(|content| content.digest);
        digests.filter(|digest| self.cached.contains_key(digest)).collect()
    }
}
