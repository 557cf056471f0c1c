//! The fields of one header block.

use super::pax::{Key, Pax};
use super::{Fault, Header, Type, positive, shown};
use crate::layer::index::Time;

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Format {
    fn of(block: &Block) -> Self {
        match (&block[257..263], &block[263..265]) {
            (b"ustar\0", _) if &block[508..] == b"tar\0" => Self::Star,
            (b"ustar\0", _) => Self::Ustar,
            (b"ustar ", b" \0") => Self::Gnu,
            _ => Self::V7,
        }
    }
}

/// The body of these types is empty, whatever their size says: a size there must not take the reader out of step.
pub(super) fn is_header_only(flag: u8) -> bool {
    (b'1'..=b'6').contains(&flag)
}

/// What one header says of an entry, before the special headers in front of it have their say.
pub(super) struct Fields {
    pub flag: u8,
    pub format: Format,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub size: i64,
    mode: i64,
    uid: i64,
    gid: i64,
    mtime: Time,
    major: i64,
    minor: i64,
}

impl Fields {
    pub(super) fn parse(block: &Block) -> Result<Self, Fault> {
        if !has_its_checksum(block) {
            return Err(Fault::NoHeader);
        }
        let format = Format::of(block);
        let (major, minor) = match format {
            Format::V7 => (0, 0),
            _ => (number(&block[329..337], "device major")?, number(&block[337..345], "device minor")?),
        };
        let mut name = prefix(block, format)?.to_vec();
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(text(&block[..100]));
        Ok(Self {
            flag: block[156],
            format,
            name,
            link: text(&block[157..257]).to_vec(),
            mode: number(&block[100..108], "mode")?,
            uid: number(&block[108..116], "uid")?,
            gid: number(&block[116..124], "gid")?,
            size: number(&block[124..136], "size")?,
            mtime: Time { seconds: number(&block[136..148], "mtime")?, nanoseconds: 0 },
            major,
            minor,
        })
    }

    /// Pax records come before the fields; an empty one says nothing.
    pub(super) fn merge(&mut self, pax: &Pax) -> Result<(), Fault> {
        if let Some(path) = pax.get(Key::Path) {
            self.name = path.to_vec();
        }
        if let Some(link) = pax.get(Key::LinkPath) {
            self.link = link.to_vec();
        }
        self.size = pax.number(Key::Size)?.unwrap_or(self.size);
        self.uid = pax.number(Key::Uid)?.unwrap_or(self.uid);
        self.gid = pax.number(Key::Gid)?.unwrap_or(self.gid);
        self.mtime = pax.time(Key::Mtime)?.unwrap_or(self.mtime);
        pax.time(Key::Atime)?;
        pax.time(Key::Ctime)?;
        Ok(())
    }

    pub(super) fn into_header(self, stored: u64, pax: &Pax) -> Result<Box<Header>, Fault> {
        let kind = self.kind();
        let size = if kind == Type::File { positive(self.size)? } else { 0 };
        Ok(Box::new(Header {
            kind,
            path: self.name,
            link: self.link,
            mode: u16::try_from(self.mode & 0o7777).unwrap_or(0),
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            major: self.major,
            minor: self.minor,
            size,
            extents: None,
            data_at: 0,
            stored,
            xattrs: pax.xattrs(),
        }))
    }

    fn kind(&self) -> Type {
        match self.flag {
            b'0' | b'7' | b'S' if self.name.ends_with(b"/") => Type::Directory,
            b'0' | b'7' | b'S' => Type::File,
            b'1' => Type::HardLink,
            b'2' => Type::Symlink,
            b'3' => Type::CharDevice,
            b'4' => Type::BlockDevice,
            // The body of a GNU dump directory lists names; the entries themselves follow it.
            b'5' | b'D' => Type::Directory,
            b'6' => Type::Fifo,
            other => Type::Other(other),
        }
    }
}

/// The sum is taken with blanks in its own place. Some writers sum signed bytes.
fn has_its_checksum(block: &Block) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let Ok(expected) = octal(&block[FIELD], "checksum") else { return false };
    // Of the whole block, as a loop over one slice is several times as fast as one over two.
    let unsigned = |bytes: &[u8]| bytes.iter().map(|byte| i32::from(*byte)).sum::<i32>();
    let signed = |bytes: &[u8]| bytes.iter().map(|byte| i32::from(byte.cast_signed())).sum::<i32>();
    let blanks = unsigned(b"        ");
    let is = |sum: i32| expected == i64::from(sum + blanks);
    is(unsigned(block) - unsigned(&block[FIELD])) || is(signed(block) - signed(&block[FIELD]))
}

/// What stands before the name.
fn prefix(block: &Block, format: Format) -> Result<&[u8], Fault> {
    match format {
        Format::V7 => Ok(&[]),
        Format::Ustar => Ok(text(&block[345..500])),
        Format::Star => {
            number(&block[476..488], "atime")?;
            number(&block[488..500], "ctime")?;
            Ok(text(&block[345..476]))
        }
        Format::Gnu => Ok(gnu_prefix(block)),
    }
}

/// GNU has times there. Old versions of Go wrote a prefix all the same: it is one if it reads as text and not as times.
fn gnu_prefix(block: &Block) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || number(field, "time").is_ok();
    let prefix = text(&block[345..500]);
    let are_times = is_time(&block[345..357]) && is_time(&block[357..369]);
    if are_times || !prefix.is_ascii() { &[] } else { prefix }
}

/// A field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// A number in octal digits, or in base 256 with the top bit set.
pub(super) fn number(field: &[u8], name: &'static str) -> Result<i64, Fault> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            binary(field).ok_or_else(|| Fault::Number { field: name, value: shown(field) })
        }
        _ => octal(field, name),
    }
}

/// Two's complement, big-endian, with the first bit as a mark.
fn binary(field: &[u8]) -> Option<i64> {
    let invert = if field[0] & 0x40 != 0 { 0xff } else { 0 };
    let mut value: i64 = 0;
    for (position, byte) in field.iter().enumerate() {
        let mut digit = byte ^ invert;
        if position == 0 {
            digit &= 0x7f;
        }
        value = value.checked_mul(256)?.checked_add(i64::from(digit))?;
    }
    Some(if invert == 0 { value } else { !value })
}

fn octal(field: &[u8], name: &'static str) -> Result<i64, Fault> {
    let digits = text(trimmed(field));
    if trimmed(field).is_empty() {
        return Ok(0);
    }
    let digit = |byte: &u8| matches!(byte, b'0'..=b'7').then(|| i64::from(byte - b'0'));
    let value = digits.iter().try_fold(0_i64, |value, byte| value.checked_mul(8)?.checked_add(digit(byte)?));
    let value = value.filter(|_| !digits.is_empty());
    value.ok_or_else(|| Fault::Number { field: name, value: shown(field) })
}

fn trimmed(mut field: &[u8]) -> &[u8] {
    while let [b' ' | 0, rest @ ..] = field {
        field = rest;
    }
    while let [rest @ .., b' ' | 0] = field {
        field = rest;
    }
    field
}
