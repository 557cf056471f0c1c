//! Manifests and indexes, with the bytes that their digest is of.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Config, Descriptor, Digest, lenient, media};

/// The largest manifest, index or config that is read: docker's and containerd's limit for manifests.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// The most layers that an image may have; docker's drivers stop at 127.
pub const LAYER_LIMIT: usize = 1000;

/// A parsed document and its exact bytes: a digest is of bytes, not of structs.
#[derive(Clone, Debug)]
pub struct Raw<T> {
    bytes: Box<[u8]>,
    value: T,
}

impl<T> Raw<T> {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn value(&self) -> &T {
        &self.value
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl<T: Kind> Raw<T> {
    /// Reads a document of others. The law: `parse(bytes).bytes() == bytes`.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, InvalidDocument> {
        let value: T = read(&bytes, T::NAME)?;
        value.check()?;
        Ok(Self { bytes: bytes.into(), value })
    }

    /// Writes a document of our own.
    pub fn encode(value: T) -> Result<Self, InvalidDocument> {
        value.check()?;
        let bytes =
            serde_json::to_vec(&value).map_err(|source| InvalidDocument::Json { what: T::NAME, source })?;
        Ok(Self { bytes: bytes.into(), value })
    }
}

impl<T: Kind> Raw<T> {
    /// Another document that says `value`, and all else that this one says. The law: with its own value it stays the
    /// same document.
    pub fn edit(&self, value: T) -> Result<Self, InvalidDocument> {
        value.check()?;
        let invalid = |source| InvalidDocument::Json { what: T::NAME, source };
        let mut text: Value = read(&self.bytes, T::NAME)?;
        let before = serde_json::to_value(&self.value).map_err(invalid)?;
        let after = serde_json::to_value(&value).map_err(invalid)?;
        merge(&mut text, &before, after);
        let bytes = serde_json::to_vec(&text).map_err(invalid)?;
        Ok(Self { bytes: bytes.into(), value })
    }
}

/// Changes in `text`, which was read as `before`, what is another in `after`.
fn merge(text: &mut Value, before: &Value, after: Value) {
    match (text, before, after) {
        (_, before, after) if *before == after => {}
        (Value::Object(text), Value::Object(before), Value::Object(after)) => {
            text.retain(|key, _| !before.contains_key(key) || after.contains_key(key));
            for (key, value) in after.into_iter().filter(|(key, value)| before.get(key) != Some(value)) {
                let was = before.get(&key).unwrap_or(&Value::Null);
                merge(text.entry(key).or_insert(Value::Null), was, value);
            }
        }
        (Value::Array(text), Value::Array(before), Value::Array(after)) if text.len() == before.len() => {
            let merged = after.into_iter().enumerate().map(|(at, value)| match before.get(at) {
                Some(was) if *was == value => text[at].take(),
                _ => value,
            });
            *text = merged.collect();
        }
        (text, _, after) => *text = after,
    }
}

/// What the JSON of an image can be: a manifest, an index, a config.
pub trait Kind: Serialize + DeserializeOwned {
    /// Its name in a message.
    const NAME: &'static str;

    /// What the types alone do not hold.
    fn check(&self) -> Result<(), InvalidDocument>;
}

/// One image, or an artifact in an image's clothes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(default = "schema_2")]
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(
        default,
        deserialize_with = "lenient::null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest with nothing but a config and layers, bottom first.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The media type by which a descriptor should name this manifest.
    pub fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or(media::OCI_MANIFEST)
    }

    /// What it is, if it is no image: by its own word, by its config, or by what is in it.
    pub fn artifact_type(&self) -> &str {
        let config = self.config.media_type.as_str();
        match (&self.artifact_type, self.layers.first()) {
            (Some(kind), _) => kind,
            (None, Some(layer)) if media::is_config(config) => &layer.media_type,
            (None, _) => config,
        }
    }

    /// Whether this is a file system to be run, and not a signature, a chart or a bill of materials.
    pub fn is_image(&self) -> bool {
        media::is_config(&self.config.media_type)
            && (self.layers.is_empty()
                || !self.layers.iter().all(|layer| media::is_statement(&layer.media_type)))
    }
}

impl Kind for Manifest {
    const NAME: &'static str = "manifest";

    fn check(&self) -> Result<(), InvalidDocument> {
        check_schema(self.schema_version)?;
        if self.layers.len() > LAYER_LIMIT {
            return Err(InvalidDocument::TooManyLayers(self.layers.len()));
        }
        Ok(())
    }
}

