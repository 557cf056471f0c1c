//! How a request ends: with what was found, with the errno of what went wrong, or with EIO when its handler panicked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fuser::{
    Errno, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::convert::errno;
use super::measure::refused;
use crate::union::Result;

/// A reply that can be an error.
pub trait Refuse {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty)*) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                refused(errno);
                self.error(errno);
            }
        })*
    };
}

refuse! {
    ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry ReplyIoctl ReplyLseek ReplyOpen
    ReplyPoll ReplyStatfs ReplyWrite ReplyXattr
}

/// Works, and replies with `told` of what came of it.
pub fn answer<R: Refuse, T>(
    doing: &str,
    reply: R,
    work: impl FnOnce() -> Result<T>,
    told: impl FnOnce(R, T),
) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(found)) => told(reply, found),
        Ok(Err(error)) => reply.refuse(errno(&error)),
        Err(_) => {
            log::error!("{doing}: the handler panicked, which is a bug in plyfs");
            reply.refuse(Errno::EIO);
        }
    }
}

/// For work that replies itself: a reply that a panic drops is answered EIO by its own drop.
pub fn guarded(doing: &str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("{doing}: the handler panicked, which is a bug in plyfs");
    }
}

/// A size of zero asks for the size.
pub fn reply_xattr(reply: ReplyXattr, size: u32, value: &[u8]) {
    match (size, u32::try_from(value.len())) {
        (_, Err(_)) => reply.refuse(Errno::E2BIG),
        (0, Ok(length)) => reply.size(length),
        (room, Ok(length)) if length > room => reply.refuse(Errno::ERANGE),
        _ => reply.data(value),
    }
}
