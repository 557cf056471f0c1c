//! How a layer is compressed. Its bytes say, not its media type: real images name one and use the other.

/// A compression that a layer can come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    Plain = 0,
    Gzip = 1,
    Zstd = 2,
    Xz = 3,
    Bzip2 = 4,
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const BZIP2_END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

impl Codec {
    /// How many of a stream's first bytes [`Codec::detect`] looks at.
    pub const MAGIC: usize = 10;

    /// The codec of a stream that starts with `start`; what is none of them is plain.
    pub fn detect(start: &[u8]) -> Self {
        if start.starts_with(GZIP) {
            Self::Gzip
        } else if start.starts_with(ZSTD) || is_zstd_skippable(start) {
            Self::Zstd
        } else if start.starts_with(XZ) {
            Self::Xz
        } else if is_bzip2(start) {
            Self::Bzip2
        } else {
            Self::Plain
        }
    }

    /// The codec that an index names.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Plain, Self::Gzip, Self::Zstd, Self::Xz, Self::Bzip2]
            .into_iter()
            .find(|codec| *codec as u8 == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

fn is_zstd_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, rest @ ..] if rest.starts_with(ZSTD_SKIPPABLE))
}

/// `BZh` alone could be the name of a tar's first entry; the magic of the block after it could not.
fn is_bzip2(start: &[u8]) -> bool {
    match start {
        [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] => {
            rest.starts_with(BZIP2_BLOCK) || rest.starts_with(BZIP2_END)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_known_by_its_first_bytes() {
        let xz = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4];
        assert_eq!(Codec::detect(&[0x1f, 0x8b, 8, 0]), Codec::Gzip);
        assert_eq!(Codec::detect(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Codec::Zstd);
        assert_eq!(Codec::detect(&[0x53, 0x2a, 0x4d, 0x18, 0]), Codec::Zstd);
        assert_eq!(Codec::detect(&xz), Codec::Xz);
        assert_eq!(Codec::detect(b"BZh91AY&SY"), Codec::Bzip2);
        assert_eq!(Codec::detect(b"BZh9.txt\0\0"), Codec::Plain);
        assert_eq!(Codec::detect(b"etc/"), Codec::Plain);
        assert_eq!(Codec::detect(b""), Codec::Plain);
    }

    #[test]
    fn a_codec_comes_back_from_its_number() {
        for codec in [Codec::Plain, Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::Bzip2] {
            assert_eq!(Codec::from_number(codec as u8), Some(codec));
        }
        assert_eq!(Codec::from_number(5), None);
    }
}
