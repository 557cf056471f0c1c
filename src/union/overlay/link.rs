//! Further names for a file.

use super::copy_up::Wanted;
use super::create::check_new_name;
use super::place::Address;
use super::{Attributes, Errno, Name, NodeId, Overlay, Result};
use crate::layer::Kind;

impl Overlay {
    /// Counts one lookup.
    pub fn link(&self, node: NodeId, to: Name<'_>) -> Result<Attributes> {
        check_new_name(to.name)?;
        if self.nodes.read().get(node)?.kind == Kind::Directory {
            return Err(Errno::PERM.into());
        }
        self.copy_up(to.parent, Wanted::All)?;
        self.copy_up(node, Wanted::Attributes)?;
        {
            let mut nodes = self.nodes.write();
            let over = self.check_free(&nodes, to)?;
            let Address::Named(from, name) = self.address(&nodes, node)? else {
                return Err(Errno::NOENT.into());
            };
            let parent = self.directory(&nodes, to.parent)?;
            self.upper()?.link((&from, &name), (&parent, to.name), over)?;
            nodes.name(node, to.parent, to.name)?;
            nodes.changed(to.parent);
            nodes.get_mut(node)?.lookups += 1;
        }
        self.attributes(node)
    }
}
