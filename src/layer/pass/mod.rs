//! One pass over a layer as it comes in gives everything that is to be known of it: its digests, its index, and the
//! places where decoding can start. Decoding runs on the caller's thread, the blob's sha256 on another and all other
//! digests on a third; memory is bounded whatever the layer holds.

mod copy;
mod decode;
mod digest;
mod feed;
#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::thread::{self, ScopedJoinHandle};

use self::copy::{Copying, Extent};
use self::digest::Summed;
use self::feed::{Input, Output, QUEUE};
use super::{Codec, Identity, scan};
use crate::oci::Digest;

/// The largest layer that is read. No image has one a tenth of it; a compressed megabyte can be more.
pub const MOST_OUTPUT: u64 = 256 << 30;

/// When a copy of the layer is made that can be read from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidecarPolicy {
    /// Of what could not be read quickly from the blob.
    WhenNeeded,
    /// Of everything: the blob will not be there.
    Always,
}

pub struct Pass<'a> {
    pub sidecar: SidecarPolicy,
    /// Makes the file for the sidecar, if one is written.
    pub spool: &'a mut dyn FnMut() -> io::Result<File>,
}

/// A layer that was read to its end.
#[derive(Debug)]
pub struct Passed {
    pub index: Vec<u8>,
    /// What the bytes were; whether it is what was promised is for the caller to say.
    pub identity: Identity,
    pub sidecar: Option<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the layer: {0}")]
    Read(io::Error),
    #[error("the {codec} stream is cut off after {at} bytes")]
    Truncated { codec: &'static str, at: u64 },
    #[error("the {codec} stream is damaged near byte {at}: {reason}")]
    Data { codec: &'static str, at: u64, reason: String },
    #[error("something else follows the {codec} stream at byte {at}")]
    Garbage { codec: &'static str, at: u64 },
    #[error("the layer expands to more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error(transparent)]
    Scan(#[from] scan::Error),
    #[error("writing the layer's sidecar: {0}")]
    Sidecar(io::Error),
    /// One side ended because the other had: never seen outside, where the other's error is.
    #[error("the pass was stopped")]
    Stopped,
}

/// Reads a layer, as it is stored, from its start to its end.
pub fn pass(input: impl Read, pass: Pass<'_>) -> Result<Passed, Error> {
    let mut scan = scan::Scan::new();
    let stream = stream(input, pass, |bytes| Ok(scan.push(bytes)?))?;
    let tree = scan.finish()?;
    let index = tree.into_index(&stream.identity, &stream.summed.seek);
    Ok(Passed { index, identity: stream.identity, sidecar: stream.sidecar })
}

/// What a pass finds out without looking at the tar.
struct Streamed {
    identity: Identity,
    summed: Summed,
    sidecar: Option<File>,
}

/// Decodes `input` and gives each uncompressed byte to `take`, on another thread.
fn stream(
    input: impl Read,
    pass: Pass<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), Error> + Send,
) -> Result<Streamed, Error> {
    let (sender, receiver) = sync_channel(QUEUE);
    let (to_hash, compressed) = sync_channel(QUEUE);
    let input = Input::new(input, sender.clone(), to_hash).map_err(Error::Read)?;
    let codec = Codec::detect(input.start());
    thread::scope(|scope| {
        let extent = extent(codec, pass.sidecar);
        let digests = scope.spawn(move || digest::digest(&receiver, &mut take));
        let blob = scope.spawn(move || digest::hash(&compressed));
        let output = Output::new(sender, Copying::new(extent, scope, pass.spool));
        let decoded = run(codec, input, output);
        let (summed, sidecar) = first_reason(joined(digests), decoded)?;
        let identity = identity(codec, joined(blob), &summed);
        Ok(Streamed { identity, summed, sidecar })
    })
}

/// A plain stream's blob is what comes out of it.
fn identity(codec: Codec, blob: (Digest, u64), summed: &Summed) -> Identity {
    let Summed { diff_id, uncompressed, .. } = *summed;
    let (digest, size) = match codec {
        Codec::Plain => (diff_id.0, uncompressed),
        _ => blob,
    };
    Identity { digest, size, diff_id, uncompressed, codec }
}

fn extent(codec: Codec, policy: SidecarPolicy) -> Extent {
    match (policy, codec) {
        (SidecarPolicy::Always, _) | (_, Codec::Xz | Codec::Bzip2) => Extent::All,
        (SidecarPolicy::WhenNeeded, Codec::Plain) => Extent::Nothing,
        (SidecarPolicy::WhenNeeded, Codec::Gzip | Codec::Zstd) => Extent::Distant,
    }
}

/// The decoding side. All senders are gone when it returns, which ends the digesting side.
fn run<R: Read>(
    codec: Codec,
    mut input: Input<R>,
    mut output: Output<'_, '_>,
) -> Result<Option<File>, Error> {
    let decoded = decode::decode(codec, &mut input, &mut output).and_then(|()| output.flush());
    let copied = output.finish().finish();
    // The thread that writes the sidecar may be why decoding stopped.
    match decoded {
        Ok(()) => copied,
        Err(Error::Stopped) => copied.and(Err(Error::Stopped)),
        Err(error) => Err(error),
    }
}

/// Of two errors the one that is not an echo of the other.
fn first_reason(
    summed: Result<Summed, Error>,
    decoded: Result<Option<File>, Error>,
) -> Result<(Summed, Option<File>), Error> {
    match (summed, decoded) {
        (Ok(summed), Ok(sidecar)) => Ok((summed, sidecar)),
        (Err(error), Ok(_) | Err(Error::Stopped)) | (_, Err(error)) => Err(error),
    }
}

/// A thread's panic goes on in the thread that waits for it.
fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
