//! A registry in memory that answers as it is told to: correctly, or in any odd way that a test thinks up.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use plyfs::oci::Digest;

pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many came before it.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

pub enum Body {
    Whole(Vec<u8>),
    /// Without a length: it ends with the connection.
    Unframed(Vec<u8>),
    Chunked(Vec<u8>),
    /// Promised whole, and cut after so many bytes.
    Cut(Vec<u8>, usize),
    /// Promised whole, and then nothing.
    Stalled(Vec<u8>, usize),
    /// In small pieces with a pause after each.
    Slow(Vec<u8>, Duration),
    /// Without an end.
    Endless,
    /// No answer at all.
    Nothing,
}

impl Reply {
    pub fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub fn empty(status: u16) -> Self {
        Self::new(status, Body::Whole(Vec::new()))
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Where a manifest is: a repository, and a tag or digest in it.
type Shelf = (String, String);
/// A manifest's media type, and its bytes.
type Typed = (String, Vec<u8>);

/// What the registry has.
#[derive(Default)]
pub struct Shelves {
    pub blobs: Mutex<HashMap<String, Vec<u8>>>,
    pub manifests: Mutex<HashMap<Shelf, Typed>>,
    uploads: Mutex<HashMap<String, Vec<u8>>>,
    count: AtomicUsize,
    /// Which requests came: `METHOD target`.
    pub log: Mutex<Vec<String>>,
    /// Bytes of blobs that were sent.
    pub sent: AtomicU64,
}

type Quirk = dyn Fn(&Request, &Shelves) -> Option<Reply> + Send + Sync;

pub struct Server {
    pub address: String,
    pub shelves: Arc<Shelves>,
}

impl Server {
    /// A registry that does all that is asked.
    pub fn plain() -> Self {
        Self::with(|_, _| None)
    }

    /// What `quirk` does not answer is answered as by [`Self::plain`].
    pub fn with(quirk: impl Fn(&Request, &Shelves) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::sharing(Arc::default(), quirk)
    }

    pub fn sharing(
        shelves: Arc<Shelves>,
        quirk: impl Fn(&Request, &Shelves) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (at, quirk): (_, Arc<Quirk>) = (shelves.clone(), Arc::new(quirk));
        // It lives as long as the tests do.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shelves, quirk) = (at.clone(), quirk.clone());
                thread::spawn(move || serve(stream, &shelves, &*quirk));
            }
        });
        Self { address, shelves }
    }

    /// Puts all blobs and manifests of an OCI layout on the shelves; its images by the tag `tag`.
    pub fn stock(&self, layout: &std::path::Path, repository: &str, tag: &str) -> Digest {
        let read = |path: std::path::PathBuf| std::fs::read(path).unwrap();
        let document = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let bytes = read(entry.unwrap().path());
            let digest = Digest::of(&bytes).to_string();
            if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes)
                && let Some(kind) = json["mediaType"].as_str()
            {
                let key = (repository.to_owned(), digest.clone());
                self.shelves.manifests.lock().unwrap().insert(key, (kind.to_owned(), bytes.clone()));
            }
            self.shelves.blobs.lock().unwrap().insert(digest, bytes);
        }
        let index = document(&read(layout.join("index.json")));
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let bytes = self.shelves.blobs.lock().unwrap()[&digest].clone();
        let kind = document(&bytes)["mediaType"]
            .as_str()
            .unwrap_or("application/vnd.oci.image.manifest.v1+json")
            .to_owned();
        let mut manifests = self.shelves.manifests.lock().unwrap();
        for key in [tag, digest.as_str()] {
            manifests.insert((repository.to_owned(), key.to_owned()), (kind.clone(), bytes.clone()));
        }
        digest.parse().unwrap()
    }

    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.shelves.log.lock().unwrap())
    }
}

fn serve(stream: TcpStream, shelves: &Shelves, quirk: &Quirk) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader, shelves) {
        shelves.log.lock().unwrap().push(format!("{} {}", request.method, request.target));
        let reply = quirk(&request, shelves).unwrap_or_else(|| answer(&request, shelves));
        match write_reply(&mut stream, &request, reply) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>, shelves: &Shelves) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let number = shelves.count.fetch_add(1, Ordering::Relaxed);
    let mut request = Request { method, target, headers, body: Vec::new(), number };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    // A body that is cut off is a request all the same: what came of it was received.
    let _ = reader.take(length).read_to_end(&mut request.body);
    Some(request)
}

