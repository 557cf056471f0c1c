//! The read-only side: the layers of an image, merged once into one tree, and their files on demand.

mod directories;
mod error;
mod flatten;
mod image;
mod merge;
mod object;
mod open;
mod settle;
mod stack;
mod stat;
#[cfg(test)]
mod tests;

pub use directories::{Namespace, directories};
pub use error::{Error, Result};
pub use image::image;
pub use merge::merge;
pub use object::{Below, Child, Located, Object, Pairs, Path};
pub use open::Lower;
pub use settle::Tars;
pub use stat::{Number, Stat};
