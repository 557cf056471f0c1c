//! Extended attributes as users see them: private ones are not there, and names that would be private are escaped.

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{At, Result, Upper, View};
use crate::sys::xattr;

/// What setxattr(2) is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    Any,
    Create,
    Replace,
}

impl View {
    pub fn xattr(&self, at: At<'_>, name: &[u8]) -> Result<Vec<u8>> {
        if self.namespace.is_foreign_mark(name) {
            return Err(Errno::NODATA.into());
        }
        let value = xattr::get(at.place(), &self.namespace.escape(name))?;
        Ok(value.ok_or(Errno::NODATA)?)
    }

    pub fn list_xattr(&self, at: At<'_>) -> Result<Vec<Vec<u8>>> {
        let stored = xattr::list(at.place())?;
        let names = stored.split(|&byte| byte == 0);
        let names = names.filter(|name| !name.is_empty() && !self.namespace.is_foreign_mark(name));
        Ok(names.filter_map(|name| self.namespace.unescape(name)).map(|name| name.into_owned()).collect())
    }
}

impl Upper {
    pub fn set_xattr(&self, at: At<'_>, name: &[u8], value: &[u8], setting: Setting) -> Result<()> {
        self.check_own(name)?;
        let flags = match setting {
            Setting::Any => XattrFlags::empty(),
            Setting::Create => XattrFlags::CREATE,
            Setting::Replace => XattrFlags::REPLACE,
        };
        Ok(xattr::set(at.place(), &self.namespace.escape(name), value, flags)?)
    }

    /// The next mount would take it for fuse-overlayfs's word, which refuses it likewise.
    fn check_own(&self, name: &[u8]) -> Result<()> {
        if self.namespace.is_foreign_mark(name) { Err(Errno::PERM.into()) } else { Ok(()) }
    }

    pub fn remove_xattr(&self, at: At<'_>, name: &[u8]) -> Result<()> {
        self.check_own(name)?;
        Ok(xattr::remove(at.place(), &self.namespace.escape(name))?)
    }
}
