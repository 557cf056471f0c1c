//! Getting in: what a registry asked for in its challenge, and the tokens that it has given since.
//!
//! A token is asked for once for each thing that is to be done, and again when it has run out: also in the middle of a
//! long transfer, where the next request finds out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::Deserialize;
use ureq::http::Uri;

use super::answer::Answer;
use super::challenge::Challenge;
use super::client::{Call, Client, Payload};
use super::credentials::Credential;
use super::url::{escape, join};
use super::{Error, Result};

const TOKEN_LIMIT: u64 = 1 << 20;
/// What the token spec has where a server says nothing.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// A token is not used up to its last moment.
const MARGIN: Duration = Duration::from_secs(5);

pub struct Gate {
    credential: Option<Credential>,
    state: Mutex<State>,
}

enum State {
    /// Nothing was asked for yet.
    Open,
    Basic,
    Bearer {
        realm: Uri,
        service: Option<String>,
        tokens: HashMap<String, Token>,
    },
}

#[derive(Clone)]
struct Token {
    value: String,
    until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl Gate {
    pub fn new(credential: Option<Credential>) -> Self {
        Self { credential, state: Mutex::new(State::Open) }
    }

    /// The `Authorization` to send for `scope`; none before anything was asked for.
    pub fn authorization(&self, client: &Client, scope: &str) -> Result<Option<String>> {
        if let Some(Credential::Registry(token)) = &self.credential {
            return Ok(Some(format!("Bearer {token}")));
        }
        let (realm, service) = match &*self.state.lock() {
            State::Open => return Ok(None),
            State::Basic => return Ok(self.basic()),
            State::Bearer { realm, service, tokens } => {
                let held = tokens.get(scope).filter(|token| token.until > Instant::now());
                match held {
                    Some(token) => return Ok(Some(format!("Bearer {}", token.value))),
                    None => (realm.clone(), service.clone()),
                }
            }
        };
        // Not under the lock: two who ask at once get a token each.
        let (token, _) = self.fetch(client, &realm, service.as_deref(), &[("scope", scope)])?;
        let authorization = format!("Bearer {}", token.value);
        if let State::Bearer { tokens, .. } = &mut *self.state.lock() {
            tokens.insert(scope.to_owned(), token);
        }
        Ok(Some(authorization))
    }

    /// Learns from a 401 what is asked for; tells whether another try makes sense.
    pub fn learn(&self, client: &Client, answer: &Answer, scope: &str) -> Result<bool> {
        match Challenge::choose(answer.headers("www-authenticate")) {
            None => Ok(false),
            Some(Challenge::Basic) => {
                *self.state.lock() = State::Basic;
                Ok(self.basic().is_some())
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                let realm = self.check_realm(client, answer, &realm)?;
                match &mut *self.state.lock() {
                    // What it had for this was not good, or is no more.
                    State::Bearer { realm: known, service: of, tokens }
                        if *known == realm && *of == service =>
                    {
                        tokens.remove(scope);
                    }
                    state => *state = State::Bearer { realm, service, tokens: HashMap::new() },
                }
                Ok(!matches!(self.credential, Some(Credential::Registry(_))))
            }
        }
    }

    /// Passwords go there: not to where anyone could listen, if the registry itself is not such a place.
    fn check_realm(&self, client: &Client, answer: &Answer, realm: &str) -> Result<Uri> {
        let malformed = || Error::Malformed {
            host: client.host().to_owned(),
            what: format!("the token realm {realm:?}"),
        };
        let uri = join(&answer.uri, realm).ok_or_else(malformed)?;
        client.check_downgrade(&answer.uri, &uri)?;
        Ok(uri)
    }

    fn basic(&self) -> Option<String> {
        match &self.credential {
            Some(Credential::Password { username, password }) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            _ => None,
        }
    }

    /// A token, and what stands for the login from now on if the server gave that.
    fn fetch(
        &self,
        client: &Client,
        realm: &Uri,
        service: Option<&str>,
        wanted: &[(&str, &str)],
    ) -> Result<(Token, Option<String>)> {
        let mut query: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        // Several scopes are several parameters.
        for (name, values) in wanted {
            query.extend(values.split_whitespace().map(|value| (*name, value)));
        }
        let answer = match &self.credential {
            Some(Credential::Identity(refresh)) => {
                query.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "plyfs"),
                    ("refresh_token", refresh),
                ]);
                let form = form(&query);
                let call = Call::post(realm.clone(), Payload::Bytes(form.as_bytes()))
                    .with("content-type", "application/x-www-form-urlencoded");
                client.ask_elsewhere(call)?
            }
            Some(Credential::Password { username, .. }) => {
                query.extend([("account", username.as_str()), ("client_id", "plyfs")]);
                let call = Call::get(with_query(realm, &query, client.host())?);
                let basic = self.basic().unwrap_or_default();
                client.ask_elsewhere(call.with("authorization", &basic))?
            }
            _ => client.ask_elsewhere(Call::get(with_query(realm, &query, client.host())?))?,
        };
        let granted = answer.expect(&[200], || "token".to_owned())?.read(TOKEN_LIMIT, "a token")?;
        read_token(client.host(), &granted)
    }

    /// What the login stands for at a registry that gives such out.
    pub fn identity(&self, client: &Client) -> Result<Option<Credential>> {
        let (realm, service) = match &*self.state.lock() {
            State::Bearer { realm, service, .. } => (realm.clone(), service.clone()),
            State::Open | State::Basic => return Ok(None),
        };
        let (_, refresh) = self.fetch(client, &realm, service.as_deref(), &[("offline_token", "true")])?;
        Ok(refresh.map(Credential::Identity))
    }
}

fn read_token(host: &str, granted: &[u8]) -> Result<(Token, Option<String>)> {
    let malformed = |what: &str| Error::Malformed { host: host.to_owned(), what: what.to_owned() };
    let granted: Granted =
        serde_json::from_slice(granted).map_err(|_| malformed("no token but something else"))?;
    let value = granted.token.filter(|token| !token.is_empty()).or(granted.access_token);
    let value = value.filter(|token| !token.is_empty()).ok_or_else(|| malformed("an empty token"))?;
    if value.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(malformed("a token that is no word"));
    }
    let life = Duration::from_secs(granted.expires_in.unwrap_or(0).min(1 << 30)).max(SHORTEST_LIFE);
    let until = Instant::now() + life.saturating_sub(MARGIN);
    Ok((Token { value, until }, granted.refresh_token.filter(|token| !token.is_empty())))
}

fn form(parameters: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", escape(value));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn with_query(realm: &Uri, parameters: &[(&str, &str)], host: &str) -> Result<Uri> {
    let mark = if realm.query().is_some() { '&' } else { '?' };
    let text = format!("{realm}{mark}{}", form(parameters));
    text.parse()
        .map_err(|_| Error::Malformed { host: host.to_owned(), what: format!("the token realm {realm}") })
}
