//! Blobs that come from far: what of one has arrived has a name, and is there after a kill to go on from.
//!
//! Whoever writes to it holds its lock. What is in it is not verified, and not durable: it is read again, with the rest
//! behind it, as if it had just come.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Error, Ingest, PARTIAL, Result, Store};
use crate::oci::Digest;
use crate::sys::file::{self, Existing, Sharing};

/// The name of what has come so far. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Partial(PathBuf);

impl Partial {
    /// The bytes get the name `path`.
    pub fn publish(self, path: &Path, existing: Existing) -> io::Result<()> {
        match existing {
            // Dropped: the blob is there already.
            Existing::Keep if path.symlink_metadata().is_ok() => Ok(()),
            _ => {
                std::fs::rename(&self.0, path)?;
                // Whoever waited for it may have a new one by the old name.
                std::mem::forget(self);
                Ok(())
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("removing {}: {error}", self.0.display());
            }
            _ => {}
        }
    }
}

impl Store {
    /// Begins a blob, or goes on with one that was broken off. Waits while another process receives it, which may then
    /// have brought it whole.
    pub fn resume(&self, digest: &Digest) -> Result<Ingest> {
        self.pin(digest)?;
        let path = self.path(PARTIAL).join(digest.hex());
        let doing = || Error::at("opening", &path);
        loop {
            let mut file = open(&path).map_err(doing())?;
            file::lock(&file, Sharing::Exclusive).map_err(doing())?;
            // The one who had the lock may have published it, or given up and removed it.
            if !is_at(&file, &path).map_err(doing())? {
                continue;
            }
            let written = file.seek(SeekFrom::End(0)).map_err(doing())?;
            return Ok(Ingest { written, ..Ingest::new(self, file, Some(Partial(path))) });
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Ingest {
    /// How many bytes are there.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The file, to read what is there.
    pub fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(Error::at("reading", self.store.root()))
    }

    /// Forgets what is there, and begins again.
    pub fn restart(&mut self) -> Result<()> {
        let error = Error::at("emptying a file in", self.store.root());
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(error)?;
        self.written = 0;
        Ok(())
    }

    /// Leaves what is there, if anything is, to be gone on with later. Without a name it is gone all the same.
    pub fn leave(mut self) {
        if self.written > 0
            && let Some(partial) = self.partial.take()
        {
            std::mem::forget(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    fn partials(store: &Store) -> usize {
        std::fs::read_dir(store.path(PARTIAL)).unwrap().count()
    }

    #[test]
    fn what_was_left_is_gone_on_with_and_published() {
        let (_directory, store) = store();
        let digest = Digest::of(b"a layer");
        let mut ingest = store.resume(&digest).unwrap();
        ingest.append(b"a la").unwrap();
        ingest.leave();
        let mut ingest = store.resume(&digest).unwrap();
        assert_eq!(ingest.written(), 4);
        ingest.append(b"yer").unwrap();
        ingest.publish(&digest, 7).unwrap();
        assert_eq!((store.document(&digest, 7).unwrap(), partials(&store)), (b"a layer".to_vec(), 0));
    }

    #[test]
    fn what_is_dropped_leaves_nothing_and_what_is_restarted_begins_at_its_start() {
        let (_directory, store) = store();
        let digest = Digest::of(b"layer");
        let mut ingest = store.resume(&digest).unwrap();
        ingest.append(b"lie").unwrap();
        ingest.restart().unwrap();
        ingest.append(b"lay").unwrap();
        let mut text = String::new();
        let mut file = ingest.file().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((ingest.written(), text.as_str()), (3, "lay"));
        drop(ingest);
        assert_eq!((partials(&store), store.resume(&digest).unwrap().written()), (0, 0));
    }

    #[test]
    fn who_waited_for_a_blob_does_not_write_to_what_came_of_it() {
        let (_directory, store) = store();
        let digest = Digest::of(b"layer");
        let mut first = store.resume(&digest).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| store.resume(&digest).unwrap().written());
            std::thread::sleep(std::time::Duration::from_millis(50));
            first.append(b"layer").unwrap();
            first.publish(&digest, 5).unwrap();
            assert_eq!(second.join().unwrap(), 0);
        });
        assert_eq!((store.document(&digest, 5).unwrap(), partials(&store)), (b"layer".to_vec(), 0));
    }
}
