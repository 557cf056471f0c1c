//! Who does what takes long. One thread listens to the kernel: on its way from one request to the next it is still
//! awake, and so answers a program that asks one thing after another twice as fast as several that take turns. What
//! may wait (for decompression, for a copy, for the disk) goes to a pool, so that nothing else waits with it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

use fuser::ReplyData;
use parking_lot::Mutex;

use super::answer::guarded;
use super::convert;
use super::measure::{self, Underway};
use crate::stats::{self, Counter};
use crate::union::{NodeId, Overlay, Result, Union};

type Work = Box<dyn FnOnce() + Send>;

pub struct Pool {
    queue: Sender<Work>,
}

impl Pool {
    pub fn start(threads: usize) -> io::Result<Self> {
        let (queue, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name(format!("work-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { queue })
    }

    /// A reply in what is never done is answered EIO by its own drop; the pool is gone only when the session is.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        let request = measure::take();
        let work = move || {
            let _here = Underway::here(request);
            work();
        };
        drop(self.queue.send(Box::new(work)));
    }
}

fn work(waiting: &Mutex<Receiver<Work>>) {
    loop {
        let next = waiting.lock().recv();
        match next {
            Ok(work) => guarded("working in the pool", work),
            Err(_) => return,
        }
    }
}

/// One read, and who waits for it.
pub struct Job {
    pub node: NodeId,
    pub offset: u64,
    pub length: u32,
    pub reply: ReplyData,
}

/// What has bytes.
pub trait Bytes: Send + Sync + 'static {
    /// Calls `serve` once.
    fn read(&self, node: NodeId, offset: u64, length: u32, serve: impl FnOnce(&[u8])) -> Result<()>;
    /// Whether a read would answer at once.
    fn is_at_hand(&self, node: NodeId, offset: u64, length: u32) -> bool;
}

impl Bytes for Union {
    fn read(&self, node: NodeId, offset: u64, length: u32, serve: impl FnOnce(&[u8])) -> Result<()> {
        Union::read(self, node, offset, length, serve)
    }

    fn is_at_hand(&self, node: NodeId, offset: u64, length: u32) -> bool {
        Union::is_at_hand(self, node, offset, length)
    }
}

impl Bytes for Overlay {
    fn read(&self, node: NodeId, offset: u64, length: u32, serve: impl FnOnce(&[u8])) -> Result<()> {
        Overlay::read(self, node, offset, length, serve)
    }

    fn is_at_hand(&self, node: NodeId, offset: u64, length: u32) -> bool {
        Overlay::is_at_hand(self, node, offset, length)
    }
}

impl Pool {
    pub fn read(&self, union: &Arc<impl Bytes>, job: Job) {
        if union.is_at_hand(job.node, job.offset, job.length) {
            guarded("reading a file", || serve(&**union, job));
        } else {
            let union = Arc::clone(union);
            self.run(move || serve(&*union, job));
        }
    }
}

fn serve(union: &impl Bytes, job: Job) {
    let mut reply = Some(job.reply);
    let read = union.read(job.node, job.offset, job.length, |bytes| {
        if let Some(reply) = reply.take() {
            stats::count(Counter::BytesServed, bytes.len() as u64);
            reply.data(bytes);
        }
    });
    if let (Err(error), Some(reply)) = (read, reply) {
        reply.error(convert::errno(&error));
    }
}
