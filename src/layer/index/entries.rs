//! What an index has of one directory, read where it lies.

use super::format::EntryRecord;
use super::{Id, Kind};

/// One name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub kind: Kind,
    /// A whiteout has none and 0 here.
    pub id: Id,
}

/// The names in one directory, sorted by their bytes.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    pub(super) records: &'a [EntryRecord],
    pub(super) names: &'a [u8],
}

impl<'a> Entries<'a> {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn get(&self, position: usize) -> Option<Entry<'a>> {
        self.records.get(position).map(|record| self.entry(record))
    }

    pub fn find(&self, name: &[u8]) -> Option<Entry<'a>> {
        let position = self.position(name).ok()?;
        self.get(position)
    }

    /// Where `name` stands, or where it would.
    pub fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.records.binary_search_by(|record| self.name(record).cmp(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let entries = *self;
        entries.records.iter().map(move |record| entries.entry(record))
    }

    fn name(&self, record: &EntryRecord) -> &'a [u8] {
        let at = record.name_at.get() as usize;
        &self.names[at..at + usize::from(record.name_len)]
    }

    fn entry(&self, record: &EntryRecord) -> Entry<'a> {
        let kind = Kind::from_byte(record.kind).unwrap_or(Kind::Whiteout);
        let id = if kind == Kind::Whiteout { 0 } else { record.inode.get() };
        Entry { name: self.name(record), kind, id }
    }
}
