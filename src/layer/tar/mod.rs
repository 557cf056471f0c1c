//! Tar entries from a stream of bytes, pushed in pieces of any size. It reads as Go's `archive/tar` does, since docker,
//! containerd and podman read with it, and where they part two readers of one layer would see two trees: sizes of
//! pax records before those of headers, no body after links and directories, the same limits and the same faults.

mod header;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use self::header::{BLOCK, Block, Fields, Format};
use self::pax::Pax;
use self::sparse::NewMap;
use super::index::{Extent, Time};

/// The most bytes that a long name, a pax header or a sparse map can have.
const MAX_SPECIAL: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    Other(u8),
}

/// One entry, as the header blocks of all kinds say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Type,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u16,
    pub uid: i64,
    pub gid: i64,
    pub mtime: Time,
    pub major: i64,
    pub minor: i64,
    /// As the file shows it, holes included.
    pub size: u64,
    /// A sparse file's data, in order and apart from one another.
    pub extents: Option<Vec<Extent>>,
    /// Where in the stream the data starts, and how many bytes of it there are.
    pub data_at: u64,
    pub stored: u64,
    /// `SCHILY.xattr.*`, each name once.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Entry(Box<Header>),
    /// Bytes of the last entry, in order.
    Data(&'a [u8]),
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("there is no tar header")]
    NoHeader,
    #[error("a block of zeros is followed by another block")]
    HalfEnd,
    #[error("{field} \"{value}\" is not a number")]
    Number { field: &'static str, value: String },
    #[error("size {0} is negative")]
    Negative(i64),
    #[error("pax record \"{0}\" is malformed")]
    Record(String),
    #[error("its extended header has {0} bytes, and the limit is {MAX_SPECIAL}")]
    TooLong(u64),
    #[error("its sparse map {0}")]
    Sparse(&'static str),
    #[error("the layer is cut within it")]
    Truncated,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry \"{entry}\" at byte {at}: {fault}")]
pub struct Error {
    pub entry: String,
    pub at: u64,
    pub fault: Fault,
}

/// Bytes of the layer as a message can show them.
pub(super) fn shown(bytes: &[u8]) -> String {
    const LIMIT: usize = 120;
    match bytes.len() {
        0..=LIMIT => escaped(bytes),
        _ => format!("{}...{}", escaped(&bytes[..LIMIT / 2]), escaped(&bytes[bytes.len() - LIMIT / 2..])),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks
        .map(|chunk| format!("{}{}", chunk.valid().escape_debug(), chunk.invalid().escape_ascii()))
        .collect()
}

/// A header block whose body says something about the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Pax,
    GlobalPax,
    LongName,
    LongLink,
}

/// An entry whose sparse map is still to be read.
type Draft = Box<Header>;

enum State {
    Header,
    /// After one block of zeros.
    SecondZero,
    Special {
        special: Special,
        body: Vec<u8>,
        left: usize,
    },
    OldMap {
        draft: Draft,
        map: sparse::Map,
    },
    NewMap {
        draft: Draft,
        map: NewMap,
    },
    Data {
        left: u64,
        padding: u64,
        is_wanted: bool,
    },
    Padding {
        left: u64,
    },
    End,
}

/// Finds entries in a stream.
pub struct Parser {
    state: State,
    block: Block,
    filled: usize,
    position: u64,
    pax: Pax,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
    /// For messages: the entry whose header was read last.
    entry: Vec<u8>,
    entry_at: u64,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub fn new() -> Self {
        Self {
            state: State::Header,
            block: [0; BLOCK],
            filled: 0,
            position: 0,
            pax: Pax::default(),
            long_name: Vec::new(),
            long_link: Vec::new(),
            entry: Vec::new(),
            entry_at: 0,
        }
    }

    /// Takes bytes off the front of `input` up to the next event; `None`: it took all.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        while !input.is_empty() {
            let event = self.step(input).map_err(|fault| self.error(fault))?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// After the last byte: whether the stream may end here. Nobody needs the end marker, or the last padding.
    pub fn finish(&self) -> Result<(), Error> {
        let is_whole = match &self.state {
            State::Header | State::SecondZero => self.filled == 0,
            State::Data { left, .. } => *left == 0,
            State::Special { left, .. } => *left == 0,
            State::OldMap { .. } | State::NewMap { .. } => false,
            State::Padding { .. } | State::End => true,
        };
        if is_whole { Ok(()) } else { Err(self.error(Fault::Truncated)) }
    }

