//! Reading JSON as the writers of images write it: `null` where a list or map is empty, and sizes that lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

/// `null` reads as absent.
pub fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A size in bytes; one that is negative or no integer is refused and shown.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Size;

    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size in bytes")
        }

        fn visit_u64<E: de::Error>(self, size: u64) -> Result<u64, E> {
            // Go, and with it every other reader, holds a size in 63 bits.
            if size > i64::MAX as u64 {
                return Err(E::custom(format_args!("size {size} is too large")));
            }
            Ok(size)
        }

        fn visit_i64<E: de::Error>(self, size: i64) -> Result<u64, E> {
            u64::try_from(size).map_err(|_| E::custom(format_args!("size {size} is negative")))
        }

        fn visit_f64<E: de::Error>(self, size: f64) -> Result<u64, E> {
            Err(E::custom(format_args!("size {size} is not a whole number of bytes that fits in 63 bits")))
        }
    }

    deserializer.deserialize_any(Size)
}

/// A string or a list of strings, as docker's `strslice`.
pub fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }

    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::One(word)) => vec![word],
        Some(Words::Many(words)) => words,
    })
}

/// A Go set: `{"80/tcp": {}}`.
pub mod set {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
        let map: BTreeMap<String, IgnoredAny> = null_as_default(deserializer)?;
        Ok(map.into_keys().collect())
    }

    pub fn serialize<S: Serializer>(names: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(names.iter().map(|name| (name, BTreeMap::<&str, &str>::new())))
    }
}
