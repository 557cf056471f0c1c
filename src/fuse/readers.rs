//! Who serves reads. One thread listens to the kernel: on its way from one request to the next it is still awake, and
//! so answers a program that asks one thing after another twice as fast as several that take turns. A read that may
//! wait for decompression goes to a pool, so that nothing else waits with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

use fuser::ReplyData;
use parking_lot::Mutex;

use super::convert;
use crate::union::{NodeId, Union};

/// One read, and who waits for it.
pub struct Job {
    pub node: NodeId,
    pub offset: u64,
    pub length: u32,
    pub reply: ReplyData,
}

pub struct Readers {
    union: Arc<Union>,
    queue: Sender<Job>,
}

impl Readers {
    pub fn start(union: Arc<Union>, pool: usize) -> io::Result<Self> {
        let (queue, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..pool {
            let (union, jobs) = (Arc::clone(&union), Arc::clone(&jobs));
            thread::Builder::new().name(format!("read-{number}")).spawn(move || work(&union, &jobs))?;
        }
        Ok(Self { union, queue })
    }

    pub fn read(&self, job: Job) {
        if self.union.is_at_hand(job.node, job.offset, job.length) {
            serve(&self.union, job);
        } else if let Err(refused) = self.queue.send(job) {
            // The pool is gone only when the session is.
            refused.0.reply.error(fuser::Errno::EIO);
        }
    }
}

fn work(union: &Union, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().recv();
        match job {
            Ok(job) => serve(union, job),
            Err(_) => return,
        }
    }
}

/// A reply that a panic drops is answered EIO by its own drop.
fn serve(union: &Union, job: Job) {
    let node = job.node.number();
    if catch_unwind(AssertUnwindSafe(|| answer(union, job))).is_err() {
        log::error!("reading inode {node}: the reader panicked, which is a bug in plyfs");
    }
}

fn answer(union: &Union, job: Job) {
    let mut reply = Some(job.reply);
    let read = union.read(job.node, job.offset, job.length, |bytes| {
        if let Some(reply) = reply.take() {
            reply.data(bytes);
        }
    });
    if let (Err(error), Some(reply)) = (read, reply) {
        reply.error(convert::errno(&error));
    }
}