    /// Whether the marked end was read: whatever follows is no entry.
    pub fn is_at_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Passes over what is left of the last entry's data. What is pushed next is to be what follows it, which begins
    /// at the place given.
    pub fn step_over(&mut self) -> u64 {
        let left = match self.state {
            State::Data { left, padding, .. } => left.saturating_add(padding),
            State::Padding { left } => left,
            _ => return self.position,
        };
        self.state = State::Header;
        self.position = self.position.saturating_add(left);
        self.position
    }

    fn error(&self, fault: Fault) -> Error {
        Error { entry: shown(&self.entry), at: self.entry_at, fault }
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Fault> {
        match &mut self.state {
            State::End => {
                self.take(input, usize::MAX);
                Ok(None)
            }
            State::Padding { .. } => {
                self.skip(input);
                Ok(None)
            }
            State::Data { .. } => Ok(self.data(input)),
            State::Special { .. } => self.special(input).map(|()| None),
            State::Header | State::SecondZero | State::OldMap { .. } | State::NewMap { .. } => {
                if self.fill(input) { self.block() } else { Ok(None) }
            }
        }
    }

    /// Takes up to `limit` bytes of the input.
    fn take<'a>(&mut self, input: &mut &'a [u8], limit: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(limit.min(input.len()));
        *input = rest;
        self.position += taken.len() as u64;
        taken
    }

    fn skip(&mut self, input: &mut &[u8]) {
        let State::Padding { left } = self.state else { return };
        let skipped = self.take(input, saturate(left)).len() as u64;
        self.state = match left - skipped {
            0 => State::Header,
            left => State::Padding { left },
        };
    }

