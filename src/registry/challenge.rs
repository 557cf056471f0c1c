//! `WWW-Authenticate`: how a registry wants to know who asks.

/// The ways that plyfs knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token, to be had from `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best of those in the headers: a token rather than a password each time.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for scheme in headers.flat_map(schemes) {
            match scheme.challenge() {
                Some(bearer @ Self::Bearer { .. }) => return Some(bearer),
                Some(Self::Basic) => basic = Some(Self::Basic),
                None => {}
            }
        }
        basic
    }
}

struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn challenge(&self) -> Option<Challenge> {
        let parameter = |wanted: &str| {
            let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
            self.parameters
                .iter()
                .find(named)
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        if self.name.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !self.name.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Challenge::Bearer {
            realm: parameter("realm")?,
            service: parameter("service"),
            scope: parameter("scope"),
        })
    }
}

/// The challenges of one header, each a word and its parameters. What cannot be read ends it.
fn schemes(header: &str) -> Vec<Scheme> {
    let mut schemes: Vec<Scheme> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest);
        if word.is_empty() {
            break;
        }
        let after_space = after.trim_start();
        match (after_space.strip_prefix('='), schemes.last_mut()) {
            (Some(text), Some(scheme)) => {
                let Some((value, after)) = value(text.trim_start()) else { break };
                scheme.parameters.push((word.to_owned(), value));
                rest = after;
            }
            (Some(_), None) => break,
            (None, _) => {
                schemes.push(Scheme { name: word.to_owned(), parameters: Vec::new() });
                rest = after_space;
            }
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    schemes
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

/// A token, or a quoted text in which a backslash makes the next letter plain.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = word(text);
        return Some((token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let scope = "repository:library/a:pull,push";
        for (headers, expected) in [
            (vec!["Basic realm=\"Registry\""], Some(Challenge::Basic)),
            (vec!["basic"], Some(Challenge::Basic)),
            (
                vec![
                    "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/a:pull,push\"",
                ],
                bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some(scope)),
            ),
            (vec!["Bearer realm = \"https://a\" , service=s"], bearer("https://a", Some("s"), None)),
            (
                vec!["Basic realm=\"x\", Bearer realm=\"https://a\", error=\"invalid_token\""],
                bearer("https://a", None, None),
            ),
            (vec!["Basic realm=\"x\"", "Bearer realm=\"https://a\""], bearer("https://a", None, None)),
            (vec!["Bearer realm=\"a\\\"b\""], bearer("a\"b", None, None)),
            (vec!["Negotiate", "Digest realm=\"x\""], None),
            (vec!["Bearer service=\"s\""], None),
            (vec!["Bearer realm=\"unclosed"], None),
            (vec![""], None),
            (vec!["=,=,\"\""], None),
        ] {
            assert_eq!(Challenge::choose(headers.iter().copied()), expected, "{headers:?}");
        }
    }
}
