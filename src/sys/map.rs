//! Files as memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

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
