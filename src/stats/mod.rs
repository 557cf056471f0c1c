//! What a mount does, counted: a file that the mount's process has mapped and anyone who may read it can read, with no
//! word between the two. A mount has a process of its own, so what is counted is the process's; counting is a few
//! additions in memory, and nothing at all before [`begin`].

mod histogram;
mod layout;
mod snapshot;
mod tally;
mod trace;

use std::fs::File;
use std::io;
use std::sync::OnceLock;

pub use histogram::Histogram;
pub use layout::LENGTH;
pub use snapshot::{Answers, Error, Snapshot};
pub use tally::{Answered, Tally};
pub use trace::{Event, Follow};

/// An enum whose values have names, and a list of them all.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $value:ident $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$what])* $value,)*
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$value),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

named! {
    /// What the kernel asks, by the names of the protocol.
    Opcode {
        Lookup "lookup",
        Forget "forget",
        Getattr "getattr",
        Setattr "setattr",
        Readlink "readlink",
        Mknod "mknod",
        Mkdir "mkdir",
        Unlink "unlink",
        Rmdir "rmdir",
        Symlink "symlink",
        Rename "rename",
        Link "link",
        Open "open",
        Read "read",
        Write "write",
        Flush "flush",
        Release "release",
        Fsync "fsync",
        Opendir "opendir",
        Readdir "readdir",
        Readdirplus "readdirplus",
        Releasedir "releasedir",
        Fsyncdir "fsyncdir",
        Statfs "statfs",
        Setxattr "setxattr",
        Getxattr "getxattr",
        Listxattr "listxattr",
        Removexattr "removexattr",
        Create "create",
        Ioctl "ioctl",
        Poll "poll",
        Fallocate "fallocate",
        Lseek "lseek",
        CopyFileRange "copy_file_range",
    }
}

named! {
    /// What is counted beside requests.
    Counter {
        /// Bytes that reads were answered with.
        BytesServed "bytes_served",
        /// Bytes that came to be written.
        BytesWritten "bytes_written",
        /// Chunks that were wanted and in memory.
        ChunkHits "chunk_hits",
        /// Chunks that were wanted and had to be had first.
        ChunkMisses "chunk_misses",
        /// Bytes that decoders gave out, those included that were only passed.
        BytesInflated "bytes_inflated",
        /// Chunks that were had before anyone asked.
        ChunksAhead "chunks_ahead",
        /// Reads from a file that is cached whole.
        WholeFileReads "whole_file_reads",
        /// Objects that were copied to the upper.
        CopyUps "copy_ups",
        /// Bytes of files that were copied to the upper.
        BytesCopiedUp "bytes_copied_up",
    }
}

static PROCESS: OnceLock<Tally> = OnceLock::new();

/// From now on this process counts, into `file`: an empty one of its own, that nobody cuts. A second call has no effect.
pub fn begin(file: &File) -> io::Result<()> {
    let tally = Tally::new(file)?;
    PROCESS.get_or_init(|| tally);
    Ok(())
}

/// What this process counts into, if it does.
pub fn process() -> Option<&'static Tally> {
    PROCESS.get()
}

pub fn count(counter: Counter, amount: u64) {
    if let Some(tally) = PROCESS.get() {
        tally.count(counter, amount);
    }
}
