//! The 32 KiB before a gzip checkpoint, of which a decoder needs only the bytes that the next 32 KiB refer to: about
//! a tenth. `decode(encode(window, used))` has each used byte of `window` at its place, and zeros elsewhere.

use crate::sys::zlib::{self, Inflate, Stop, WINDOW, Wrap};

/// A window in the form that indexes keep.
const VERBATIM: u8 = 0;
const ZSTD: u8 = 1;

const LEVEL: i32 = 1;

/// Two ranges this near to each other are kept as one: a range of its own costs more.
const GAP: usize = 3;

/// No encoded window is larger: every other group of [`GAP`] bytes is in use, none can be compressed.
const LARGEST: usize = 2 * WINDOW;

#[derive(Debug, thiserror::Error)]
#[error("a checkpoint's window is damaged")]
pub struct Damaged;

/// Which bytes of a window are in use.
pub struct Used(Box<[bool; WINDOW]>);

impl Used {
    pub fn all() -> Self {
        Self(Box::new([true; WINDOW]))
    }

    fn none() -> Self {
        Self(Box::new([false; WINDOW]))
    }

    /// The ranges in use, near ones joined.
    fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, _) in self.0.iter().enumerate().filter(|(_, used)| **used) {
            match ranges.last_mut() {
                Some(last) if at - last.end < GAP => last.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        ranges
    }
}

/// Finds out which bytes of a window are in use, by decoding with windows that hold their own positions.
pub struct Finder {
    inflate: Inflate,
    low: Box<[u8; WINDOW]>,
    high: Box<[u8; WINDOW]>,
    decoded: [Vec<u8>; 2],
}

/// The place of a checkpoint in the compressed stream.
pub struct Place<'a> {
    /// How many bits of the byte before belong to the block, and that byte.
    pub bits: u8,
    pub before: u8,
    /// The compressed bytes from there on.
    pub input: &'a [&'a [u8]],
}

impl Finder {
    pub fn new() -> Result<Self, zlib::Error> {
        let mut low = Box::new([0; WINDOW]);
        let mut high = Box::new([0; WINDOW]);
        for at in 0..WINDOW {
            low[at] = (at & 0xff) as u8;
            high[at] = (at >> 8) as u8;
        }
        let decoded = [vec![0; WINDOW], vec![0; WINDOW]];
        Ok(Self { inflate: Inflate::new(Wrap::Raw)?, low, high, decoded })
    }

    /// Which bytes of `window` the output `following` needs. More than it needs, where that cannot be told.
    pub fn find(&mut self, window: &[u8; WINDOW], following: &[u8], place: &Place<'_>) -> Used {
        match self.decode_twice(following.len(), place) {
            Ok(true) => self.compare(window, following),
            Ok(false) | Err(_) => Used::all(),
        }
    }

    /// Whether the whole length could be decoded.
    fn decode_twice(&mut self, length: usize, place: &Place<'_>) -> Result<bool, zlib::Error> {
        let [low, high] = &mut self.decoded;
        let (Some(low), Some(high)) = (low.get_mut(..length), high.get_mut(..length)) else {
            return Ok(false);
        };
        Ok(decode_with(&mut self.inflate, &*self.low, place, low)?
            && decode_with(&mut self.inflate, &*self.high, place, high)?)
    }

    fn compare(&self, window: &[u8; WINDOW], following: &[u8]) -> Used {
        let mut used = Used::none();
        let [low, high] = &self.decoded;
        for (truth, (low, high)) in following.iter().zip(low.iter().zip(high)) {
            let at = usize::from(*high) << 8 | usize::from(*low);
            let is_literal = low == truth && high == truth;
            // Where a literal looks like a position of the same byte, it may be either: in use, to be safe.
            if at < WINDOW && (!is_literal || window[at] == *truth) {
                used.0[at] = true;
            }
        }
        used
    }
}

