//! Tars for tests, made by hand so that they can be wrong.

pub(super) struct Tarball {
    bytes: Vec<u8>,
}

/// The fields of one header, as text where they stand as text.
pub(super) struct Entry<'a> {
    pub flag: u8,
    pub path: &'a [u8],
    pub link: &'a [u8],
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: u64,
    pub device: (u32, u32),
    /// What the header says; the body may be another.
    pub size: u64,
    pub body: &'a [u8],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            flag: b'0',
            path: b"",
            link: b"",
            mode: 0o644,
            owner: (0, 0),
            mtime: 0,
            device: (0, 0),
            size: 0,
            body: b"",
        }
    }
}

impl Tarball {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(super) fn entry(mut self, entry: &Entry<'_>) -> Self {
        self.bytes.extend_from_slice(&header(entry));
        self.body(entry.body)
    }

    /// Bytes, and zeros up to the next block.
    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn of(self, flag: u8, path: &str, link: &str) -> Self {
        let mode = if flag == b'5' { 0o755 } else { 0o644 };
        self.entry(&Entry { flag, path: path.as_bytes(), link: link.as_bytes(), mode, ..Entry::default() })
    }

    pub(super) fn file(self, path: &str, body: &str) -> Self {
        let (path, body) = (path.as_bytes(), body.as_bytes());
        self.entry(&Entry { path, size: body.len() as u64, body, ..Entry::default() })
    }

    pub(super) fn directory(self, path: &str) -> Self {
        self.of(b'5', path, "")
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Self {
        self.of(b'2', path, target)
    }

    pub(super) fn hardlink(self, path: &str, target: &str) -> Self {
        self.of(b'1', path, target)
    }

    pub(super) fn special(self, flag: u8, body: &[u8]) -> Self {
        self.entry(&Entry { flag, path: b"special", size: body.len() as u64, body, ..Entry::default() })
    }

    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.special(b'x', &body)
    }

    /// With the end marker.
    pub(super) fn end(self) -> Vec<u8> {
        self.body(&[0; 1024]).cut()
    }

    /// Without it.
    pub(super) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

pub(super) fn header(entry: &Entry<'_>) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, entry.path);
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, format!("{:07o}", entry.owner.0).as_bytes());
    put(116, format!("{:07o}", entry.owner.1).as_bytes());
    put(124, &size(entry.size));
    put(136, format!("{:011o}", entry.mtime).as_bytes());
    put(156, &[entry.flag]);
    put(157, entry.link);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}", entry.device.0).as_bytes());
    put(337, format!("{:07o}", entry.device.1).as_bytes());
    sign(&mut block);
    block
}

fn size(size: u64) -> Vec<u8> {
    if size < 1 << 33 {
        return format!("{size:011o}").into_bytes();
    }
    [&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat()
}

/// Writes a block's checksum.
pub(super) fn sign(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}
