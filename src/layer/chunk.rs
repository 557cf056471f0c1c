//! Verified chunks in memory, up to a budget, and the flights of those on their way: of several readers that want a
//! chunk one decodes it, and the others wait.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::{Condvar, Mutex};

use super::{CHUNK, Error};

/// The bytes of a chunk, verified.
pub type Chunk = Arc<Vec<u8>>;

/// The chunk cache's size unless another is asked for.
pub const BUDGET: usize = 64 << 20;

/// Less would make reads go round in circles.
const LEAST_BUDGET: usize = 4 << 20;

/// The number of an open layer in this process, and of a chunk in it.
type Key = (u64, u64);

/// The verified chunks of all layers that a process reads.
pub struct ChunkCache {
    table: Mutex<Table>,
    budget: usize,
}

struct Table {
    ready: LruCache<Key, Chunk>,
    bytes: usize,
    flying: HashMap<Key, Arc<Flight>>,
}

/// What is known of a chunk that is wanted.
pub(super) enum Found<'a> {
    Ready(Chunk),
    /// Someone else decodes it.
    Flying(Arc<Flight>),
    /// Someone else decodes what comes before it, from the same checkpoint.
    Behind(Arc<Flight>),
    /// Now it is for the caller to decode.
    Claimed(Claim<'a>),
}

/// A chunk that someone decodes.
#[derive(Default)]
pub(super) struct Flight {
    landing: Mutex<Landing>,
    landed: Condvar,
}

#[derive(Clone, Default)]
enum Landing {
    #[default]
    Flying,
    Ready(Chunk),
    Failed(Error),
    /// It was not decoded after all.
    Released,
}

impl Flight {
    /// Waits for the chunk; `None`: nobody decodes it any more.
    pub fn wait(&self) -> Option<Result<Chunk, Error>> {
        let mut landing = self.landing.lock();
        loop {
            match &*landing {
                Landing::Flying => self.landed.wait(&mut landing),
                Landing::Ready(chunk) => return Some(Ok(chunk.clone())),
                Landing::Failed(error) => return Some(Err(error.clone())),
                Landing::Released => return None,
            }
        }
    }

    fn land(&self, landing: Landing) {
        *self.landing.lock() = landing;
        self.landed.notify_all();
    }
}

impl ChunkCache {
    /// A cache that holds `budget` bytes of chunks.
    pub fn new(budget: usize) -> Self {
        let table = Table { ready: LruCache::unbounded(), bytes: 0, flying: HashMap::new() };
        Self { table: Mutex::new(table), budget: budget.max(LEAST_BUDGET) }
    }

    /// The chunk, if it is there.
    pub(super) fn get(&self, layer: u64, chunk: u64) -> Option<Chunk> {
        self.table.lock().ready.get(&(layer, chunk)).cloned()
    }

    pub(super) fn has(&self, layer: u64, chunk: u64) -> bool {
        self.table.lock().ready.contains(&(layer, chunk))
    }

    /// Claims the first chunk of `wanted`, unless it is there or on its way; with it the chunks after it, and those
    /// from `from` on before it, which decoding will pass.
    pub(super) fn claim(&self, layer: u64, from: u64, wanted: Range<u64>) -> Found<'_> {
        let mut table = self.table.lock();
        let first = (layer, wanted.start);
        if let Some(chunk) = table.ready.get(&first) {
            return Found::Ready(chunk.clone());
        }
        if let Some(flight) = table.flying.get(&first) {
            return Found::Flying(flight.clone());
        }
        let behind = (from..wanted.start).rev().find_map(|chunk| table.flying.get(&(layer, chunk)));
        if let Some(flight) = behind {
            return Found::Behind(flight.clone());
        }
        let mut flights = HashMap::new();
        let ahead = wanted.take_while(|chunk| table.is_absent(&(layer, *chunk)));
        let chunks: Vec<u64> = ahead.collect();
        let passed = (from..first.1).filter(|chunk| !table.ready.contains(&(layer, *chunk)));
        for chunk in passed.chain(chunks.iter().copied()).collect::<Vec<u64>>() {
            let flight = Arc::new(Flight::default());
            table.flying.insert((layer, chunk), flight.clone());
            flights.insert(chunk, flight);
        }
        let wanted = first.1..first.1 + chunks.len() as u64;
        Found::Claimed(Claim { cache: self, layer, wanted, flights })
    }
}

impl Table {
    fn is_absent(&self, key: &Key) -> bool {
        !self.ready.contains(key) && !self.flying.contains_key(key)
    }

    fn insert(&mut self, key: Key, chunk: Chunk, budget: usize) {
        self.bytes += chunk.len();
        if let Some((_, replaced)) = self.ready.push(key, chunk) {
            self.bytes -= replaced.len();
        }
        while self.bytes > budget {
            let Some((_, oldest)) = self.ready.pop_lru() else { return };
            self.bytes -= oldest.len();
        }
    }
}

/// Chunks that one reader has taken on. Those that it has not decoded when this is dropped are released.
pub(super) struct Claim<'a> {
    cache: &'a ChunkCache,
    layer: u64,
    wanted: Range<u64>,
    flights: HashMap<u64, Arc<Flight>>,
}

impl Claim<'_> {
    /// What is to be decoded; never empty.
    pub fn wanted(&self) -> Range<u64> {
        self.wanted.clone()
    }

    pub fn has(&self, chunk: u64) -> bool {
        self.flights.contains_key(&chunk)
    }

    /// Gives a chunk to all who wait for it.
    pub fn publish(&mut self, chunk: u64, bytes: Chunk) {
        let key = (self.layer, chunk);
        let mut table = self.cache.table.lock();
        table.insert(key, bytes.clone(), self.cache.budget);
        let flight = self.flights.remove(&chunk);
        table.flying.remove(&key);
        drop(table);
        if let Some(flight) = flight {
            flight.land(Landing::Ready(bytes));
        }
    }

    /// Tells all who wait for a chunk that it cannot be had.
    pub fn fail(&mut self, chunk: u64, error: &Error) {
        self.end(chunk, Landing::Failed(error.clone()));
    }

    fn end(&mut self, chunk: u64, landing: Landing) {
        if let Some(flight) = self.flights.remove(&chunk) {
            self.cache.table.lock().flying.remove(&(self.layer, chunk));
            flight.land(landing);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        for chunk in self.flights.keys().copied().collect::<Vec<u64>>() {
            self.end(chunk, Landing::Released);
        }
    }
}

/// The chunks that a range of the uncompressed layer lies in.
pub(super) fn chunks_of(range: &Range<u64>) -> Range<u64> {
    range.start / CHUNK..range.end.div_ceil(CHUNK)
}
