//! Owners: which user and group a file is shown with.

/// How the ids in an image become the ids that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    pub users: Ids,
    pub groups: Ids,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// As the image has them.
    #[default]
    AsStored,
    /// Everything belongs to one.
    All(u32),
}

impl Ids {
    pub fn shown(self, stored: u32) -> u32 {
        match self {
            Self::AsStored => stored,
            Self::All(one) => one,
        }
    }
}
