//! Extended attributes as users see them: private ones are not there, and names that would be private are escaped.

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{At, Result, Upper};
use crate::sys::xattr;

/// What setxattr(2) is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    Any,
    Create,
    Replace,
}

impl Upper {
    pub fn xattr(&self, at: At<'_>, name: &[u8]) -> Result<Vec<u8>> {
        let value = xattr::get(at.place(), &self.namespace.escape(name))?;
        Ok(value.ok_or(Errno::NODATA)?)
    }

    pub fn list_xattr(&self, at: At<'_>) -> Result<Vec<Vec<u8>>> {
        let stored = xattr::list(at.place())?;
        let names = stored.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(names.filter_map(|name| self.namespace.unescape(name)).map(|name| name.into_owned()).collect())
    }

    pub fn set_xattr(&self, at: At<'_>, name: &[u8], value: &[u8], setting: Setting) -> Result<()> {
        let flags = match setting {
            Setting::Any => XattrFlags::empty(),
            Setting::Create => XattrFlags::CREATE,
            Setting::Replace => XattrFlags::REPLACE,
        };
        Ok(xattr::set(at.place(), &self.namespace.escape(name), value, flags)?)
    }

    pub fn remove_xattr(&self, at: At<'_>, name: &[u8]) -> Result<()> {
        Ok(xattr::remove(at.place(), &self.namespace.escape(name))?)
    }
}
