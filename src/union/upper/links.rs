//! Copying up a lower object that has several names: they stay names of one object.

use rustix::fs::AtFlags;

use super::copy_up::Names;
use super::stage::Naming;
use super::{Dir, Object, Original, Policy, Result, Upper};
use crate::lower::Stat;

/// A name that a lower hardlink has.
#[derive(Clone, Copy)]
pub struct Alias<'a> {
    pub parent: &'a Dir,
    pub name: &'a [u8],
}

impl Upper {
    /// Makes a lower object that has several names, under all of them; the parents are in the upper already. Only
    /// afterwards the object may change: if this is cut short, the lower names have the same content still, and the
    /// next mount makes the missing ones.
    pub fn copy_up_links(&self, aliases: &[Alias<'_>], original: &Original<'_>) -> Result<Object> {
        let Some(first) = aliases.first() else { return Err(rustix::io::Errno::INVAL.into()) };
        let stage = self.stage_original(original, Names::Several, Naming::Named)?;
        for alias in aliases {
            self.allow_name(stage.at(), stage.kind, alias.name)?;
        }
        let staged = self.staging.next();
        stage.publish(&self.links, &staged)?;
        if self.policy != Policy::Volatile {
            rustix::fs::fsync(self.links.readable()?)?;
        }
        let linked = self.link_up(aliases, &staged);
        rustix::fs::unlinkat(&self.links, &staged, AtFlags::empty())?;
        linked?;
        self.copied(first.parent, first.name, original)
    }

    fn link_up(&self, aliases: &[Alias<'_>], staged: &[u8]) -> Result<()> {
        let record = self.record_links(aliases, staged)?;
        let linked = self.link_all(aliases, staged);
        record.drop_now()?;
        linked
    }

    /// All of them, or, after a failure, none.
    fn link_all(&self, aliases: &[Alias<'_>], staged: &[u8]) -> Result<()> {
        for (done, alias) in aliases.iter().enumerate() {
            let before = self.expect_copy(alias.parent)?;
            let linked = rustix::fs::linkat(&self.links, staged, alias.parent, alias.name, AtFlags::empty());
            if let Err(errno) = linked {
                self.unlink_all(&aliases[..done]);
                return Err(errno.into());
            }
            self.after_link(alias, &before)?;
        }
        Ok(())
    }

    fn after_link(&self, alias: &Alias<'_>, before: &Stat) -> Result<()> {
        self.after_copy(alias.parent, before);
        self.changed(alias.parent)
    }

    /// The lower objects show again: they are what the links are, to the byte.
    fn unlink_all(&self, aliases: &[Alias<'_>]) {
        for alias in aliases {
            if let Err(errno) = rustix::fs::unlinkat(alias.parent, alias.name, AtFlags::empty()) {
                log::warn!("undoing the link {}: {errno}", String::from_utf8_lossy(alias.name));
            }
        }
    }
}
