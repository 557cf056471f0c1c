//! Addresses: where a registry sends on to, and the escaping of what is put into one.

use ureq::http::Uri;
use ureq::http::uri::Authority;

/// Scheme, host and port: credentials are for one such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` of what is no whole http address.
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        Some(Self { scheme, host, port: authority.port_u16().unwrap_or(default) })
    }

    pub fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }
}

/// The address that a `Location` means, seen from `base`. One with a user in it is none: nobody hands out passwords so.
pub fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let whole = match location {
        _ if location.starts_with("https://") || location.starts_with("http://") => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ if location.starts_with('?') => format!("{scheme}://{authority}{}{location}", base.path()),
        _ => {
            let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{scheme}://{authority}{directory}/{location}")
        }
    };
    let uri: Uri = whole.parse().ok()?;
    let has_user = uri.authority().map(Authority::as_str).is_none_or(|authority| authority.contains('@'));
    (!has_user && Origin::of(&uri).is_some()).then_some(uri)
}

/// The address with one more parameter.
pub fn with_parameter(uri: &Uri, name: &str, value: &str) -> String {
    let mark = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{mark}{name}={}", escape(value))
}

/// Text as it may stand in a query or a form.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => {
                escaped.push(char::from(byte));
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_seen_from_where_it_was_sent() {
        let base: Uri = "https://r.io:5000/v2/a/blobs/uploads/?x=1".parse().unwrap();
        for (location, expected) in [
            ("https://else.where/x?y=z#f", Some("https://else.where/x?y=z")),
            ("//else.where/x", Some("https://else.where/x")),
            ("/v2/a/blobs/uploads/7", Some("https://r.io:5000/v2/a/blobs/uploads/7")),
            ("7?state=s", Some("https://r.io:5000/v2/a/blobs/uploads/7?state=s")),
            ("?state=s", Some("https://r.io:5000/v2/a/blobs/uploads/?state=s")),
            ("http://r.io/x", Some("http://r.io/x")),
            ("https://user:password@r.io/x", None),
            ("https://", None),
            ("https://r.io/a b", None),
        ] {
            assert_eq!(join(&base, location).map(|uri| uri.to_string()).as_deref(), expected, "{location}");
        }
        assert_eq!(join(&base, "ftp://r.io/x").unwrap().host(), Some("r.io"));
    }

    #[test]
    fn an_origin_has_a_port_and_no_case() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap());
        assert_eq!(origin("https://R.io/a"), origin("https://r.io:443/b"));
        assert_ne!(origin("https://r.io/a"), origin("http://r.io/a"));
        assert_ne!(origin("https://r.io/a"), origin("https://r.io:5000/a"));
        assert_ne!(origin("https://r.io/a"), origin("https://r.io.evil/a"));
        assert_eq!(origin("/a"), None);
    }

    #[test]
    fn parameters_are_escaped_and_added() {
        let with = |uri: &str| with_parameter(&uri.parse().unwrap(), "digest", "sha256:a b&c");
        assert_eq!(with("https://r.io/u"), "https://r.io/u?digest=sha256:a%20b%26c");
        assert_eq!(with("https://r.io/u?s=1"), "https://r.io/u?s=1&digest=sha256:a%20b%26c");
    }
}