fn decode_with(
    inflate: &mut Inflate,
    window: &[u8],
    place: &Place<'_>,
    output: &mut [u8],
) -> Result<bool, zlib::Error> {
    inflate.reset(Wrap::Raw)?;
    inflate.set_window(window)?;
    inflate.prime(place.bits, place.before)?;
    let mut done = 0;
    for input in place.input {
        let progress = inflate.inflate(input, &mut output[done..], Stop::AtEnd)?;
        done += progress.produced;
        if done == output.len() {
            return Ok(true);
        }
    }
    Ok(done == output.len())
}

/// The form that an index keeps: the ranges in use as varints, then their bytes; compressed where that is smaller.
pub fn encode(window: &[u8; WINDOW], used: &Used, into: &mut Vec<u8>) {
    let ranges = used.ranges();
    let mut plain = Vec::new();
    put(&mut plain, ranges.len());
    let mut end = 0;
    for range in &ranges {
        put(&mut plain, range.start - end);
        put(&mut plain, range.len());
        end = range.end;
    }
    for range in ranges {
        plain.extend_from_slice(&window[range]);
    }
    match zstd::bulk::compress(&plain, LEVEL) {
        Ok(compressed) if compressed.len() < plain.len() => {
            into.push(ZSTD);
            into.extend_from_slice(&compressed);
        }
        _ => {
            into.push(VERBATIM);
            into.extend_from_slice(&plain);
        }
    }
}

/// The window that `bytes` keep; without any, of zeros.
pub fn decode(bytes: &[u8]) -> Result<Box<[u8; WINDOW]>, Damaged> {
    let mut window = Box::new([0; WINDOW]);
    match bytes.split_first() {
        None => {}
        Some((&VERBATIM, plain)) => fill(plain, &mut window)?,
        Some((&ZSTD, compressed)) => {
            let plain = zstd::bulk::decompress(compressed, LARGEST).map_err(|_| Damaged)?;
            fill(&plain, &mut window)?;
        }
        Some(_) => return Err(Damaged),
    }
    Ok(window)
}

fn fill(plain: &[u8], window: &mut [u8; WINDOW]) -> Result<(), Damaged> {
    let mut rest = plain;
    let count = take(&mut rest)?;
    let mut ranges = Vec::new();
    let mut end: usize = 0;
    for _ in 0..count {
        let start = end.checked_add(take(&mut rest)?).ok_or(Damaged)?;
        end = start.checked_add(take(&mut rest)?).filter(|end| *end <= WINDOW).ok_or(Damaged)?;
        ranges.push(start..end);
    }
    for range in ranges {
        let (bytes, after) = rest.split_at_checked(range.len()).ok_or(Damaged)?;
        window[range].copy_from_slice(bytes);
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(Damaged) }
}

/// A number in groups of seven bits, the lowest first.
fn put(into: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// No number here has more than three groups.
fn take(from: &mut &[u8]) -> Result<usize, Damaged> {
    let mut number = 0;
    for shift in [0, 7, 14] {
        let (byte, rest) = from.split_first().ok_or(Damaged)?;
        *from = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_comes_back_with_each_used_byte_at_its_place(
            seed in any::<[u8; 32]>(),
            marks in proptest::collection::vec((0..WINDOW, 1..200usize), 0..400),
        ) {
            let mut window = Box::new([0; WINDOW]);
            blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut window[..]);
            let mut used = Used::none();
            for (at, length) in marks {
                used.0[at..WINDOW.min(at + length)].fill(true);
            }
            let mut bytes = Vec::new();
            encode(&window, &used, &mut bytes);
            let decoded = decode(&bytes).unwrap();
            prop_assert!((0..WINDOW).all(|at| !used.0[at] || decoded[at] == window[at]));
        }

        #[test]
        fn hostile_windows_are_damaged_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_whole_window_and_an_empty_one_come_back() {
        let window = Box::new(std::array::from_fn(|at| (at * 7 + at / 256) as u8));
        let mut bytes = Vec::new();
        encode(&window, &Used::all(), &mut bytes);
        assert_eq!(decode(&bytes).unwrap(), window);
        assert_eq!(decode(&[]).unwrap(), Box::new([0; WINDOW]));
    }
}
