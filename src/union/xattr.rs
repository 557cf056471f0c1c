//! Extended attributes. An image without any answers ENOSYS, once, and is never asked again.

use super::{Errno, Error, NodeId, Result, Union, faulty};
use crate::layer::Kind;

impl Union {
    pub fn xattr(&self, node: NodeId, name: &[u8]) -> Result<&[u8]> {
        let mut pairs = self.pairs(node)?;
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or(Error::Answer(Errno::NODATA))
    }

    /// The names, each ended by a zero byte.
    pub fn list_xattr(&self, node: NodeId) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        for (name, _) in self.pairs(node)? {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names)
    }

    /// Whether any file has an access control list, which the kernel then has to ask for at every step. An index
    /// that cannot tell is taken for one that has.
    pub fn has_access_lists(&self) -> bool {
        let tree = self.tree();
        let listed = |id| match tree.xattrs(id) {
            Ok(mut pairs) => pairs.any(|(name, _)| name.starts_with(b"system.posix_acl_")),
            Err(_) => true,
        };
        tree.has_xattrs() && (0..tree.len()).any(|id| tree.inode(id).has_xattrs() && listed(id))
    }

    fn pairs(&self, node: NodeId) -> Result<impl Iterator<Item = (&[u8], &[u8])>> {
        if !self.tree().has_xattrs() {
            return Err(Errno::NOSYS.into());
        }
        let id = self.existing(node)?;
        let pairs = self.tree().xattrs(id).map_err(faulty(node))?;
        // The kernel lets only these have `user.` attributes: to list one elsewhere fails every copy of the file.
        let may_have_users = matches!(self.tree().inode(id).kind(), Kind::File | Kind::Directory);
        Ok(pairs.filter(move |(name, _)| may_have_users || !name.starts_with(b"user.")))
    }
}
