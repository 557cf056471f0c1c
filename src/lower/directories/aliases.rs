//! Which names of a layer are hard links of one file: found by a walk of the whole layer, when it is first asked for.

use std::collections::HashMap;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, OFlags, RawDir};
use rustix::io::{Errno, Result};

use super::Directories;
use crate::layer::write::join;

/// Paths below the layer's root, by device and inode.
pub(super) type Aliases = HashMap<(u64, u64), Vec<Vec<u8>>>;

/// Of more names than this the others are not known, and part from their file when it is copied up.
const MOST: usize = 1_000_000;
const LISTING: usize = 32 << 10;

pub(super) fn find(all: &Directories, layer: usize) -> Result<Aliases> {
    let (mut found, mut count, mut waiting) = (Aliases::new(), 0, vec![Vec::new()]);
    while let Some(path) = waiting.pop() {
        let directory = match all.open(layer, &path, OFlags::RDONLY | OFlags::DIRECTORY) {
            // Who may not look into it is not shown what is in it either.
            Err(Errno::ACCESS | Errno::NOENT) => continue,
            directory => directory?,
        };
        let mut buffer = Vec::with_capacity(LISTING);
        let mut entries = RawDir::new(directory.as_fd(), buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            match entry.file_type() {
                _ if matches!(name, b"." | b"..") => {}
                FileType::Directory => waiting.push(join(&path, name)),
                _ => {
                    let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        waiting.push(join(&path, name));
                    } else if stat.st_nlink > 1 && count < MOST {
                        count += 1;
                        found.entry((stat.st_dev, stat.st_ino)).or_default().push(join(&path, name));
                    }
                }
            }
        }
    }
    Ok(found)
}
