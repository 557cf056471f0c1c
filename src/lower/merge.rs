//! The merge: layers, bottom first, become one tree.

use super::error::{Error, Result};
use super::flatten::flatten;
use super::settle::{Tars, settle};
use super::stack::Stack;
use crate::layer::Seek;
use crate::layer::index::{Identity, Index};
use crate::oci::Digest;

/// The index of the tree that `layers` make, to be kept under `key`. It names each inode's layer by its number. The tar
/// of a layer is read only where its index does not say enough.
pub fn merge(layers: &[&Index], tars: Tars<'_>, key: Digest) -> Result<Vec<u8>> {
    let mut stack = Stack::default();
    for (number, index) in layers.iter().enumerate() {
        let number = u16::try_from(number).map_err(|_| Error::TooManyLayers { layers: layers.len() })?;
        let storey = settle(index, number, &stack, tars)?;
        stack.push(storey);
    }
    Ok(flatten(&stack)?.into_index(&Identity::of_merged(key), &Seek::default()))
}
