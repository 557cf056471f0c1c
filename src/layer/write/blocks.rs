//! Compression of a layer that is being written: in blocks, each a gzip member or a zstd frame of its own, on all cores.
//! The same bytes become the same stream however many cores there are, and a reader can start at any block.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;
use zlib_rs::{DeflateConfig, ReturnCode};

use crate::layer::Codec;

const BLOCK: usize = 1 << 20;
const WORKERS: usize = 8;
const GZIP_LEVEL: i32 = 6;
/// The largest window, and a gzip header and trailer around it; and their size, with room to spare.
const GZIP_WINDOW: i32 = 15 + 16;
const GZIP_WRAP: usize = 64;
const ZSTD_LEVEL: i32 = 3;

/// What a layer is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// As another layer is; none is written with what no image spec names.
    pub fn like(codec: Codec) -> Self {
        match codec {
            Codec::Plain => Self::None,
            Codec::Zstd => Self::Zstd,
            Codec::Gzip | Codec::Xz | Codec::Bzip2 => Self::Gzip,
        }
    }

    fn compress(self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(block),
            Self::Gzip => gzip(&block),
            Self::Zstd => zstd::bulk::compress(&block, ZSTD_LEVEL),
        }
    }
}

fn gzip(block: &[u8]) -> io::Result<Vec<u8>> {
    let mut config = DeflateConfig::new(GZIP_LEVEL);
    config.window_bits = GZIP_WINDOW;
    let mut room = vec![0; zlib_rs::compress_bound(block.len()) + GZIP_WRAP];
    let (member, code) = zlib_rs::compress_slice(&mut room, block, config);
    let length = member.len();
    match code {
        ReturnCode::Ok => {
            room.truncate(length);
            Ok(room)
        }
        code => Err(io::Error::other(format!("compressing with gzip: {code:?}"))),
    }
}

/// A block on its way: what it becomes arrives by a channel of its own, so that they stay in order.
type Compressed = Receiver<io::Result<Vec<u8>>>;

struct Job {
    block: Vec<u8>,
    done: SyncSender<io::Result<Vec<u8>>>,
}

/// Where the bytes to be compressed are written to; [`Write::flush`] ends the last block.
pub struct Stream {
    block: Vec<u8>,
    jobs: SyncSender<Job>,
    order: SyncSender<Compressed>,
}

/// Runs `write` and `read` side by side: what the one writes, the other reads compressed. What `write` says of an error
/// explains that of `read`, which only sees a stream that breaks off.
pub fn compressed<W, R>(
    compression: Compression,
    write: impl FnOnce(Stream) -> W + Send,
    read: impl FnOnce(&mut dyn Read) -> R,
) -> (Option<W>, R)
where
    W: Send,
{
    let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    let (jobs, to_do) = sync_channel::<Job>(workers);
    let (order, compressed) = sync_channel::<Compressed>(2 * workers);
    let to_do = Mutex::new(to_do);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&to_do, compression));
        }
        let stream = Stream { block: Vec::with_capacity(BLOCK), jobs, order };
        let writer = scope.spawn(move || write(stream));
        let result = read(&mut Blocks { order: compressed, block: Vec::new(), used: 0 });
        // One that has panicked gives nothing; its stream has broken off.
        (writer.join().ok(), result)
    })
}

fn work(to_do: &Mutex<Receiver<Job>>, compression: Compression) {
    loop {
        let next = to_do.lock().recv();
        let Ok(Job { block, done }) = next else { return };
        // Nobody waits for it if the reader has ended.
        let _ = done.send(compression.compress(block));
    }
}

impl Stream {
    fn send(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (done, compressed) = sync_channel(1);
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.order.send(compressed).map_err(|_| ended())?;
        self.jobs.send(Job { block, done }).map_err(|_| ended())
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The compressed blocks, in order.
struct Blocks {
    order: Receiver<Compressed>,
    block: Vec<u8>,
    used: usize,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.block.len() {
            let Ok(next) = self.order.recv() else { return Ok(0) };
            self.block = next.recv().map_err(|_| io::Error::other("a worker has failed"))??;
            self.used = 0;
        }
        let count = buffer.len().min(self.block.len() - self.used);
        buffer[..count].copy_from_slice(&self.block[self.used..][..count]);
        self.used += count;
        Ok(count)
    }
}
