//! Which image is meant, where there are several: one for each platform, signatures and attestations beside them,
//! and indexes in indexes.

use std::collections::HashSet;
use std::fmt;

use super::{Error, Image, Result, Source, read};
use crate::oci::{Descriptor, Digest, Document, Index, Platform, Raw, Strictness, media};

/// How deep indexes may be nested; real ones are at most two deep.
pub(super) const DEPTH_LIMIT: usize = 8;
/// How many indexes are read in search of one image.
pub(super) const INDEX_LIMIT: usize = 1000;

/// The image that was chosen.
#[derive(Clone, Debug)]
pub struct Selection {
    pub image: Image,
    pub warning: Option<Warning>,
}

/// What the user should know about the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Nothing was there for this machine.
    OtherPlatform { host: Platform, chosen: Platform },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::OtherPlatform { host, chosen } = self;
        write!(f, "the image's platform ({chosen}) does not match the host's ({host})")
    }
}

/// Chooses among what `root` names. With `platform`, the image is for it or there is none; without, it is the best
/// for the host, or else the first there is, with a warning.
pub fn select(source: &dyn Source, root: &[Descriptor], platform: Option<&Platform>) -> Result<Selection> {
    let mut walk = Walk::new(source);
    walk.visit(root, 0)?;
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let strictness = match platform {
        Some(_) => Strictness::SameArchitecture,
        None => Strictness::Compatible,
    };
    let Ranked { matching, others } = rank(std::mem::take(&mut walk.candidates), wanted, strictness);

    if let Some((image, _)) = walk.first_there(&matching)? {
        return Ok(Selection { image, warning: None });
    }
    // What could not be read may be what was meant: its fault is told before another platform is taken for it.
    if let Some(fault) = walk.fault {
        return Err(fault);
    }
    if platform.is_some() && !others.is_empty() {
        let available = others.into_iter().filter_map(|other| other.platform).collect();
        return Err(Error::NoPlatform { wanted: Box::new(wanted.clone()), available });
    }
    match walk.first_there(&others)? {
        Some((image, platform)) => {
            let chosen = platform.unwrap_or_default();
            Ok(Selection { image, warning: Some(Warning::OtherPlatform { host, chosen }) })
        }
        None => Err(walk.passed_over.unwrap_or(Error::NoImage)),
    }
}

/// A manifest that may be chosen, and the platform it is said to be for.
struct Candidate {
    descriptor: Descriptor,
    platform: Option<Platform>,
}

/// Candidates that suit, best first, and those that do not, in their order.
struct Ranked {
    matching: Vec<Candidate>,
    others: Vec<Candidate>,
}

/// An image that does not say what it is for suits any machine, but last.
fn rank(candidates: Vec<Candidate>, wanted: &Platform, strictness: Strictness) -> Ranked {
    let rank_of = |candidate: &Candidate| match &candidate.platform {
        Some(offered) => wanted.rank(offered, strictness),
        None => Some(usize::MAX),
    };
    let (mut matching, others): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| rank_of(candidate).is_some());
    matching.sort_by_key(rank_of);
    Ranked { matching, others }
}

/// The descent through the indexes.
struct Walk<'a> {
    source: &'a dyn Source,
    /// Those read: an index that is named twice adds nothing.
    indexes: HashSet<Digest>,
    candidates: Vec<Candidate>,
    /// The first thing that is absent or no image. `docker save` lists images that it did not put in.
    passed_over: Option<Error>,
    /// The first thing that is corrupt.
    fault: Option<Error>,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn Source) -> Self {
        Self { source, indexes: HashSet::new(), candidates: Vec::new(), passed_over: None, fault: None }
    }

    fn visit(&mut self, descriptors: &[Descriptor], depth: usize) -> Result<()> {
        for descriptor in descriptors.iter().filter(|descriptor| !descriptor.is_attestation()) {
            if media::is_manifest(&descriptor.media_type) && descriptor.platform.is_some() {
                self.offer(descriptor, descriptor.platform.clone());
                continue;
            }
            match self.open(descriptor) {
                Ok(Opened::Index(index)) => self.descend(descriptor.digest, &index, depth)?,
                Ok(Opened::Image(platform)) => self.offer(descriptor, platform),
                Err(error) => self.note(error),
            }
        }
        Ok(())
    }

    fn offer(&mut self, descriptor: &Descriptor, platform: Option<Platform>) {
        self.candidates.push(Candidate { descriptor: descriptor.clone(), platform });
    }

    fn descend(&mut self, digest: Digest, index: &Raw<Index>, depth: usize) -> Result<()> {
        if depth == DEPTH_LIMIT {
            return Err(Error::TooDeep(digest));
        }
        if !self.indexes.insert(digest) {
            return Ok(());
        }
        if self.indexes.len() > INDEX_LIMIT {
            return Err(Error::TooManyIndexes(digest));
        }
        self.visit(&index.value().manifests, depth + 1)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Opened> {
        let bytes = self.source.document(descriptor)?;
        let invalid = |source| Error::Invalid { digest: descriptor.digest, source };
        Ok(match Document::parse(bytes).map_err(invalid)? {
            Document::Index(index) => Opened::Index(index),
            Document::Manifest(_) => Opened::Image(read(self.source, descriptor)?.platform()),
        })
    }

    fn note(&mut self, error: Error) {
        log::debug!("passed over in search of an image: {error}");
        let place = if error.is_absence() { &mut self.passed_over } else { &mut self.fault };
        place.get_or_insert(error);
    }

    /// The first that can be read, and what it is said to be for: the config may say otherwise.
    fn first_there(&mut self, candidates: &[Candidate]) -> Result<Option<(Image, Option<Platform>)>> {
        for candidate in candidates {
            match read(self.source, &candidate.descriptor) {
                Ok(image) => return Ok(Some((image, candidate.platform.clone()))),
                Err(error) if error.is_absence() => self.note(error),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

enum Opened {
    Index(Raw<Index>),
    Image(Option<Platform>),
}
