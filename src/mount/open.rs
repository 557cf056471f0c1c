//! What a mount is to show, opened: an image, an image under an upper, or directories.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Error, Options, Overlay, Tree, UpperPaths, doing};
use crate::lower::{self, Lower};
use crate::union::overlay::Sealed;
use crate::union::upper::{self, Namespace, Upper};
use crate::union::{self, Union};

/// An image as it is.
pub fn image(lower: Arc<Lower>, options: &Options) -> Tree {
    Tree::Image(Union::new(lower, options.ids.clone()))
}

/// An image that is written to: what changes goes to the upper.
pub fn image_with_upper(lower: Arc<Lower>, paths: &UpperPaths, options: &Options) -> Result<Tree, Error> {
    let overlay = Box::new(over_image(lower, paths, options)?);
    Ok(Tree::Overlay { overlay, read_only: options.read_only == Some(true) })
}

/// Fills in what an upper lacks, so that the kernel can mount it.
pub fn seal(lower: Arc<Lower>, paths: &UpperPaths, options: &Options) -> Result<Sealed, Error> {
    Ok(over_image(lower, paths, options)?.seal()?)
}

fn over_image(lower: Arc<Lower>, paths: &UpperPaths, options: &Options) -> Result<union::Overlay, Error> {
    let upper = self::upper(paths, &[], options)?;
    Ok(union::Overlay::new(lower::image(lower), Some(upper), of_union(options))?)
}

/// Directories over each other, and what changes over them all.
pub fn directories(asked: &Overlay) -> Result<Tree, Error> {
    let options = &asked.options;
    let upper = asked.upper.as_ref().map(|paths| self::upper(paths, &asked.lowers, options)).transpose()?;
    let namespace = match upper.as_ref().map(|upper| upper.namespace()).or(options.namespace) {
        Some(Namespace::User) => lower::Namespace::User,
        Some(Namespace::Trusted) | None => lower::Namespace::Trusted,
    };
    let device = |paths: &UpperPaths| std::fs::metadata(&paths.upper).map(|found| found.dev());
    let device = asked.upper.as_ref().map(device).transpose().map_err(doing("looking at the upper"))?;
    let below = lower::directories(&asked.lowers, namespace, device)?;
    let overlay = union::Overlay::new(below, upper, of_union(options))?;
    Ok(Tree::Overlay { overlay: Box::new(overlay), read_only: !asked.is_writable() })
}

pub(super) fn upper(paths: &UpperPaths, layers: &[PathBuf], options: &Options) -> Result<Upper, Error> {
    let options = upper::Options {
        namespace: options.namespace,
        sync: options.sync,
        kept: options.kept,
        layers: layers.to_vec(),
    };
    Upper::open(&paths.upper, &paths.work, &options)
        .map_err(|source| Error::Upper { path: paths.upper.clone(), source })
}

fn of_union(options: &Options) -> union::overlay::Options {
    let metacopy = options.metacopy.unwrap_or(options.kept);
    let (ids, redirects) = (options.ids.clone(), options.redirects);
    union::overlay::Options { ids, metacopy, redirects, ..Default::default() }
}
