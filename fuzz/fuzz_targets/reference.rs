//! References, platforms and locations from a command line: what is parsed prints as it parses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plyfs::oci::{Digest, Platform, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
        assert_eq!(reference.familiar().to_string().parse::<Reference>().as_ref(), Ok(&reference));
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().as_ref(), Ok(&platform));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
});
