//! Platforms, `os/arch[/variant]`, and which of several suits a machine. Names and order are containerd's, which
//! docker uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::lenient;

/// A platform as an image gives it. Comparing is by [`Platform::rank`]: `==` compares the words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub os: String,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "lenient::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
}

/// Why a string is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("platform {0:?} is not os/arch or os/arch/variant")]
pub struct InvalidPlatform(pub String);

/// Which other architectures a machine may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Only its own, in this variant or an older one.
    SameArchitecture,
    /// Also the 32-bit one that it descends from.
    Compatible,
}

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.filter(|variant| !variant.is_empty()).map(str::to_owned),
            ..Self::default()
        }
    }

    /// The platform of this machine. The variant of an ARM machine is that of its kernel's name for itself.
    pub fn host() -> Self {
        let machine = machine();
        Self::new("linux", &machine, None).normalised()
    }

    /// BuildKit's `unknown/unknown`.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// The one spelling of each: `x86_64` is `amd64`, `armhf` is `arm/v7`, `arm64/v8` is `arm64`.
    pub fn normalised(&self) -> Self {
        let os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, variant) = normal_architecture(
            &self.architecture.to_ascii_lowercase(),
            &self.variant.as_deref().unwrap_or_default().to_ascii_lowercase(),
        );
        Self {
            os,
            architecture,
            variant,
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// How well `offered` runs here: 0 is best, `None` not at all.
    pub fn rank(&self, offered: &Self, strictness: Strictness) -> Option<usize> {
        let (here, offered) = (self.normalised(), offered.normalised());
        if here.os != offered.os {
            return None;
        }
        let offer = (offered.architecture.as_str(), offered.variant.as_deref().unwrap_or_default());
        here.runs(strictness)
            .iter()
            .position(|(architecture, variant)| (*architecture, variant.as_str()) == offer)
    }

    /// What runs on this (normalised) platform, best first.
    fn runs(&self, strictness: Strictness) -> Vec<(&str, String)> {
        let architecture = self.architecture.as_str();
        let variant = self.variant.as_deref().unwrap_or_default();
        let older = |from: u32, to: u32| (to..=from).rev().map(|version| format!("v{version}"));
        let version = variant.strip_prefix('v').and_then(|version| version.parse::<u32>().ok());
        let mut list: Vec<(&str, String)> = match (architecture, version) {
            ("arm", Some(version @ 5..=8)) => older(version, 5).map(|variant| ("arm", variant)).collect(),
            ("amd64", Some(version @ 2..=9)) => older(version, 2).map(|variant| ("amd64", variant)).collect(),
            ("arm64", Some(version @ 9..=19)) => {
                older(version, 9).map(|variant| ("arm64", variant)).collect()
            }
            _ => vec![(architecture, variant.to_owned())],
        };
        if matches!(architecture, "amd64" | "arm64") && !variant.is_empty() {
            list.push((architecture, String::new()));
        }
        match (architecture, strictness) {
            ("amd64", Strictness::Compatible) => list.push(("386", String::new())),
            ("arm64", Strictness::Compatible) => list.extend(older(8, 5).map(|variant| ("arm", variant))),
            _ => {}
        }
        list
    }
}

fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, Option<String>) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64" | "armv8l" | "armv8b", "" | "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf" | "armv7l", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel" | "armv6l", _) | ("arm", "6") => ("arm", "v6"),
        ("armv5tel" | "armv5tejl", _) | ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        ("loongarch64", variant) => ("loong64", variant),
        other => other,
    };
    (architecture.to_owned(), Some(variant.to_owned()).filter(|variant| !variant.is_empty()))
}

const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "linux",
    "macos",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "wasi",
];

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// `os/arch[/variant]`, or one word that is known as a system or an architecture, the other then being the host's.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.chars().take(100).collect());
        let words: Vec<&str> = text.split('/').collect();
        if !words.iter().all(|word| is_word(word)) {
            return Err(invalid());
        }
        let host = Self::host();
        let platform = match words[..] {
            [os] if SYSTEMS.contains(&os.to_ascii_lowercase().as_str()) => {
                Self::new(os, &host.architecture, None)
            }
            [architecture] if is_architecture(architecture) => Self::new(&host.os, architecture, None),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(invalid()),
        };
        Ok(platform.normalised())
    }
}

fn is_word(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_architecture(word: &str) -> bool {
    let (architecture, _) = normal_architecture(&word.to_ascii_lowercase(), "");
    matches!(
        architecture.as_str(),
        "386"
            | "amd64"
            | "arm"
            | "arm64"
            | "loong64"
            | "mips"
            | "mipsle"
            | "mips64"
            | "mips64le"
            | "ppc64"
            | "ppc64le"
            | "riscv64"
            | "s390x"
            | "wasm"
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |word: &str| if word.is_empty() { "unknown".to_owned() } else { word.to_owned() };
        write!(f, "{}/{}", or_unknown(&self.os), or_unknown(&self.architecture))?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn each_platform_has_one_spelling() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("s390x", "linux/s390x"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            let platform = parse(text);
            assert_eq!(platform.to_string(), expected);
            assert_eq!(parse(expected), platform);
        }
        assert_eq!(parse("linux"), Platform::host());
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux/", "/amd64", "linux/amd64/v1/x", "pdp11", "linux/a b", "linux/../etc"] {
            assert_eq!(text.parse::<Platform>(), Err(InvalidPlatform(text.to_owned())));
        }
    }

    /// Of `offers`, what runs on `here`, best first.
    fn order(here: &str, strictness: Strictness, offers: &[&str]) -> Vec<String> {
        let here = parse(here);
        let mut ranked: Vec<_> = offers
            .iter()
            .filter_map(|offer| here.rank(&parse(offer), strictness).map(|rank| (rank, (*offer).to_owned())))
            .collect();
        ranked.sort();
        ranked.into_iter().map(|(_, offer)| offer).collect()
    }

    #[test]
    fn a_machine_takes_its_own_then_older_variants() {
        use Strictness::{Compatible, SameArchitecture};
        let arms = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/amd64"];
        assert_eq!(
            order("linux/arm/v7", Compatible, &arms),
            ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
        );
        assert_eq!(order("linux/arm/v6", Compatible, &arms), ["linux/arm/v6", "linux/arm/v5"]);
        assert_eq!(order("linux/arm64", Compatible, &arms)[..2], ["linux/arm64", "linux/arm/v7"]);
        assert_eq!(order("linux/arm64", SameArchitecture, &arms), ["linux/arm64"]);
        let pcs = ["linux/386", "linux/amd64/v3", "linux/amd64", "linux/amd64/v2", "windows/amd64"];
        assert_eq!(order("linux/amd64", Compatible, &pcs), ["linux/amd64", "linux/386"]);
        assert_eq!(order("linux/amd64/v2", SameArchitecture, &pcs), ["linux/amd64/v2", "linux/amd64"]);
        assert_eq!(order("windows/amd64", SameArchitecture, &pcs), ["windows/amd64"]);
    }
}