/// Several images, mostly one for each platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    #[serde(default = "schema_2")]
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub manifests: Vec<Descriptor>,
    #[serde(
        default,
        deserialize_with = "lenient::null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        let media_type = Some(media::OCI_INDEX.to_owned());
        Self { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() }
    }
}

impl Kind for Index {
    const NAME: &'static str = "index";

    fn check(&self) -> Result<(), InvalidDocument> {
        check_schema(self.schema_version)
    }
}

impl Kind for Config {
    const NAME: &'static str = "image config";

    fn check(&self) -> Result<(), InvalidDocument> {
        match self.rootfs.diff_ids.len() {
            count if count > LAYER_LIMIT => Err(InvalidDocument::TooManyLayers(count)),
            _ => Ok(()),
        }
    }
}

/// What a manifest blob turns out to be.
// One lives at a time, and not for long.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Document {
    Manifest(Raw<Manifest>),
    Index(Raw<Index>),
}

/// The fields by which documents differ.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    schema_version: Option<u32>,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    media_type: String,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Tells the two by their content. What could be read as either is refused, as containerd does (CVE-2021-41190).
    pub fn parse(bytes: Vec<u8>) -> Result<Self, InvalidDocument> {
        let features: Features = read(&bytes, "manifest")?;
        if features.schema_version == Some(1) || features.fs_layers.is_some() {
            return Err(InvalidDocument::Schema1);
        }
        let is_index = features.manifests.is_some() || media::is_index(&features.media_type);
        let is_manifest = features.config.is_some()
            || features.layers.is_some()
            || media::is_manifest(&features.media_type);
        match (is_index, is_manifest) {
            (true, true) => Err(InvalidDocument::Ambiguous),
            (true, false) => Raw::parse(bytes).map(Self::Index),
            (false, true) => Raw::parse(bytes).map(Self::Manifest),
            (false, false) => Err(InvalidDocument::Neither),
        }
    }
}

