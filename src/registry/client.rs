//! One registry, as a partner in HTTP: how it is connected to, how it is told who asks, and where it may send on to.
//!
//! What proves who we are (a password, a token, a client certificate) goes to the registry's own origin and to the
//! token server that it names, and never along with a redirect to anyone else.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::http::{Method, Request, Uri};
use ureq::{Agent, SendBody};

use super::answer::{Answer, failed};
use super::credentials::Credential;
use super::gate::Gate;
use super::patience::{Patience, Tries};
use super::tls::Certificates;
use super::url::{Origin, join};
use super::{Error, HUB, Result};

const REDIRECTS: usize = 10;
const BUFFER: usize = 128 << 10;

/// What is known of a connection before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS, and a certificate that is vouched for.
    Verified,
    /// TLS with any certificate, or else none.
    Lenient,
}

pub struct Client {
    host: String,
    security: Security,
    agent: Agent,
    /// For all that is not the registry itself.
    others: Agent,
    base: OnceLock<String>,
    /// Whether it has ever answered.
    is_there: AtomicBool,
    gate: Gate,
    patience: Patience,
}

/// What is asked of the registry.
pub struct Call<'a> {
    pub method: Method,
    pub target: Target,
    pub headers: Vec<(&'static str, String)>,
    /// What is to be done, in the words of the token spec.
    pub scope: &'a str,
    pub payload: Payload<'a>,
}

#[derive(Clone, Debug)]
pub enum Target {
    /// Of the registry.
    Path(String),
    Whole(Uri),
}

pub enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// To be read once, so that a refusal is final.
    Stream {
        reader: &'a mut dyn Read,
        length: u64,
    },
}

impl<'a> Call<'a> {
    pub fn new(method: Method, target: Target, scope: &'a str) -> Self {
        Self { method, target, headers: Vec::new(), scope, payload: Payload::None }
    }

    pub fn get(uri: Uri) -> Self {
        Self::new(Method::GET, Target::Whole(uri), "")
    }

