//! Work on several blobs at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Error, Result, Source};

/// Each pass keeps two threads busy.
pub(super) const WORKERS: usize = 4;

/// How much is done at once with what is read from there: as much as the cores can do, or the network can bring.
pub(super) fn workers(source: &dyn Source) -> usize {
    match source.is_remote() {
        true => WORKERS,
        false => thread::available_parallelism().map_or(1, usize::from).min(WORKERS),
    }
}

/// What `work` gives for each blob, in their order. The first fault ends the work.
pub(super) fn side_by_side<B: Sync, R: Send>(
    blobs: &[B],
    size: impl Fn(&B) -> u64,
    workers: usize,
    work: impl Fn(&B) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let queue = Queue::new(blobs, size);
    let worker = || queue.serve(blobs, &work);
    let served: Vec<Result<_>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.min(blobs.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(Err(Error::Worker))).collect()
    });
    let mut done = Vec::with_capacity(blobs.len());
    for results in served {
        done.extend(results?);
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// The blobs that wait, largest first, so that none of them is begun last.
struct Queue {
    order: Vec<usize>,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Queue {
    fn new<B>(blobs: &[B], size: impl Fn(&B) -> u64) -> Self {
        let mut order: Vec<usize> = (0..blobs.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(size(&blobs[*at])));
        Self { order, next: AtomicUsize::new(0), failed: AtomicBool::new(false) }
    }

    fn take(&self) -> Option<usize> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.order.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn serve<B, R>(&self, blobs: &[B], work: impl Fn(&B) -> Result<R>) -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        while let Some(at) = self.take() {
            let result = work(&blobs[at]).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
            done.push((at, result));
        }
        Ok(done)
    }
}
