//! Files as memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

/// A whole file, mapped for reading. Only for files that nobody cuts: a page that the file has lost kills its reader.
#[derive(Debug)]
pub struct Map(memmap2::Mmap);

impl Map {
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes are plain data and every reader checks them. They are shared with whoever may write the
        // file: the store, whose directories only their owner can write, replaces its files and never edits them.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A whole file, mapped as numbers that are shared with whoever else has it mapped, and with readers of the file.
pub struct Words {
    map: memmap2::MmapRaw,
    count: usize,
}

impl Words {
    /// Only for a file that nobody cuts, and whose blocks are there already.
    pub fn new(file: &File, count: usize) -> io::Result<Self> {
        let map = memmap2::MmapOptions::new().len(count * size_of::<AtomicU64>()).map_raw(file)?;
        Ok(Self { map, count })
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is of pages, so it is aligned; it is as long as was asked for and lives as long as `self`.
        // Any bytes are a number, and all access from here is atomic.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
}
