//! The read-only side: the layers of an image, merged once into one tree, and their files on demand.

mod error;
mod merge;
mod open;
mod settle;
mod stack;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use merge::merge;
pub use open::Lower;