    fn data<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        let State::Data { left, padding, is_wanted } = self.state else { return None };
        let data = self.take(input, saturate(left));
        self.state = match left - data.len() as u64 {
            0 => State::Padding { left: padding },
            left => State::Data { left, padding, is_wanted },
        };
        (is_wanted && !data.is_empty()).then_some(Event::Data(data))
    }

    fn special(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        let State::Special { special, mut body, left } = std::mem::replace(&mut self.state, State::Header)
        else {
            return Ok(());
        };
        let taken = self.take(input, left);
        body.extend_from_slice(taken);
        let left = left - taken.len();
        if left > 0 {
            self.state = State::Special { special, body, left };
            return Ok(());
        }
        self.state = State::Padding { left: padding(body.len() as u64) };
        self.learn(special, body)
    }

    /// Whether the block is full.
    fn fill(&mut self, input: &mut &[u8]) -> bool {
        let taken = self.take(input, BLOCK - self.filled);
        self.block[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled = (self.filled + taken.len()) % BLOCK;
        self.filled == 0
    }

    /// Acts on a full block.
    fn block(&mut self) -> Result<Option<Event<'static>>, Fault> {
        match std::mem::replace(&mut self.state, State::Header) {
            State::OldMap { draft, map } => {
                let block = self.block;
                self.old_map(draft, map, &block[..505])
            }
            State::NewMap { draft, map } => self.new_map(draft, map),
            State::SecondZero if self.block == [0; BLOCK] => {
                self.state = State::End;
                Ok(None)
            }
            State::SecondZero => Err(Fault::HalfEnd),
            _ if self.block == [0; BLOCK] => {
                self.state = State::SecondZero;
                Ok(None)
            }
            _ => self.header(),
        }
    }

    fn header(&mut self) -> Result<Option<Event<'static>>, Fault> {
        self.entry_at = self.position - BLOCK as u64;
        self.entry.clear();
        self.entry.extend_from_slice(header::text(&self.block[..100]));
        let fields = Fields::parse(&self.block)?;
        let special = match fields.flag {
            b'x' => Special::Pax,
            b'g' => Special::GlobalPax,
            b'L' => Special::LongName,
            b'K' => Special::LongLink,
            _ => return self.entry(fields),
        };
        let size = positive(fields.size)?;
        if size > MAX_SPECIAL {
            return Err(Fault::TooLong(size));
        }
        self.state = State::Special { special, body: Vec::new(), left: saturate(size) };
        Ok(None)
    }

    /// What the body of a special header says holds for the next entry. A global header ends what came before it, and
    /// its own records are nobody's: docker, containerd and podman do not apply them.
    fn learn(&mut self, special: Special, body: Vec<u8>) -> Result<(), Fault> {
        match special {
            Special::Pax => self.pax = Pax::parse(body)?,
            Special::LongName => self.long_name = header::text(&body).to_vec(),
            Special::LongLink => self.long_link = header::text(&body).to_vec(),
            Special::GlobalPax => {
                Pax::parse(body)?;
                self.pax = Pax::default();
                self.long_name.clear();
                self.long_link.clear();
            }
        }
        Ok(())
    }

    fn entry(&mut self, mut fields: Fields) -> Result<Option<Event<'static>>, Fault> {
        if !header::is_header_only(fields.flag) {
            positive(fields.size)?;
        }
        let pax = std::mem::take(&mut self.pax);
        fields.merge(&pax)?;
        override_with(&mut fields.name, std::mem::take(&mut self.long_name));
        override_with(&mut fields.link, std::mem::take(&mut self.long_link));
        self.entry.clone_from(&fields.name);
        if fields.flag == 0 {
            fields.flag = if fields.name.ends_with(b"/") { b'5' } else { b'0' };
        }
        let stored = if header::is_header_only(fields.flag) { 0 } else { positive(fields.size)? };
        self.body(fields, &pax, stored)
    }

    /// Looks for a sparse map, which may take more blocks.
    fn body(&mut self, mut fields: Fields, pax: &Pax, stored: u64) -> Result<Option<Event<'static>>, Fault> {
        if fields.flag == b'S' {
            if fields.format != Format::Gnu {
                return Err(Fault::Sparse("is in no known format"));
            }
            fields.size = header::number(&self.block[483..495], "sparse size")?;
            let block = self.block;
            return self.old_map(fields.into_header(stored, pax)?, sparse::Map::new(), &block[386..483]);
        }
        let announced = sparse::announced(&mut fields, pax)?;
        if announced != sparse::Announced::Nothing && header::is_header_only(fields.flag) {
            return Err(Fault::Sparse("is that of no file"));
        }
        let draft = fields.into_header(stored, pax)?;
        match announced {
            sparse::Announced::Nothing => Ok(Some(self.found(draft))),
            sparse::Announced::Map(map) => self.sparse(draft, &map),
            sparse::Announced::InBody => {
                self.state = State::NewMap { draft, map: NewMap::default() };
                Ok(None)
            }
        }
    }

    /// One block of an old GNU map: what of it holds the map.
    fn old_map(
        &mut self,
        draft: Draft,
        mut map: sparse::Map,
        block: &[u8],
    ) -> Result<Option<Event<'static>>, Fault> {
        if map.len() as u64 > MAX_SPECIAL / 24 {
            return Err(Fault::Sparse("is too long"));
        }
        if sparse::read_old(block, &mut map)? {
            self.state = State::OldMap { draft, map };
            return Ok(None);
        }
        self.sparse(draft, &map)
    }

    /// One block of a map that stands before the data.
    fn new_map(&mut self, mut draft: Draft, mut map: NewMap) -> Result<Option<Event<'static>>, Fault> {
        draft.stored = draft.stored.checked_sub(BLOCK as u64).ok_or(Fault::Truncated)?;
        match map.push(&self.block)? {
            Some(map) => self.sparse(draft, &map),
            None => {
                self.state = State::NewMap { draft, map };
                Ok(None)
            }
        }
    }

    fn sparse(&mut self, mut draft: Draft, map: &sparse::Map) -> Result<Option<Event<'static>>, Fault> {
        draft.extents = Some(sparse::checked(map, draft.size, draft.stored)?);
        Ok(Some(self.found(draft)))
    }

    fn found(&mut self, mut header: Draft) -> Event<'static> {
        header.data_at = self.position;
        self.state = State::Data {
            left: header.stored,
            padding: padding(header.stored),
            is_wanted: header.kind == Type::File,
        };
        Event::Entry(header)
    }
}

/// How many bytes follow a body up to the next block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn positive(size: i64) -> Result<u64, Fault> {
    u64::try_from(size).map_err(|_| Fault::Negative(size))
}

fn saturate(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn override_with(field: &mut Vec<u8>, long: Vec<u8>) {
    if !long.is_empty() {
        *field = long;
    }
}
