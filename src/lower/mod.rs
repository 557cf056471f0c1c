//! The read-only side: the layers of an image, merged once into one tree.

mod error;
mod merge;
mod settle;
mod stack;

pub use error::{Error, Result};
pub use merge::merge;

#[cfg(test)]
mod tests;
