//! The read-only side: the layers of an image, merged once into one tree.

mod error;
mod merge;
mod open;
mod settle;
mod stack;

pub use error::{Error, Result};
pub use merge::merge;
pub use open::Lower;

#[cfg(test)]
mod tests;
