//! A subtree as a tar stream: PAX where a plain header can't say it, hard links by their first name.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use crate::cli::inside::Inside;
use crate::cli::inside::walk::join;
use crate::layer::{Id, Index, Kind};

/// Writes the subtree at `id` by `name`, or what is in it.
pub fn write(inside: &Inside, id: Id, name: Option<&[u8]>, out: &mut impl Write) -> anyhow::Result<()> {
    let todo = match name {
        Some(name) => vec![(name.to_vec(), id)],
        None => children(inside.tree(), id, b""),
    };
    Writer::new(inside, out).walk(todo)
}

/// Writes all there is, with the attributes of the root.
///
/// Law: the tar, imported, shows the same tree.
pub fn write_all(inside: &Inside, out: &mut impl Write) -> anyhow::Result<()> {
    let mut writer = Writer::new(inside, out);
    writer.entry(b".", ROOT)?;
    writer.walk(children(inside.tree(), ROOT, b""))
}

const ROOT: Id = 0;

/// What is in a directory, last first: the order of a stack.
fn children(tree: &Index, directory: Id, path: &[u8]) -> Vec<(Vec<u8>, Id)> {
    let visible = tree.children(directory).iter().filter(|entry| entry.kind != Kind::Whiteout);
    let mut children: Vec<_> = visible.map(|entry| (join(path, entry.name), entry.id)).collect();
    children.reverse();
    children
}

struct Writer<'a, W: Write> {
    inside: &'a Inside,
    archive: tar::Builder<W>,
    /// Where the first name of each file with several went.
    named: HashMap<Id, Vec<u8>>,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(inside: &'a Inside, out: W) -> Self {
        Self { inside, archive: tar::Builder::new(out), named: HashMap::new() }
    }

    /// Entry after entry, the last first, and what is in each.
    fn walk(mut self, mut todo: Vec<(Vec<u8>, Id)>) -> anyhow::Result<()> {
        while let Some((path, id)) = todo.pop() {
            self.entry(&path, id)?;
            todo.extend(children(self.inside.tree(), id, &path));
        }
        Ok(self.archive.finish()?)
    }

    fn entry(&mut self, path: &[u8], id: Id) -> anyhow::Result<()> {
        let tree = self.inside.tree();
        let inode = tree.inode(id);
        let mut header = header(tree, id)?;
        if inode.kind() != Kind::Directory && inode.nlink() > 1 {
            if let Some(first) = self.named.get(&id) {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                self.archive.append_link(&mut header, as_path(path), as_path(first))?;
                return Ok(());
            }
            self.named.insert(id, path.to_vec());
        }
        self.extensions(id)?;
        match inode.kind() {
            Kind::Symlink => {
                self.archive.append_link(&mut header, as_path(path), as_path(tree.target(id)?))?
            }
            Kind::File => {
                let content = Content { inside: self.inside, id, offset: 0, left: inode.size() };
                self.archive.append_data(&mut header, as_path(path), content)?;
            }
            Kind::Directory => {
                let path = join(path, b"/");
                self.archive.append_data(&mut header, as_path(&path), io::empty())?;
            }
            _ => self.archive.append_data(&mut header, as_path(path), io::empty())?,
        }
        Ok(())
    }

    fn extensions(&mut self, id: Id) -> anyhow::Result<()> {
        let tree = self.inside.tree();
        let mtime = tree.inode(id).mtime();
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        if mtime.nanoseconds != 0 || mtime.seconds < 0 {
            pairs.push(("mtime".to_owned(), fraction(mtime.seconds, mtime.nanoseconds).into_bytes()));
        }
        for (name, value) in tree.xattrs(id)? {
            match std::str::from_utf8(name) {
                Ok(name) => pairs.push((format!("SCHILY.xattr.{name}"), value.to_vec())),
                Err(_) => log::warn!("an extended attribute whose name is no text is left out"),
            }
        }
        if !pairs.is_empty() {
            let pairs = pairs.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.archive.append_pax_extensions(pairs)?;
        }
        Ok(())
    }
}

fn as_path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// PAX counts from zero outwards; our fraction counts forward.
fn fraction(seconds: i64, nanoseconds: u32) -> String {
    if seconds >= 0 || nanoseconds == 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
}

fn header(tree: &Index, id: Id) -> io::Result<tar::Header> {
    let inode = tree.inode(id);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(match inode.kind() {
        Kind::Directory => tar::EntryType::Directory,
        Kind::Symlink => tar::EntryType::Symlink,
        Kind::CharDevice => tar::EntryType::Char,
        Kind::BlockDevice => tar::EntryType::Block,
        Kind::Fifo => tar::EntryType::Fifo,
        Kind::File | Kind::Whiteout | Kind::LowerLink | Kind::Socket => tar::EntryType::Regular,
    });
    header.set_mode(u32::from(inode.mode()));
    header.set_uid(u64::from(inode.uid()));
    header.set_gid(u64::from(inode.gid()));
    header.set_mtime(u64::try_from(inode.mtime().seconds).unwrap_or(0));
    header.set_size(if inode.kind() == Kind::File { inode.size() } else { 0 });
    let (major, minor) = inode.rdev();
    header.set_device_major(major)?;
    header.set_device_minor(minor)?;
    Ok(header)
}

/// A file of the image, as something to read from.
struct Content<'a> {
    inside: &'a Inside,
    id: Id,
    offset: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64);
        let length = u32::try_from(wanted).unwrap_or(u32::MAX);
        if length == 0 {
            return Ok(0);
        }
        let count = self.inside.read_at(self.id, self.offset, length, |bytes| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        let count = count.map_err(io::Error::other)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_before_the_epoch_counts_outwards() {
        assert_eq!(fraction(5, 500_000_000), "5.500000000");
        assert_eq!(fraction(-1, 500_000_000), "-0.500000000");
        assert_eq!(fraction(-2, 250_000_000), "-1.750000000");
        assert_eq!(fraction(-2, 0), "-2.000000000");
    }
}
