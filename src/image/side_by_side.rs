//! Work on several layers at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Error, LayerOf, Result};

/// Each pass keeps two threads busy.
const WORKERS: usize = 4;

/// What `work` gives for each layer, in their order. The first fault ends the work.
pub(super) fn side_by_side<R: Send>(
    layers: &[LayerOf],
    work: impl Fn(&LayerOf) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let queue = Queue::new(layers);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let worker = || queue.serve(layers, &work);
    let served: Vec<Result<_>> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..cores.min(WORKERS).min(layers.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(Err(Error::Worker))).collect()
    });
    let mut done = Vec::with_capacity(layers.len());
    for results in served {
        done.extend(results?);
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// The layers that wait, largest first, so that none of them is begun last.
struct Queue {
    order: Vec<usize>,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Queue {
    fn new(layers: &[LayerOf]) -> Self {
        let mut order: Vec<usize> = (0..layers.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(layers[*at].descriptor.size));
        Self { order, next: AtomicUsize::new(0), failed: AtomicBool::new(false) }
    }

    fn take(&self) -> Option<usize> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.order.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn serve<R>(&self, layers: &[LayerOf], work: impl Fn(&LayerOf) -> Result<R>) -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        while let Some(at) = self.take() {
            let result = work(&layers[at]).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
            done.push((at, result));
        }
        Ok(done)
    }
}