    pub fn post(uri: Uri, payload: Payload<'a>) -> Self {
        Self { payload, ..Self::new(Method::POST, Target::Whole(uri), "") }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn is_repeatable(&self) -> bool {
        !matches!(self.payload, Payload::Stream { .. })
    }
}

impl Client {
    pub fn new(
        host: &str,
        security: Security,
        certificates: &Certificates,
        credential: Option<Credential>,
        patience: Patience,
    ) -> Self {
        let verify = security == Security::Verified;
        let agent = |tls| {
            let config = Agent::config_builder()
                .tls_config(tls)
                .http_status_as_error(false)
                .max_redirects(0)
                .user_agent(concat!("plyfs/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(patience.connect))
                .timeout_per_read(Some(patience.stall))
                .timeout_per_write(Some(patience.stall))
                .input_buffer_size(BUFFER)
                .output_buffer_size(BUFFER);
            config.build().new_agent()
        };
        Self {
            host: host.to_owned(),
            security,
            agent: agent(certificates.for_registry(verify)),
            others: agent(certificates.for_others(verify)),
            base: OnceLock::new(),
            is_there: AtomicBool::new(false),
            gate: Gate::new(credential),
            patience,
        }
    }

    /// As it is called in a reference.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn patience(&self) -> Patience {
        self.patience
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Asks until there is an answer that is not a passing fault, as often as patience lasts.
    pub fn ask_patiently(&self, call: &mut Call<'_>) -> Result<Answer> {
        let mut tries = Tries::new(self.patience);
        loop {
            let wait = match self.ask(call) {
                Ok(answer) => match answer.busy()? {
                    Some(wait) if tries.wait(wait) => continue,
                    _ => return Ok(answer),
                },
                Err(error) if self.may_pass(&error) => error,
                Err(error) => return Err(error),
            };
            log::info!("{wait}; trying again");
            if !tries.wait(None) {
                return Err(wait);
            }
        }
    }

    /// What was never reached is a wrong name, or not there: nobody waits for it.
    fn may_pass(&self, error: &Error) -> bool {
        let was_there = || self.is_there.load(Ordering::Relaxed);
        error.is_passing() && (was_there() || !matches!(error, Error::Unreachable { .. }))
    }

    /// Asks, and once more where the registry first wants to know who asks.
    pub fn ask(&self, call: &mut Call<'_>) -> Result<Answer> {
        let authorization = self.gate.authorization(self, call.scope)?;
        let answer = self.exchange(call, authorization)?;
        if answer.status() != 401 || !call.is_repeatable() || !self.is_own(&answer.uri)? {
            return Ok(answer);
        }
        if !self.gate.learn(self, &answer, call.scope)? {
            return Ok(answer);
        }
        let authorization = self.gate.authorization(self, call.scope)?;
        self.exchange(call, authorization)
    }

    /// Asks who is not the registry, or not as such: with the headers that the call has, and no redirects.
    pub fn ask_elsewhere(&self, mut call: Call<'_>) -> Result<Answer> {
        let uri = self.uri(&call.target)?;
        let agent = if self.is_own(&uri)? { &self.agent } else { &self.others };
        self.send(agent, &uri, &mut call, None)
    }

    fn exchange(&self, call: &mut Call<'_>, mut authorization: Option<String>) -> Result<Answer> {
        let mut uri = self.uri(&call.target)?;
        for _ in 0..=REDIRECTS {
            let own = self.is_own(&uri)?;
            if !own {
                authorization = None;
            }
            let agent = if own { &self.agent } else { &self.others };
            let answer = self.send(agent, &uri, call, authorization.as_deref())?;
            let may_follow = call.is_repeatable();
            let (Some(location), true) = (redirect(&answer, &call.method), may_follow) else {
                return Ok(answer);
            };
            let next = join(&uri, &location)
                .ok_or_else(|| self.malformed(&format!("a redirect to {location:?}")))?;
            self.check_downgrade(&uri, &next)?;
            uri = next;
        }
        Err(self.malformed("too many redirects"))
    }

    fn send(
        &self,
        agent: &Agent,
        uri: &Uri,
        call: &mut Call<'_>,
        authorization: Option<&str>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(call.method.clone()).uri(uri.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let unsendable = |_| self.malformed("what can't be sent back to it in a header");
        let response = match &mut call.payload {
            Payload::None => agent.run(request.body(()).map_err(unsendable)?),
            Payload::Bytes(bytes) => agent.run(request.body(*bytes).map_err(unsendable)?),
            Payload::Stream { reader, length } => {
                let request = request.header("content-length", *length);
                agent.run(request.body(SendBody::from_reader(*reader)).map_err(unsendable)?)
            }
        };
        let host =
            uri.authority().map_or_else(|| self.host.clone(), |authority| self.shown(authority.as_str()));
        let response = response.map_err(|error| failed(&host, &self.patience, error))?;
        self.is_there.store(true, Ordering::Relaxed);
        log::debug!("{} {} {}: {}", call.method, host, uri.path(), response.status());
        Ok(Answer { host, uri: uri.clone(), patience: self.patience, response })
    }

    /// A host as the user knows it.
    fn shown(&self, authority: &str) -> String {
        if authority == network_host(&self.host) { self.host.clone() } else { authority.to_owned() }
    }

    pub fn uri(&self, target: &Target) -> Result<Uri> {
        match target {
            Target::Whole(uri) => Ok(uri.clone()),
            Target::Path(path) => {
                let text = format!("{}{path}", self.base()?);
                text.parse().map_err(|_| self.malformed(&format!("the address {text:?}")))
            }
        }
    }

    /// The address that `location` means in an answer from `from`.
    pub fn location(&self, from: &Uri, location: Option<&str>) -> Result<Uri> {
        let location = location.ok_or_else(|| self.malformed("no Location"))?;
        let uri =
            join(from, location).ok_or_else(|| self.malformed(&format!("the Location {location:?}")))?;
        self.check_downgrade(from, &uri)?;
        Ok(uri)
    }

    fn is_own(&self, uri: &Uri) -> Result<bool> {
        let base = self.base()?.parse::<Uri>().ok().as_ref().and_then(Origin::of);
        Ok(Origin::of(uri) == base)
    }

    /// From an encrypted to a plain connection nobody is followed, unless plain ones are wanted.
    pub fn check_downgrade(&self, from: &Uri, to: &Uri) -> Result<()> {
        let encrypted = |uri| Origin::of(uri).is_some_and(|origin| origin.is_encrypted());
        if self.security == Security::Verified && encrypted(from) && !encrypted(to) {
            return Err(Error::Downgrade { host: self.host.clone(), to: to.to_string() });
        }
        Ok(())
    }

    /// `https://host`, or `http://host` of one that has no TLS and need not have it.
    fn base(&self) -> Result<&str> {
        if let Some(base) = self.base.get() {
            return Ok(base);
        }
        let base = self.find_base()?;
        Ok(self.base.get_or_init(|| base))
    }

    fn find_base(&self) -> Result<String> {
        let host = network_host(&self.host);
        let encrypted = format!("https://{host}");
        if self.security == Security::Verified || self.answers(&encrypted).is_ok() {
            return Ok(encrypted);
        }
        let plain = format!("http://{host}");
        self.answers(&plain).map_err(|error| failed(&self.host, &self.patience, error))?;
        Ok(plain)
    }

    fn answers(&self, base: &str) -> std::result::Result<(), ureq::Error> {
        self.agent.get(format!("{base}/v2/")).call().map(drop)
    }

    pub fn malformed(&self, what: &str) -> Error {
        Error::Malformed { host: self.host.clone(), what: what.to_owned() }
    }
}

/// Where the Hub's images are is not where its name points.
fn network_host(host: &str) -> &str {
    if host == HUB { "registry-1.docker.io" } else { host }
}

/// Where an answer sends on to, if that can be followed without changing what was asked.
fn redirect(answer: &Answer, method: &Method) -> Option<String> {
    let asks = *method == Method::GET || *method == Method::HEAD;
    match answer.status() {
        307 | 308 => {}
        301..=303 if asks => {}
        _ => return None,
    }
    answer.header("location").map(str::to_owned)
}
