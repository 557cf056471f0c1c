//! A node that is kept for as long as it is worked with.

use super::{NodeId, Overlay, Result};

/// One lookup, taken back when dropped.
pub(super) struct Held<'a> {
    overlay: &'a Overlay,
    pub id: NodeId,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.overlay.forget(self.id, 1);
    }
}

impl Overlay {
    pub(super) fn hold(&self, parent: NodeId, name: &[u8]) -> Result<Held<'_>> {
        Ok(Held { overlay: self, id: self.find(parent, name)? })
    }
}
