//! Images in files: what `docker save` writes, in each of its forms; OCI layouts; and bare tars, which are images of
//! one layer. A directory or a file, plain or compressed. Everything is read where it is, and nothing outside of the
//! archive ever is.

mod choose;
mod docker;
mod error;
mod files;
mod identify;
mod layout;
mod location;
mod members;
mod memo;
mod open;
mod saved;
mod source;
mod unpack;
mod v1;
mod whole;
mod writer;

pub use error::{Error, Result};
pub use location::{Form, InvalidLocation, Location};
pub use whole::Whole;
pub use writer::{Saving, Writer};

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::image::{self, Image, Selection};
use crate::oci::{Digest, Platform};
use crate::store::Store;

use choose::Choice;
use files::{Files, Found};
use layout::Layout;
use memo::Memo;
use saved::Saved;

/// An open archive. What it holds is found out as it is asked for.
pub struct Archive {
    store: Store,
    files: Files,
    memo: Memo,
    kind: Kind,
    made: Mutex<HashMap<Digest, Made>>,
}

enum Kind {
    /// Images without an OCI manifest; with docker's since version 25, a layout beside them.
    Saved {
        images: Vec<Saved>,
        layout: Option<Layout>,
    },
    Layout(Layout),
}

/// What has no file of its own, by its digest.
enum Made {
    Document(Vec<u8>),
    Layer(Found),
}

/// An image that an archive lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What [`Archive::image`] finds it by: `@N`.
    pub reference: String,
    /// Its names or tag, as they stand in the archive.
    pub names: Vec<String>,
}

impl Archive {
    /// The images that the archive lists at its top.
    pub fn images(&self) -> Vec<Candidate> {
        let names: Vec<Vec<String>> = match &self.kind {
            Kind::Saved { images, .. } => images.iter().map(|image| image.names.clone()).collect(),
            Kind::Layout(layout) => {
                let label = |entry| layout::label(entry).map(str::to_owned).into_iter().collect();
                layout.entries.iter().map(label).collect()
            }
        };
        let candidate = |(at, names)| Candidate { reference: format!("@{at}"), names };
        names.into_iter().enumerate().map(candidate).collect()
    }

    /// The image that `wanted` means: a name or tag as it stands in the archive, or `@N`. If nothing is wanted, the
    /// first for the platform. Beside it, what the user should know about the choice.
    pub fn image(&self, wanted: Option<&str>, platform: Option<&Platform>) -> Result<(Image, Vec<String>)> {
        let choice = match &self.kind {
            Kind::Saved { images, .. } => self.choose_saved(images, wanted, platform)?,
            Kind::Layout(layout) => self.choose_in_layout(layout, wanted)?,
        };
        let Choice { roots, names, mut warnings } = choice;
        let selected = image::select(self, &roots, platform);
        let faulty = |source| Error::Image { path: self.files.path().to_owned(), source: Box::new(source) };
        let Selection { mut image, warning } = selected.map_err(faulty)?;
        image.names = names;
        if matches!(self.kind, Kind::Layout(_)) {
            let (names, several) = self.names_in_layout(&roots, &image, platform);
            image.names = names;
            warnings.extend(several.filter(|_| wanted.is_none()));
        }
        self.files.remember(&self.memo);
        warnings.extend(warning.map(|warning| warning.to_string()));
        Ok((image, warnings))
    }
}

#[cfg(test)]
mod tests;