/// Why bytes are not a document.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDocument {
    #[error("{what} is not JSON of the expected form: {source}")]
    Json { what: &'static str, source: serde_json::Error },
    #[error("{what} of {size} bytes is over the limit of {DOCUMENT_LIMIT} bytes")]
    TooLarge { what: &'static str, size: usize },
    #[error("manifest has schema version 1, which docker gave up in 2019; only version 2 is supported")]
    Schema1,
    #[error("manifest has schema version {0}; only version 2 is supported")]
    SchemaVersion(u32),
    #[error("manifest is an index and a single image at once")]
    Ambiguous,
    #[error("manifest has neither a config nor manifests")]
    Neither,
    #[error("image has {0} layers, more than the limit of {LAYER_LIMIT}")]
    TooManyLayers(usize),
}

fn schema_2() -> u32 {
    2
}

fn check_schema(version: u32) -> Result<(), InvalidDocument> {
    match version {
        2 => Ok(()),
        1 => Err(InvalidDocument::Schema1),
        other => Err(InvalidDocument::SchemaVersion(other)),
    }
}

/// Some Windows tools put a byte order mark first.
fn read<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, InvalidDocument> {
    if bytes.len() as u64 > DOCUMENT_LIMIT {
        return Err(InvalidDocument::TooLarge { what, size: bytes.len() });
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|source| InvalidDocument::Json { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> String {
        serde_json::to_string(&Descriptor::of(media::OCI_CONFIG, b"{}")).unwrap()
    }

    fn kind(text: &str) -> String {
        match Document::parse(text.as_bytes().to_vec()) {
            Ok(Document::Manifest(manifest)) => format!("manifest of {}", manifest.value().layers.len()),
            Ok(Document::Index(index)) => format!("index of {}", index.value().manifests.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_document_is_told_by_its_content() {
        let config = config();
        for (text, expected) in [
            (format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{config}]}}"#), "manifest of 1"),
            (format!(r#"{{"config":{config},"layers":null}}"#), "manifest of 0"),
            (format!("\u{feff}{{\"config\":{config}}}"), "manifest of 0"),
            (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), "index of 0"),
            (format!(r#"{{"mediaType":"{}","manifests":null}}"#, media::OCI_INDEX), "index of 0"),
            ("{}".to_owned(), "manifest has neither a config nor manifests"),
            (
                format!(r#"{{"config":{config},"manifests":[]}}"#),
                "manifest is an index and a single image at once",
            ),
            (
                format!(r#"{{"schemaVersion":3,"config":{config}}}"#),
                "manifest has schema version 3; only version 2 is supported",
            ),
        ] {
            assert_eq!(kind(&text), expected, "{text}");
        }
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        for text in [r#"{"schemaVersion":1,"config":{}}"#, r#"{"fsLayers":[],"history":[]}"#] {
            assert!(kind(text).starts_with("manifest has schema version 1"), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_too_large_too_deep_or_says_a_thing_twice_is_refused() {
        let config = config();
        let deep = format!(r#"{{"config":{config},"annotations":{}"#, "[".repeat(100_000));
        let twice = format!(r#"{{"config":{config},"layers":[],"layers":[{config}]}}"#);
        let huge = format!(r#"{{"config":{config},"annotations":{{"a":"{}"}}}}"#, "x".repeat(16 << 20));
        assert!(kind("foobar").contains("not JSON"));
        assert!(kind(&deep).contains("not JSON"));
        assert!(kind(&twice).contains("duplicate field `layers`"));
        assert!(kind(&huge).contains("over the limit of 4194304 bytes"));
    }

    #[test]
    fn more_layers_than_the_limit_are_refused() {
        let layer = Descriptor::of(media::OCI_LAYER, b"");
        let manifest = Manifest::new(layer.clone(), vec![layer; LAYER_LIMIT + 1]);
        assert_eq!(
            Raw::encode(manifest).unwrap_err().to_string(),
            "image has 1001 layers, more than the limit of 1000"
        );
    }

    #[test]
    fn a_document_keeps_its_bytes() {
        let text = format!("{{ \"config\" : {},\n \"unknown\": 1 }}", config());
        let manifest = Raw::<Manifest>::parse(text.clone().into_bytes()).unwrap();
        assert_eq!((manifest.bytes(), manifest.digest()), (text.as_bytes(), Digest::of(text.as_bytes())));
        let own = Raw::encode(manifest.value().clone()).unwrap();
        assert_eq!(Raw::<Manifest>::parse(own.bytes().to_vec()).unwrap().value(), manifest.value());
    }

    #[test]
    fn an_edit_changes_what_it_says_and_nothing_else() {
        let text = r#"{"zeal":[1],"os":"linux","comment":"old","config":{"Cmd":"sh","Env":null,"Fancy":true,
            "Labels":{"a":"1","b":"2"}},"history":[{"created_by":"x","own":7}],"rootfs":{"diff_ids":null}}"#;
        let config = Raw::<Config>::parse(text.as_bytes().to_vec()).unwrap();
        let same = config.edit(config.value().clone()).unwrap();
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(json(same.bytes()), json(text.as_bytes()));
        let mut edited = config.value().clone();
        edited.comment = None;
        edited.history.push(crate::oci::History { comment: Some("y".into()), ..Default::default() });
        let run = edited.config.get_or_insert_default();
        run.env = vec!["A=1".into()];
        run.labels.remove("a");
        let expected = concat!(
            r#"{"zeal":[1],"os":"linux","config":{"Cmd":"sh","Env":["A=1"],"Fancy":true,"Labels":{"b":"2"}},"#,
            r#""history":[{"created_by":"x","own":7},{"comment":"y"}],"rootfs":{"diff_ids":null}}"#
        );
        assert_eq!(String::from_utf8_lossy(config.edit(edited).unwrap().bytes()), expected);
    }

    #[test]
    fn signatures_charts_and_attestations_are_no_images() {
        let config = Descriptor::of(media::OCI_CONFIG, b"{}");
        let layer = |kind: &str| vec![Descriptor::of(kind, b"")];
        let image = |config: &Descriptor, layers| Manifest::new(config.clone(), layers).is_image();
        assert!(image(&config, layer(media::DOCKER_LAYER_GZIP)));
        assert!(image(&config, vec![]));
        assert!(image(&config, layer("application/x-unknown")));
        assert!(!image(&config, layer("application/vnd.dev.cosign.simplesigning.v1+json")));
        assert!(!image(&config, layer("application/vnd.in-toto+json")));
        assert!(!image(&Descriptor::of("application/vnd.cncf.helm.config.v1+json", b"{}"), vec![]));
        assert!(!image(&Descriptor::of(media::OCI_EMPTY, b"{}"), vec![]));
    }
}
