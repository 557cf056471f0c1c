//! What a layer of an archive is: its digest, its codec and its diff id. What the archive does not say is found by
//! one index pass, whose index is kept, so the work is not done again when the layer is mounted.

use std::io::{self, Write};

use super::error::{Error, Result};
use super::files::{Files, Found};
use super::layout::digest_in;
use super::memo::{Known, Memo, Passed};
use crate::layer::pass::{Pass, SidecarPolicy, pass};
use crate::layer::{Codec, Identity};
use crate::oci::{Descriptor, DiffId, Digest, media};
use crate::store::{Derived, Store};

pub struct Identifier<'a> {
    pub store: &'a Store,
    pub files: &'a Files,
    pub memo: &'a Memo,
}

impl Identifier<'_> {
    /// The descriptor of a layer whose diff id the image's config gives. That it is right shows when it is indexed.
    pub fn describe(&self, found: &Found, diff_id: DiffId) -> Result<Descriptor> {
        let known = match self.memo.layer(found.file, found.range) {
            Some(known) => known,
            None => self.find_out(found, diff_id)?,
        };
        let size = found.range.size;
        Ok(match known {
            Known::Plain => Descriptor::new(media::OCI_LAYER, diff_id.0, size),
            Known::Passed(passed) => Descriptor::new(passed.media_type, passed.digest, size),
        })
    }

    fn find_out(&self, found: &Found, diff_id: DiffId) -> Result<Known> {
        let codec = self.codec(found)?;
        let (known, cheap) = match (codec, digest_in(&found.name)) {
            (Codec::Plain, _) => (Known::Plain, true),
            (_, Some(digest)) => {
                let media_type = media_type(codec).to_owned();
                (Known::Passed(Passed { media_type, digest, diff_id }), true)
            }
            (_, None) => (Known::Passed(self.pass(found, codec)?), false),
        };
        // Where a layer's first bytes can be read at once, they are read again, and nothing need be remembered.
        if !cheap || self.files.place(found).is_none() {
            self.memo.learn_layer(found.file, found.range, known.clone());
        }
        Ok(known)
    }

    /// The descriptor and diff id of a layer of which nothing is known.
    pub fn identify(&self, found: &Found) -> Result<(Descriptor, DiffId)> {
        let passed = match self.memo.layer(found.file, found.range) {
            Some(Known::Passed(passed)) => passed,
            _ => {
                let passed = self.pass(found, self.codec(found)?)?;
                self.memo.learn_layer(found.file, found.range, Known::Passed(passed.clone()));
                passed
            }
        };
        let Passed { media_type, digest, diff_id } = passed;
        Ok((Descriptor::new(media_type, digest, found.range.size), diff_id))
    }

    /// Reads the layer through, and keeps its index and its sidecar.
    fn pass(&self, found: &Found, codec: Codec) -> Result<Passed> {
        let sidecar = match self.files.place(found) {
            Some(_) => SidecarPolicy::WhenNeeded,
            None => SidecarPolicy::Always,
        };
        let spool = &mut || self.store.begin_derived().map_err(io::Error::other);
        let passed = pass(self.files.blob(found)?.reader(), Pass { sidecar, spool }).map_err(|source| {
            Error::Index {
                path: self.files.path().to_owned(),
                name: found.name.clone(),
                source: Box::new(source),
            }
        })?;
        let Identity { digest, diff_id, .. } = passed.identity;
        if let Some(sidecar) = passed.sidecar {
            self.store.publish_derived(Derived::Sidecar, &digest, sidecar)?;
        }
        self.keep_index(&digest, &passed.index)?;
        Ok(Passed { media_type: media_type(codec).to_owned(), digest, diff_id })
    }

    /// After the sidecar: where there is an index, all that was made with it is there.
    fn keep_index(&self, digest: &Digest, index: &[u8]) -> Result<()> {
        let mut file = self.store.begin_derived()?;
        file.write_all(index).map_err(|source| Error::Keep { digest: *digest, source })?;
        Ok(self.store.publish_derived(Derived::Index, digest, file)?)
    }

    fn codec(&self, found: &Found) -> Result<Codec> {
        let mut start = [0; Codec::MAGIC];
        let count = self.files.blob(found)?.read_at(&mut start, 0).map_err(|source| Error::Member {
            path: self.files.path().to_owned(),
            name: found.name.clone(),
            source,
        })?;
        Ok(Codec::detect(&start[..count]))
    }
}

fn media_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Plain => media::OCI_LAYER,
        Codec::Gzip => media::OCI_LAYER_GZIP,
        Codec::Zstd => media::OCI_LAYER_ZSTD,
        // The spec has no word for these; containerd and podman tell them by their bytes.
        Codec::Xz => "application/vnd.oci.image.layer.v1.tar+xz",
        Codec::Bzip2 => "application/vnd.oci.image.layer.v1.tar+bzip2",
    }
}
