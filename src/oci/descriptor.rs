//! A descriptor: what a blob is, how long it is, and its digest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Digest, Platform, Reference, lenient, media};

/// One of [`media`]'s types, or any other, kept as it came.
pub type MediaType = String;

/// A pointer to content, as the image spec defines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub media_type: MediaType,
    pub digest: Digest,
    #[serde(deserialize_with = "lenient::size")]
    pub size: u64,
    #[serde(default, deserialize_with = "lenient::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(
        default,
        deserialize_with = "lenient::null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content itself, in base64; see [`Descriptor::embedded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor that says no more than it must.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: impl Into<MediaType>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The content that the descriptor holds, if it is what the digest names; where it is not, the blob counts, as it
    /// does for containerd.
    pub fn embedded(&self) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(self.data.as_ref()?).ok()?;
        (Digest::of(&bytes) == self.digest).then_some(bytes)
    }

    pub fn is_index(&self) -> bool {
        media::is_index(&self.media_type)
    }

    pub fn is_layer(&self) -> bool {
        media::is_layer(&self.media_type)
    }

    /// The name that a layout's `index.json` gives the image.
    ///
    /// skopeo moves `ref.name` and leaves containerd's behind: alone that says nothing. containerd writes the bare tag
    /// as `ref.name`, and the whole name as its own.
    pub fn reference(&self) -> Option<Reference> {
        let name = self.annotations.get(media::REF_NAME)?;
        let reference = name.parse::<Reference>().ok();
        let full =
            self.annotations.get(media::CONTAINERD_NAME).and_then(|full| full.parse::<Reference>().ok());
        full.filter(|full| full.tag() == Some(name) || Some(full) == reference.as_ref()).or(reference)
    }

    /// BuildKit lists what it says about an image beside the image, under the platform `unknown/unknown`.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(media::REFERENCE_TYPE)
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Descriptor, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_null_or_absent_is_empty() {
        let digest = Digest::of(b"");
        let text =
            format!(r#"{{"digest":"{digest}","size":0,"urls":null,"annotations":null,"platform":null}}"#);
        assert_eq!(parse(&text), Ok(Descriptor::new("", digest, 0)));
    }

    #[test]
    fn embedded_content_counts_only_if_it_is_what_the_digest_names() {
        let embedded = |data: &str| Descriptor { data: Some(data.to_owned()), ..Descriptor::of("", b"{}") };
        let found = ["e30=", "e30", "W10=", "\u{e9}"].map(|data| embedded(data).embedded());
        assert_eq!(found, [Some(b"{}".to_vec()), None, None, None]);
    }

    #[test]
    fn an_image_is_named_as_skopeo_and_containerd_do() {
        let name = |reference: Option<&str>, full: Option<&str>| {
            let annotate =
                |key: &str, value: Option<&str>| value.map(|value| (key.to_owned(), value.to_owned()));
            let annotations = [annotate(media::REF_NAME, reference), annotate(media::CONTAINERD_NAME, full)];
            let mut descriptor = Descriptor::of("", b"");
            descriptor.annotations.extend(annotations.into_iter().flatten());
            descriptor.reference().map(|reference| reference.familiar())
        };
        for (reference, full, expected) in [
            (Some("latest"), Some("ghcr.io/a/b:latest"), Some("ghcr.io/a/b:latest")),
            (Some("docker.io/library/a:1"), Some("docker.io/library/a:1"), Some("a:1")),
            (Some("a:2"), Some("docker.io/library/a:1"), Some("a:2")),
            (Some("1"), None, Some("1:latest")),
            (None, Some("docker.io/library/a:1"), None),
            (Some("../../../tmp/x"), None, None),
        ] {
            assert_eq!(name(reference, full).as_deref(), expected, "{reference:?} {full:?}");
        }
    }

    #[test]
    fn a_size_that_lies_is_refused_and_shown() {
        let digest = Digest::of(b"");
        for (size, said) in [
            ("-1", "size -1 is negative"),
            ("18446744073709551615", "size 18446744073709551615 is too large"),
            ("1e40", "is not a whole number"),
            ("\"12\"", "expected a size in bytes"),
        ] {
            let error = parse(&format!(r#"{{"digest":"{digest}","size":{size}}}"#)).unwrap_err();
            assert!(error.contains(said), "{size}: {error}");
        }
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let error = parse(r#"{"digest":"sha256:../../../../etc/passwd","size":1}"#).unwrap_err();
        assert!(error.contains("is not sha256: and 64 lower-case hex digits"), "{error}");
    }
}
