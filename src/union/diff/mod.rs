//! The way back: what an upper changes of what lies below it, found by walking the upper alone, so that it costs what
//! changed; and what one tree has that another has not. Nothing is locked, and no daemon is asked: an upper that is
//! written to meanwhile is told by its [`Print`].
//!
//! Law: a layer of these changes, over the same lower side, shows what the upper shows over it, but for sockets, and for
//! names that a layer has no form for.

mod apply;
mod content;
mod export;
mod facts;
mod level;
#[cfg(test)]
mod tests;
mod walk;

pub use apply::{Making, apply};
pub use export::{Place, Unnameable, export};
pub use facts::Facts;

use self::content::Content;
use self::walk::Walk;
use super::Result;
use super::partial::below_fault;
use super::upper::View;
use crate::layer::Time;
use crate::lower::Below;

/// What is compared.
pub enum Sides {
    /// An upper over what is below it; over nothing, all of it is new.
    Upper {
        upper: View,
        below: Option<Below>,
        /// Whether it is known that users could not make it say where content is.
        follows: bool,
        against: Against,
    },
    /// One tree against another, or against nothing.
    Trees { before: Option<Below>, after: Below },
}

/// What an upper is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Below,
    /// Then all that shows is new, be it the upper's or not.
    Nothing,
}

/// Whose an upper's objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    AsStored,
    /// All are this user's, whoever's they were meant to be: what replaces something keeps its owner, and what is new
    /// is root's.
    Lost(u32),
}

/// How it is told that nothing of the lower side shows in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opaque {
    /// Each lower name that does not show is deleted.
    #[default]
    Listed,
    /// The directory is emptied, and all that is in it is added.
    Marker,
}

pub struct Diff {
    pub sides: Sides,
    pub owners: Owners,
    pub opaque: Opaque,
    /// No time is told that is later.
    pub latest: Option<Time>,
}

#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// Below the root; empty for the root itself.
    pub path: &'a [u8],
    pub what: What<'a>,
}

#[derive(Clone, Copy)]
pub enum What<'a> {
    /// A name that the lower side has shows nothing.
    Deleted(&'a Facts),
    /// Nothing of what the lower side has in this directory shows.
    Emptied,
    Added(Changed<'a>),
    /// It differs from what the lower side has there, or something in it does.
    Changed(Changed<'a>),
}

/// An object as it shows.
#[derive(Clone, Copy)]
pub struct Changed<'a> {
    pub facts: &'a Facts,
    content: Content<'a>,
}

impl Changed<'_> {
    /// All of a file, in order: as many bytes as its facts say.
    pub fn read(&self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.content.read(self.facts.size, take)
    }
}

/// All that was seen of an upper. Of two that are equal, nothing was changed between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(blake3::Hash);

impl Diff {
    /// Gives `visit` each change: a directory before what is in it, and there what is deleted first, both in the order of
    /// their names.
    pub fn walk(&self, visit: &mut dyn FnMut(&Change<'_>) -> Result<()>) -> Result<Print> {
        Walk::new(self, visit).run()
    }
}

fn look(below: &Below, name: &[u8]) -> Result<Option<Below>> {
    below.lookup(name).map_err(below_fault)
}
