//! The extended attributes that overlayfs keeps for itself, `trusted.overlay.*` or `user.overlay.*`, and how a user's
//! own attribute of such a name is kept apart: it is stored with `overlay.` once more, as the kernel does it.
//!
//! Law: `unescape(escape(name)) == Some(name)`, and no escaped name is a private one.

use std::borrow::Cow;

/// Where the private attributes are. Those of the other namespace mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    User,
    Trusted,
}

/// A private attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Opaque,
    Origin,
    Impure,
    Redirect,
    Metacopy,
    Protected,
    Whiteout,
    Upper,
    Number,
    Literal,
    Implicit,
    /// The content is still in the lower file: metacopy for uppers where the kernel would not follow one.
    Unfilled,
}

impl Mark {
    const ALL: [(Mark, &'static str); 12] = [
        (Mark::Opaque, "opaque"),
        (Mark::Origin, "origin"),
        (Mark::Impure, "impure"),
        (Mark::Redirect, "redirect"),
        (Mark::Metacopy, "metacopy"),
        (Mark::Protected, "protattr"),
        (Mark::Whiteout, "whiteout"),
        (Mark::Upper, "upper"),
        (Mark::Number, "plyfs.ino"),
        (Mark::Literal, "plyfs.literal"),
        (Mark::Implicit, "plyfs.implicit"),
        (Mark::Unfilled, "plyfs.unfilled"),
    ];

    fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(mark, _)| *mark == self);
        found.map_or("", |(_, word)| word)
    }
}

const ESCAPE: &[u8] = b"overlay.";

/// fuse-overlayfs's way to make a directory opaque.
pub(super) const FOREIGN_OPAQUE: &[u8] = b"user.fuseoverlayfs.opaque";

impl Namespace {
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::User => b"user.overlay.",
            Self::Trusted => b"trusted.overlay.",
        }
    }

    /// Whether a name is one of fuse-overlayfs's marks, which are read where its users have no others.
    pub(super) fn is_foreign_mark(self, name: &[u8]) -> bool {
        self == Self::User && name.starts_with(b"user.fuseoverlayfs.")
    }

    pub(super) fn name(self, mark: Mark) -> Vec<u8> {
        [self.prefix(), mark.word().as_bytes()].concat()
    }

    /// Which private attribute a stored name is.
    pub(super) fn mark(self, stored: &[u8]) -> Option<Mark> {
        let word = stored.strip_prefix(self.prefix())?;
        Mark::ALL.iter().find(|(_, known)| known.as_bytes() == word).map(|(mark, _)| *mark)
    }

    /// The name under which a user's attribute is stored.
    pub fn escape(self, name: &[u8]) -> Cow<'_, [u8]> {
        match name.strip_prefix(self.prefix()) {
            Some(rest) => Cow::Owned([self.prefix(), ESCAPE, rest].concat()),
            None => Cow::Owned(name.to_vec()),
        }
    }

    /// The name that a user sees of a stored attribute; `None` for a private one.
    pub fn unescape(self, stored: &[u8]) -> Option<Cow<'_, [u8]>> {
        let Some(rest) = stored.strip_prefix(self.prefix()) else { return Some(Cow::Owned(stored.to_vec())) };
        let own = rest.strip_prefix(ESCAPE)?;
        Some(Cow::Owned([self.prefix(), own].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_not_private_and_comes_back_unescaped() {
        for namespace in [Namespace::User, Namespace::Trusted] {
            for name in [
                "user.a",
                "user.overlay.",
                "user.overlay.opaque",
                "trusted.overlay.overlay.x",
                "security.capability",
            ] {
                let stored = namespace.escape(name.as_bytes());
                assert_eq!(namespace.mark(&stored), None);
                assert_eq!(namespace.unescape(&stored).as_deref(), Some(name.as_bytes()));
            }
            for (mark, _) in Mark::ALL {
                assert_eq!(namespace.mark(&namespace.name(mark)), Some(mark));
                assert_eq!(namespace.unescape(&namespace.name(mark)), None);
            }
        }
    }

    #[test]
    fn only_the_chosen_namespace_is_private() {
        assert_eq!(&*Namespace::Trusted.escape(b"user.overlay.opaque"), b"user.overlay.opaque");
        assert_eq!(&*Namespace::User.escape(b"user.overlay.opaque"), b"user.overlay.overlay.opaque");
    }
}
