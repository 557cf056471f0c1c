//! Manifests, indexes and configs from anywhere: parsed or refused, and what is parsed can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plyfs::oci::{Config, Document, Manifest, Raw};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Document::Manifest(manifest)) = Document::parse(bytes.to_vec()) {
        assert_eq!(manifest.bytes(), bytes);
        let again = serde_json::to_vec(manifest.value()).expect("a manifest can be written");
        Raw::<Manifest>::parse(again).expect("a manifest that was written can be read");
    }
    if let Ok(config) = Raw::<Config>::parse(bytes.to_vec()) {
        let _ = config.value().platform();
    }
});
