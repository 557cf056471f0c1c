//! Files that the kernel reads and writes without asking: it is given a file to use in the place of ours. How a file is
//! opened stays so until its last handle is closed, since the kernel takes no other then.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use fuser::BackingId;
use parking_lot::Mutex;

use crate::union::NodeId;

/// Over file systems that lie over no other, so that an overlay can still be mounted over this one.
pub const STACK_DEPTH: u32 = 1;

#[derive(Default)]
pub struct Passthrough(Mutex<HashMap<NodeId, Opened>>);

struct Opened {
    handles: usize,
    /// None: it is asked for.
    backing: Option<Arc<BackingId>>,
}

/// How a handle is opened.
pub enum Way {
    PassedThrough(Arc<BackingId>),
    /// Each read and write is asked for, and the kernel keeps pages.
    Asked {
        is_first: bool,
    },
}

impl Passthrough {
    /// Counts one handle more. The first decides, by what `back` gives the kernel.
    pub fn open(&self, node: NodeId, back: impl FnOnce() -> Option<io::Result<BackingId>>) -> Way {
        let mut open = self.0.lock();
        let opened = open.entry(node).or_insert_with(|| Opened { handles: 0, backing: backing(back()) });
        opened.handles += 1;
        match &opened.backing {
            Some(backing) => Way::PassedThrough(backing.clone()),
            None => Way::Asked { is_first: opened.handles == 1 },
        }
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
fn backing(given: Option<io::Result<BackingId>>) -> Option<Arc<BackingId>> {
    match given? {
        Ok(backing) => Some(Arc::new(backing)),
        Err(error) => {
            log::debug!("passing a file to the kernel: {error}");
            None
        }
    }
}
