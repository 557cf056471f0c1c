//! The files in an outer tar, by name: where each one's bytes lie. Only headers are read; bodies are stepped over.
//!
//! Names are kept as they would be below the archive's root: `./a`, `/a` and `b/../a` are all `a`. The last of
//! several entries of one name counts, as when unpacking.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::layer::Blob;
use crate::layer::tar::{Event, Header, Parser, Type};

/// What a header comes in.
const BLOCK: usize = 512;
/// The most entries that an archive of images may have: four for each of 1000 layers of 25 images.
const ENTRY_LIMIT: usize = 100_000;
/// What the names may take in all.
const NAMES_LIMIT: usize = 16 << 20;
/// The longest tar that may hold nothing but zeros.
const BLANK_LIMIT: usize = 64 << 10;
/// How many links are followed from one name.
const HOPS: usize = 20;

/// What has a directory of one of these names at its top is the root of a system, not an archive of images.
const SYSTEM_DIRECTORIES: &[&str] = &[
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run",
    "sbin", "srv", "sys", "tmp", "usr", "var",
];

/// The files of an archive of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Members(HashMap<String, Member>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Member {
    File(Range),
    /// The cleaned name of another member.
    Link(String),
}

/// Where a file's bytes lie in the tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    pub offset: u64,
    pub size: u64,
}

/// What a file turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Listing {
    /// An archive of images.
    Images(Members),
    /// A tar of files: one layer.
    Layer,
    NotTar,
}

impl Members {
    /// The bytes of the file `name`, through links.
    pub fn find(&self, name: &str) -> Option<Range> {
        let mut name = clean("", name);
        for _ in 0..HOPS {
            match self.0.get(&name)? {
                Member::File(range) => return Some(*range),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether the names are those of an archive of images.
    fn hold_images(&self) -> bool {
        ["manifest.json", "index.json", "repositories"].iter().any(|name| self.0.contains_key(*name))
            || self.names().any(|name| name.ends_with("/layer.tar") && name.matches('/').count() == 1)
    }
}

/// Lists a tar. `Err` says why what seems to be an archive of images cannot be read.
pub fn list(tar: &Blob) -> Result<Listing, String> {
    let mut entries = Entries::new(tar);
    let mut listed = Listed::default();
    let fault = loop {
        match entries.next() {
            Ok(Some(entry)) if entry.is_of_a_system() => return Ok(Listing::Layer),
            Ok(Some(entry)) => {
                if let Err(fault) = listed.add(entry) {
                    break Some(fault);
                }
            }
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        }
    };
    match (listed.members.hold_images(), fault) {
        (true, None) => Ok(Listing::Images(listed.members)),
        (true, Some(fault)) => Err(fault),
        (false, _) if listed.entries > 0 || is_blank(tar) => Ok(Listing::Layer),
        (false, _) => Ok(Listing::NotTar),
    }
}

/// Whether the beginning of a tar shows it to be the root of a system.
pub fn begins_as_layer(beginning: &Blob) -> bool {
    let mut entries = Entries::new(beginning);
    std::iter::from_fn(|| entries.next().ok().flatten()).any(|entry| entry.is_of_a_system())
}

#[derive(Default)]
struct Listed {
    members: Members,
    entries: usize,
    names: usize,
}

impl Listed {
    fn add(&mut self, entry: Entry) -> Result<(), String> {
        self.entries += 1;
        self.names += entry.name.len();
        if self.entries > ENTRY_LIMIT || self.names > NAMES_LIMIT {
            return Err(format!("it has more than {ENTRY_LIMIT} entries, or names too long"));
        }
        match entry.member {
            Some(member) => self.members.0.insert(entry.name, member),
            None => self.members.0.remove(&entry.name),
        };
        Ok(())
    }
}

/// One entry of the tar; `member` is `None` for what no image is read from: directories, devices, sparse files.
struct Entry {
    name: String,
    member: Option<Member>,
}

impl Entry {
    fn is_of_a_system(&self) -> bool {
        self.name.split('/').next().is_some_and(|first| SYSTEM_DIRECTORIES.contains(&first))
    }
}

/// Reads header after header.
struct Entries<'a> {
    tar: &'a Blob,
    at: u64,
    parser: Parser,
}

impl<'a> Entries<'a> {
    fn new(tar: &'a Blob) -> Self {
        Self { tar, at: 0, parser: Parser::new() }
    }

    fn next(&mut self) -> Result<Option<Entry>, String> {
        loop {
            let mut block = [0; BLOCK];
            let count = self.tar.read_at(&mut block, self.at).map_err(|error| error.to_string())?;
            if count == 0 || self.parser.is_at_end() {
                return self.parser.finish().map(|()| None).map_err(|error| error.to_string());
            }
            self.at += count as u64;
            // A header ends with its block, so nothing of the data is in what was pushed.
            if let Some(Event::Entry(header)) =
                self.parser.next(&mut &block[..count]).map_err(|error| error.to_string())?
            {
                self.at = self.parser.step_over();
                return self.entry(*header).map(Some);
            }
        }
    }

    fn entry(&self, header: Header) -> Result<Entry, String> {
        let name = String::from_utf8_lossy(&header.path);
        let link = String::from_utf8_lossy(&header.link);
        if header.data_at.saturating_add(header.stored) > self.tar.size() {
            return Err(format!("entry {name:?} at byte {} is cut off", header.data_at));
        }
        let member = match header.kind {
            Type::File if header.extents.is_none() => {
                Some(Member::File(Range { offset: header.data_at, size: header.stored }))
            }
            Type::HardLink => Some(Member::Link(clean("", &link))),
            Type::Symlink => Some(Member::Link(clean(parent(&name), &link))),
            _ => None,
        };
        Ok(Entry { name: clean("", &name), member })
    }
}

/// Whether a tar without entries is one: a disk image may begin with zeros as well.
fn is_blank(tar: &Blob) -> bool {
    let mut bytes = vec![0; BLANK_LIMIT];
    tar.size() <= BLANK_LIMIT as u64
        && tar.read_at(&mut bytes, 0).is_ok()
        && bytes.iter().all(|byte| *byte == 0)
}

fn parent(name: &str) -> &str {
    name.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// `name`, from the directory `from`, with nothing but names and slashes; `..` at the root stays there.
fn clean(from: &str, name: &str) -> String {
    let from = if name.starts_with('/') { "" } else { from };
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
