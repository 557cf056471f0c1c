//! Handles of files that can be written: the kernel is given the upper's own file where all of a file is there, and is
//! asked for everything else.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackingId, FileAttr, FileHandle, FopenFlags, ReplyCreate, ReplyOpen};

use super::passthrough::{Passthrough, Way};
use super::writable::{GENERATION, Settings};
use crate::union::overlay::{Handle, Passing};
use crate::union::{NodeId, Overlay};

#[derive(Clone)]
pub struct Opener {
    passthrough: Option<Arc<Passthrough>>,
    /// A writer's close is told only where the kernel still has data of it.
    close: FopenFlags,
}

/// What is told of a file that was made.
pub struct Entry {
    pub timeout: Duration,
    pub attributes: FileAttr,
}

impl Opener {
    pub fn new(settings: &Settings) -> Self {
        let passthrough = settings.passthrough.then(Arc::default);
        let close = if settings.writeback { FopenFlags::empty() } else { FopenFlags::FOPEN_NOFLUSH };
        Self { passthrough, close }
    }

    /// For a kernel that passes no file through.
    pub fn ask_always(&mut self) {
        self.passthrough = None;
    }

    pub fn opened(&self, overlay: &Overlay, handle: Handle, reply: ReplyOpen) {
        let (way, flags) = self.way(overlay, handle, |file| reply.open_backing(file));
        let handle = FileHandle(handle.number());
        match way {
            Some(backing) => reply.opened_passthrough(handle, flags, &backing),
            None => reply.opened(handle, flags),
        }
    }

    pub fn created(&self, overlay: &Overlay, handle: Handle, entry: Entry, reply: ReplyCreate) {
        let (way, flags) = self.way(overlay, handle, |file| reply.open_backing(file));
        let (Entry { timeout, attributes }, handle) = (entry, FileHandle(handle.number()));
        match way {
            Some(backing) => {
                reply.created_passthrough(&timeout, &attributes, GENERATION, handle, flags, &backing);
            }
            None => reply.created(&timeout, &attributes, GENERATION, handle, flags),
        }
    }

    pub fn release(&self, handle: Handle) {
        if let Some(passthrough) = &self.passthrough {
            passthrough.release(NodeId::new(handle.number()));
        }
    }

    /// What the kernel has kept of a file's pages is not what the file has, if it was passed through before.
    fn way(
        &self,
        overlay: &Overlay,
        handle: Handle,
        back: impl FnOnce(&File) -> std::io::Result<BackingId>,
    ) -> (Option<Arc<BackingId>>, FopenFlags) {
        let kept = self.close | FopenFlags::FOPEN_KEEP_CACHE;
        let Some(passthrough) = &self.passthrough else { return (None, kept) };
        let node = NodeId::new(handle.number());
        let passing = overlay.passing(node);
        let file = match &passing {
            Passing::File(file) => Some(file),
            Passing::NotNow | Passing::NotYet => None,
        };
        match passthrough.open(node, || file.map(|file| back(file))) {
            Way::PassedThrough(backing) => (Some(backing), self.close),
            Way::Asked { is_first: true } if !matches!(passing, Passing::NotYet) => (None, self.close),
            Way::Asked { .. } => (None, kept),
        }
    }
}
