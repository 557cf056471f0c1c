//! A directory being listed: each name has a number that it keeps as long as the directory is open, which is where a
//! listing goes on, whatever changed meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::NodeId;
use super::nodes::NameBytes;
use crate::layer::Kind;

/// `.` and `..` come first.
const FIRST: u64 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub name: NameBytes,
    pub kind: Kind,
    pub node: NodeId,
}

#[derive(Default)]
pub(super) struct Listing {
    /// The directory's, when it was read last.
    version: Option<u64>,
    numbers: HashMap<NameBytes, u64>,
    entries: BTreeMap<u64, Seen>,
}

impl Listing {
    pub fn is_of(&self, version: u64) -> bool {
        self.version == Some(version)
    }

    pub fn was_read(&self) -> bool {
        self.version.is_some()
    }

    /// Takes what the directory holds now. A name that is there still, or again, keeps its number.
    pub fn refresh(&mut self, version: u64, seen: Vec<Seen>) {
        let present: HashSet<NameBytes> = seen.iter().map(|entry| entry.name.clone()).collect();
        self.entries.retain(|_, entry| present.contains(&entry.name));
        for entry in seen {
            let next = FIRST + self.numbers.len() as u64;
            let number = *self.numbers.entry(entry.name.clone()).or_insert(next);
            self.entries.insert(number, entry);
        }
        self.version = Some(version);
    }

    /// The first entry behind a cookie, and the cookie behind it.
    pub fn after(&self, cookie: u64) -> Option<(u64, &Seen)> {
        let next = cookie.saturating_add(1).max(FIRST);
        self.entries.range(next..).next().map(|(number, seen)| (*number, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(names: &[&str]) -> Vec<Seen> {
        let of = |name: &&str| Seen { name: name.as_bytes().into(), kind: Kind::File, node: NodeId::new(9) };
        names.iter().map(of).collect()
    }

    fn names(listing: &Listing, mut cookie: u64) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while let Some((number, entry)) = listing.after(cookie) {
            found.push((number, String::from_utf8_lossy(&entry.name).into_owned()));
            cookie = number;
        }
        found
    }

    #[test]
    fn a_name_keeps_its_place_while_others_come_and_go() {
        let mut listing = Listing::default();
        listing.refresh(0, seen(&["a", "b", "c"]));
        assert_eq!(names(&listing, 4), [(5, "c".to_owned())]);
        listing.refresh(1, seen(&["d", "c", "b"]));
        assert_eq!(names(&listing, 0), [(4, "b".to_owned()), (5, "c".to_owned()), (6, "d".to_owned())]);
        listing.refresh(2, seen(&["a"]));
        assert_eq!(names(&listing, 0), [(3, "a".to_owned())]);
        assert_eq!(names(&listing, u64::MAX), []);
    }
}
