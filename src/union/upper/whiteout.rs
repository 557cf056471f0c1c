//! Whiteouts: how a name of the upper hides the lower object of that name.

use rustix::fs::FileType;

use super::private::Mark;
use super::{At, Dir, Result, Stat, Upper};
use parking_lot::Mutex;

pub(super) const MARKER: &[u8] = b".wh.";
pub(super) const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// How whiteouts are written here. All forms are read everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Character devices 0/0, as the kernel has them.
    Device,
    /// An empty file `.wh.NAME`, where no device can be made.
    Marker,
}

/// The one whiteout in `work` that others are links of.
#[derive(Default)]
pub(super) struct Shared(#[allow(dead_code)] Mutex<Option<Vec<u8>>>);

/// Whether a file `.wh.NAME` hides the lower `name`.
pub(super) fn marked(upper: &Upper, parent: &Dir, name: &[u8]) -> Result<bool> {
    let marker = [MARKER, name].concat();
    if marker.len() > crate::union::NAME_MAX {
        return Ok(false);
    }
    match parent.find(&marker)? {
        Some(stat) => is_marker(upper, parent, &marker, &stat),
        None => Ok(false),
    }
}

/// Whether the object called `name` is a marker and not a file that a user gave such a name.
pub(super) fn is_marker(upper: &Upper, parent: &Dir, name: &[u8], stat: &Stat) -> Result<bool> {
    let could = name.starts_with(MARKER) && stat.kind == FileType::RegularFile && stat.size == 0;
    Ok(could && !upper.marks(At::Name(parent, name))?.has(Mark::Literal))
}
