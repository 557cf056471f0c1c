//! Owners: which user and group a file is shown with, and which are stored.

use std::sync::Arc;

use super::{Errno, Result};
use crate::lower::Stat;

/// How the ids on disk become the ids that are shown, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    pub users: Ids,
    pub groups: Ids,
}

impl IdMap {
    pub fn shown(&self, stat: Stat) -> Stat {
        Stat { user: self.users.shown(stat.user), group: self.groups.shown(stat.group), ..stat }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// As the image has them.
    #[default]
    AsStored,
    /// Everything belongs to one.
    All(u32),
    /// Others are shown as nobody's.
    Mapped(Arc<[IdRange]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub stored: u32,
    pub shown: u32,
    pub length: u32,
}

/// What the kernel shows for an id that has no place in a map.
const OVERFLOW: u32 = 65534;

impl Ids {
    pub fn shown(&self, stored: u32) -> u32 {
        match self {
            Self::AsStored => stored,
            Self::All(one) => *one,
            Self::Mapped(ranges) => {
                let moved = |range: &IdRange| shift(stored, range.stored, range.shown, range.length);
                ranges.iter().find_map(moved).unwrap_or(OVERFLOW)
            }
        }
    }

    /// What is written for a shown id: `None` where everything belongs to one, so that it makes no difference.
    /// Law: what is stored for an id is shown as that id.
    pub fn stored(&self, shown: u32) -> Result<Option<u32>> {
        match self {
            Self::AsStored => Ok(Some(shown)),
            Self::All(_) => Ok(None),
            Self::Mapped(ranges) => {
                let moved = |range: &IdRange| shift(shown, range.shown, range.stored, range.length);
                ranges.iter().find_map(moved).map(Some).ok_or(Errno::INVAL.into())
            }
        }
    }
}

fn shift(id: u32, from: u32, to: u32, length: u32) -> Option<u32> {
    id.checked_sub(from).filter(|offset| *offset < length).and_then(|offset| to.checked_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_for_an_id_is_shown_as_that_id() {
        let ranges = [
            IdRange { stored: 0, shown: 1000, length: 1 },
            IdRange { stored: 1, shown: 100_000, length: 65_536 },
        ];
        let mapped = Ids::Mapped(ranges.into());
        for (shown, stored) in [(1000, 0), (100_000, 1), (165_535, 65_536)] {
            assert_eq!((mapped.stored(shown).unwrap(), mapped.shown(stored)), (Some(stored), shown));
        }
        assert_eq!(mapped.stored(0).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(mapped.shown(65_537), OVERFLOW);
        assert_eq!((Ids::All(7).stored(3).unwrap(), Ids::All(7).shown(3)), (None, 7));
    }
}