/// Tells whether the connection goes on.
fn write_reply(stream: &mut TcpStream, request: &Request, reply: Reply) -> io::Result<bool> {
    if matches!(reply.body, Body::Nothing) {
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} Answer\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match &reply.body {
        Body::Whole(body) | Body::Cut(body, _) | Body::Stalled(body, _) | Body::Slow(body, _) => {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        Body::Unframed(_) | Body::Endless | Body::Nothing => head.push_str("Connection: close\r\n"),
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(true);
    }
    match reply.body {
        Body::Whole(body) => stream.write_all(&body)?,
        Body::Unframed(body) => {
            stream.write_all(&body)?;
            return Ok(false);
        }
        Body::Chunked(body) => {
            for part in body.chunks(1000) {
                stream.write_all(format!("{:x}\r\n", part.len()).as_bytes())?;
                stream.write_all(part)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        Body::Cut(body, after) => {
            stream.write_all(&body[..after])?;
            return Ok(false);
        }
        Body::Stalled(body, after) => {
            stream.write_all(&body[..after])?;
            thread::sleep(Duration::from_secs(20));
            return Ok(false);
        }
        Body::Slow(body, pause) => {
            for part in body.chunks(1 << 16) {
                stream.write_all(part)?;
                thread::sleep(pause);
            }
        }
        Body::Nothing => return Ok(false),
        Body::Endless => loop {
            stream.write_all(&[b' '; 4096])?;
        },
    }
    Ok(true)
}

/// The part of a blob that a request wants.
pub fn blob(request: &Request, shelves: &Shelves) -> Option<(Vec<u8>, usize)> {
    let digest = request.target.split('?').next()?.rsplit('/').next()?;
    let whole = shelves.blobs.lock().unwrap().get(digest)?.clone();
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let from = range.and_then(|from| from.parse().ok()).unwrap_or(0);
    Some((whole, from))
}

/// What a registry answers by the book.
pub fn answer(request: &Request, shelves: &Shelves) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        (_, ["v2"]) => Reply::empty(200),
        ("GET", ["v2", "_catalog"]) => catalog(shelves),
        ("GET", ["v2", name @ .., "tags", "list"]) => tags(&name.join("/"), shelves),
        (_, ["v2", name @ .., "blobs", "uploads"]) => begin(request, &name.join("/"), shelves),
        (_, ["v2", name @ .., "blobs", "uploads", id]) => upload(request, &name.join("/"), id, shelves),
        (_, ["v2", .., "blobs", _]) => send_blob(request, shelves),
        (_, ["v2", name @ .., "manifests", which]) => manifest(request, &name.join("/"), which, shelves),
        _ => Reply::empty(404),
    }
}

fn send_blob(request: &Request, shelves: &Shelves) -> Reply {
    let Some((whole, from)) = blob(request, shelves) else { return Reply::empty(404) };
    if request.method == "HEAD" {
        return Reply::new(200, Body::Whole(whole));
    }
    shelves.sent.fetch_add((whole.len() - from) as u64, Ordering::Relaxed);
    match from {
        0 => Reply::new(200, Body::Whole(whole)),
        from => {
            let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
            Reply::new(206, Body::Whole(whole[from..].to_vec())).with("Content-Range", range)
        }
    }
}

fn manifest(request: &Request, name: &str, which: &str, shelves: &Shelves) -> Reply {
    let key = (name.to_owned(), which.to_owned());
    let mut manifests = shelves.manifests.lock().unwrap();
    match request.method.as_str() {
        "PUT" => {
            let digest = Digest::of(&request.body).to_string();
            let kind = request.header("content-type").unwrap_or_default().to_owned();
            for key in [key, (name.to_owned(), digest.clone())] {
                manifests.insert(key, (kind.clone(), request.body.clone()));
            }
            Reply::empty(201).with("Docker-Content-Digest", digest)
        }
        "DELETE" => match manifests.remove(&key) {
            Some((_, bytes)) => {
                manifests.retain(|_, (_, other)| *other != bytes);
                Reply::empty(202)
            }
            None => Reply::empty(404),
        },
        _ => match manifests.get(&key) {
            Some((kind, bytes)) => Reply::new(200, Body::Whole(bytes.clone()))
                .with("Content-Type", kind)
                .with("Docker-Content-Digest", Digest::of(bytes)),
            None => Reply::new(
                404,
                Body::Whole(
                    br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec(),
                ),
            ),
        },
    }
}

fn tags(name: &str, shelves: &Shelves) -> Reply {
    let manifests = shelves.manifests.lock().unwrap();
    let of_name = manifests.keys().filter(|(repository, tag)| repository == name && !tag.contains(':'));
    let mut tags: Vec<&String> = of_name.map(|(_, tag)| tag).collect();
    tags.sort();
    Reply::new(200, Body::Whole(serde_json::json!({"name": name, "tags": tags}).to_string().into_bytes()))
}

fn catalog(shelves: &Shelves) -> Reply {
    let manifests = shelves.manifests.lock().unwrap();
    let mut names: Vec<&String> = manifests.keys().map(|(repository, _)| repository).collect();
    names.sort();
    names.dedup();
    Reply::new(200, Body::Whole(serde_json::json!({"repositories": names}).to_string().into_bytes()))
}

fn begin(request: &Request, name: &str, shelves: &Shelves) -> Reply {
    let mounted = request.target.split(['?', '&']).find_map(|part| part.strip_prefix("mount="));
    if let Some(digest) = mounted
        && shelves.blobs.lock().unwrap().contains_key(digest)
    {
        return Reply::empty(201).with("Location", format!("/v2/{name}/blobs/{digest}"));
    }
    let id = format!("upload-{}", request.number);
    shelves.uploads.lock().unwrap().insert(id.clone(), Vec::new());
    Reply::empty(202).with("Location", format!("/v2/{name}/blobs/uploads/{id}"))
}

fn upload(request: &Request, name: &str, id: &str, shelves: &Shelves) -> Reply {
    let mut uploads = shelves.uploads.lock().unwrap();
    let Some(upload) = uploads.get_mut(id) else { return Reply::empty(404) };
    let range = |length: usize| format!("0-{}", length.saturating_sub(1));
    match request.method.as_str() {
        "PATCH" => {
            upload.extend_from_slice(&request.body);
            let location = format!("/v2/{name}/blobs/uploads/{id}");
            Reply::empty(202).with("Location", location).with("Range", range(upload.len()))
        }
        "GET" => Reply::empty(204).with("Range", range(upload.len())),
        "PUT" => {
            upload.extend_from_slice(&request.body);
            let digest = Digest::of(upload).to_string();
            if !request.target.contains(&digest) {
                return Reply::new(400, Body::Whole(br#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}"#.to_vec()));
            }
            shelves.blobs.lock().unwrap().insert(digest.clone(), std::mem::take(upload));
            Reply::empty(201).with("Docker-Content-Digest", digest)
        }
        "DELETE" => Reply::empty(204),
        _ => Reply::empty(405),
    }
}
