//! Image references, normalised as docker does: `alpine` is `docker.io/library/alpine:latest`. The grammar is that of
//! `github.com/distribution/reference`.

use std::fmt;
use std::str::FromStr;

use super::{Digest, InvalidDigest};

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// `registry/repository[:tag][@digest]`, whole. At least one of tag and digest is there.
///
/// Laws: `parse(display(x)) == x` and `parse(familiar(x)) == x`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error("invalid reference format: {0:?}")]
    Format(String),
    #[error("invalid reference format: repository name {0:?} must be lowercase")]
    Uppercase(String),
    #[error("invalid repository name {0:?}: 64 hexadecimal digits are an image ID")]
    Identifier(String),
    #[error("invalid reference format: repository name of {0} characters is over the limit of {NAME_LIMIT}")]
    NameTooLong(usize),
    #[error("invalid reference format: {reference:?}: {source}")]
    Digest { reference: String, source: InvalidDigest },
}

impl Reference {
    /// The host, and port where one is given: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as docker shows it: `alpine`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = match self.repository.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name,
            _ => &self.repository,
        };
        // A short form that would be read as a name on another registry says something else.
        match split_registry(short) {
            (None, _) => short.to_owned(),
            (Some(_), _) => self.name(),
        }
    }

    /// The whole as docker shows it: `alpine:latest`.
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.suffix()
    }

    /// Whether the text says which registry it means, and does not leave that to whoever reads it.
    pub fn names_registry(text: &str) -> bool {
        split_registry(text).0.is_some()
    }

    /// The same repository by another tag, with no digest. `None` if `tag` is not one.
    pub fn with_tag(&self, tag: &str) -> Option<Self> {
        is_tag(tag).then(|| Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository by digest alone.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        tag.chain(digest).collect()
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let shown = || text.chars().take(300).collect::<String>();
        if is_identifier(text) {
            return Err(InvalidReference::Identifier(shown()));
        }
        let (named, digest) = split_digest(text)?;
        let (registry, rest) = split_registry(named);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let (registry, repository) = normalise(registry, path);
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidReference::Uppercase(path.chars().take(300).collect()));
        }
        if !is_registry(&registry) || !is_repository(&repository) || !tag.is_none_or(is_tag) {
            return Err(InvalidReference::Format(shown()));
        }
        let length = registry.len() + 1 + repository.len();
        if length > NAME_LIMIT {
            return Err(InvalidReference::NameTooLong(length));
        }
        let tag = tag.or((digest.is_none()).then_some(DEFAULT_TAG)).map(str::to_owned);
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>), InvalidReference> {
    let Some((named, digest)) = text.split_once('@') else { return Ok((text, None)) };
    let digest = digest
        .parse()
        .map_err(|source| InvalidReference::Digest { reference: text.chars().take(300).collect(), source })?;
    Ok((named, Some(digest)))
}

/// What stands before the first slash is a registry only if it cannot be the start of a path.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn normalise(registry: Option<&str>, path: &str) -> (String, String) {
    let registry = match registry {
        None | Some("index.docker.io") => DEFAULT_REGISTRY,
        Some(registry) => registry,
    };
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    (registry.to_owned(), format!("{}{path}", if official { OFFICIAL } else { "" }))
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_LIMIT
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// `host[:port]`: a domain name, an IPv4 address, or an IPv6 address in brackets.
fn is_registry(registry: &str) -> bool {
    let (host, port) =
        match registry.rfind(']').or(Some(0)).and_then(|from| registry[from..].find(':').map(|at| from + at))
        {
            Some(colon) => (&registry[..colon], Some(&registry[colon + 1..])),
            None => (registry, None),
        };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.is_none_or(is_port) && (is_ipv6(host) || host.split('.').all(is_domain_component))
}

fn is_ipv6(host: &str) -> bool {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|address| {
        !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
    })
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_repository(repository: &str) -> bool {
    repository.split('/').all(is_path_component)
}

/// Runs of lower-case letters and digits, between them one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    let mut separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && separators.all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().map_or_else(|error| error.to_string(), |reference| reference.to_string())
    }

    #[test]
    fn a_short_name_is_made_whole_as_docker_does() {
        for (text, expected) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
            ("docker.io", "docker.io/library/docker.io:latest"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:1", "localhost:5000/x:1"),
            ("Registry/x", "Registry/x:latest"),
            ("ghcr.io/a/b/c__d/e--f.g_h", "ghcr.io/a/b/c__d/e--f.g_h:latest"),
            ("[2001:db8::1]:5000/x", "[2001:db8::1]:5000/x:latest"),
            ("[2001:db8::1]/x", "[2001:db8::1]/x:latest"),
            ("1", "docker.io/library/1:latest"),
        ] {
            assert_eq!(full(text), expected, "{text}");
        }
        assert_eq!(full(&format!("alpine@{DIGEST}")), format!("docker.io/library/alpine@{DIGEST}"));
        assert_eq!(full(&format!("alpine:3@{DIGEST}")), format!("docker.io/library/alpine:3@{DIGEST}"));
    }

    #[test]
    fn a_short_name_names_no_registry() {
        for (text, expected) in
            [("alpine", false), ("a/b:1", false), ("localhost/a", true), ("r.io/a", true), ("h:5000/a", true)]
        {
            assert_eq!(Reference::names_registry(text), expected, "{text}");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let long = "a/".repeat(128) + "a";
        let tag = format!("a:{}", "x".repeat(129));
        for text in [
            "",
            ":",
            "a:",
            "a:.x",
            "a:-x",
            "/a",
            "a/",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "_a",
            "a._b",
            "a b",
            "ä",
            "../../../tmp/x",
            "./x",
            "a:b:c",
            "a@sha256:12",
            "a@",
            "a@md5:00",
            "x.y:/a",
            "x.y:8z/a",
            "-x.y/a",
            "[]/a",
            "a\n",
            "a\0",
            "[::1/a",
            &long,
            &tag,
            &DIGEST[7..],
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert_eq!(full("Alpine"), "invalid reference format: repository name \"Alpine\" must be lowercase");
        assert_eq!(
            full("x.y/Alpine:T"),
            "invalid reference format: repository name \"Alpine\" must be lowercase"
        );
    }

    #[test]
    fn the_familiar_form_drops_what_docker_adds() {
        for (text, expected) in [
            ("docker.io/library/alpine", "alpine:latest"),
            ("docker.io/bitnami/redis:7", "bitnami/redis:7"),
            ("docker.io/library/a/b", "library/a/b:latest"),
            ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
            ("docker.io/foo.bar/baz", "docker.io/foo.bar/baz:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), expected);
        }
    }

    #[test]
    fn a_reference_can_be_moved_to_another_tag_or_digest() {
        let reference: Reference = "a/b:1".parse().unwrap();
        let digest = DIGEST.parse().unwrap();
        assert_eq!(reference.with_tag("2").unwrap().familiar(), "a/b:2");
        assert_eq!(reference.with_tag("no/tag"), None);
        assert_eq!(reference.with_digest(digest).familiar(), format!("a/b@{DIGEST}"));
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(text in "([A-Za-z.\\[\\]:0-9-]{1,12}/)?([a-z0-9._-]{1,6}/){0,3}[a-z0-9._-]{1,8}(:[A-Za-z0-9_.-]{1,9})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<Reference>();
        }
    }
}
