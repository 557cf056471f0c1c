//! Extended attributes.

use super::copy_up::Wanted;
use super::nodes::Place;
use super::upper::Setting;
use super::{Errno, Error, NodeId, Overlay, Result, SetXattr, fault};
use crate::layer::Kind;
use crate::lower::Pairs;

impl Overlay {
    pub fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Vec<u8>> {
        if let Some(pairs) = self.lower_pairs(node)? {
            let found = pairs.into_iter().find(|(known, _)| known == name);
            return found.map(|(_, value)| value).ok_or(Error::Answer(Errno::NODATA));
        }
        let nodes = self.nodes.read();
        Ok(self.upper()?.xattr(self.address(&nodes, node)?.at(), name)?)
    }

    /// The names, each ended by a zero byte.
    pub fn list_xattr(&self, node: NodeId) -> Result<Vec<u8>> {
        let names: Vec<Vec<u8>> = match self.lower_pairs(node)? {
            Some(pairs) => pairs.into_iter().map(|(name, _)| name).collect(),
            None => {
                let nodes = self.nodes.read();
                self.upper()?.list_xattr(self.address(&nodes, node)?.at())?
            }
        };
        Ok(names.into_iter().flat_map(|name| name.into_iter().chain([0])).collect())
    }

    pub fn set_xattr(&self, node: NodeId, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let setting = match how {
            SetXattr::Any => Setting::Any,
            SetXattr::Create => Setting::Create,
            SetXattr::Replace => Setting::Replace,
        };
        self.copy_up(node, Wanted::Attributes)?;
        let nodes = self.nodes.read();
        Ok(self.upper()?.set_xattr(self.address(&nodes, node)?.at(), name, value, setting)?)
    }

    pub fn remove_xattr(&self, node: NodeId, name: &[u8]) -> Result<()> {
        self.upper()?;
        // Nothing is copied up for an attribute that is not there.
        self.xattr(node, name)?;
        self.copy_up(node, Wanted::Attributes)?;
        let nodes = self.nodes.read();
        Ok(self.upper()?.remove_xattr(self.address(&nodes, node)?.at(), name)?)
    }

    /// The attributes of what is only in the lower side.
    fn lower_pairs(&self, node: NodeId) -> Result<Option<Pairs>> {
        let (below, kind) = {
            let nodes = self.nodes.read();
            let node = nodes.get(node)?;
            match &node.place {
                Place::Lower(below) => (below.clone(), node.kind),
                _ => return Ok(None),
            }
        };
        let mut pairs = below.xattrs().map_err(fault("reading attributes"))?;
        // The kernel lets only these have `user.` attributes: to list one elsewhere fails every copy of the file.
        if !matches!(kind, Kind::File | Kind::Directory) {
            pairs.retain(|(name, _)| !name.starts_with(b"user."));
        }
        Ok(Some(pairs))
    }
}
