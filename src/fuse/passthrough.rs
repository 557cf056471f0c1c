//! Files that the kernel reads without asking: those that are cached whole are opened in the place of what is in the
//! image. How a file is opened stays so until its last handle is closed, since the kernel takes no other then.

use std::collections::HashMap;
use std::fs::File;

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use parking_lot::Mutex;

use super::answer::answer;
use crate::union::{NodeId, Union};

#[derive(Default)]
pub struct Passthrough(Mutex<HashMap<NodeId, Opened>>);

struct Opened {
    handles: usize,
    /// None: its reads are asked for.
    backing: Option<BackingId>,
}

impl Passthrough {
    pub fn open(&self, union: &Union, node: NodeId, reply: ReplyOpen) {
        answer(
            "opening a file",
            reply,
            || union.whole_file(node),
            |reply, file| {
                let mut open = self.0.lock();
                let opened = open.entry(node).or_insert_with(|| {
                    let backing = file.and_then(|file| backing(&reply, &file));
                    Opened { handles: 0, backing }
                });
                opened.handles += 1;
                // A handle says nothing: files are known by their inodes.
                match &opened.backing {
                    Some(backing) => {
                        reply.opened_passthrough(FileHandle(0), FopenFlags::FOPEN_NOFLUSH, backing)
                    }
                    None => {
                        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                        reply.opened(FileHandle(0), flags);
                    }
                }
            },
        );
    }

    pub fn release(&self, node: NodeId) {
        let mut open = self.0.lock();
        if let Some(opened) = open.get_mut(&node) {
            opened.handles -= 1;
            if opened.handles == 0 {
                open.remove(&node);
            }
        }
    }
}

/// The kernel takes no file of a file system that lies over others.
fn backing(reply: &ReplyOpen, file: &File) -> Option<BackingId> {
    reply
        .open_backing(file)
        .inspect_err(|error| log::warn!("passing a cached file to the kernel: {error}"))
        .ok()
}
