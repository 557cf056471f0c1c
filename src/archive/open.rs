//! Opening an archive: what its path holds is told by what is there, and must agree with what the user says it is.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::{Error, Result};
use super::files::Files;
use super::layout::Layout;
use super::location::{Form, Location};
use super::members::{self, Listing};
use super::memo::{Content, Identity, Memo};
use super::saved::{Parts, Saved};
use super::unpack::Packed;
use super::{Archive, Kind, docker, v1};
use crate::layer::{Blob, Codec};
use crate::store::Store;

impl Archive {
    /// Opens what is at `location`. What must be made of it (unpacked bytes, indexes) goes to `store`.
    pub fn open(store: &Store, location: &Location) -> Result<Archive> {
        let memo = Memo::new(store);
        let path = location.path.as_path();
        let fault = |source| Error::Open { path: path.to_owned(), source };
        let file = open(path).map_err(fault)?;
        let metadata = file.metadata().map_err(fault)?;
        let files = if metadata.is_dir() {
            Files::directory(path)?
        } else if !metadata.is_file() {
            return Err(Error::NotAnImage(path.to_owned()));
        } else if metadata.len() == 0 {
            return Err(Error::Empty(path.to_owned()));
        } else {
            let identity = Identity::of(&file).map_err(fault)?;
            let blob = Blob::new(Arc::new(file), 0, metadata.len());
            look_into(store, &memo, Outer { path, blob, identity })?
        };
        let kind = kind(&files, location.form)?;
        files.remember(&memo);
        Ok(Archive { store: store.clone(), files, memo, kind, made: Mutex::default() })
    }
}

/// Not blocking: a FIFO is refused, not waited for.
fn open(path: &Path) -> std::io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).custom_flags(nonblock).open(path)
}

/// A file that is an archive.
struct Outer<'a> {
    path: &'a Path,
    blob: Blob,
    identity: Identity,
}

/// What is in the file, remembered or found out.
fn look_into(store: &Store, memo: &Memo, outer: Outer<'_>) -> Result<Files> {
    let codec = codec(&outer)?;
    let packed = || Packed::new(store, outer.path.to_owned(), outer.blob.clone(), codec);
    match memo.content(outer.identity) {
        Some(Content::Layer) => return Ok(layer(&outer)),
        Some(Content::Packed { members, documents }) if codec != Codec::Plain => {
            return Ok(Files::packed(outer.path, packed(), outer.identity, members, documents));
        }
        _ => {}
    }
    let packed = (codec != Codec::Plain).then(packed);
    match (list(&outer, packed.as_ref())?, packed) {
        (Listing::NotTar, _) => Err(Error::NotAnImage(outer.path.to_owned())),
        (Listing::Layer, _) => {
            memo.learn_content(outer.identity, Content::Layer);
            Ok(layer(&outer))
        }
        (Listing::Images(members), None) => Ok(Files::tar(outer.path, outer.blob, outer.identity, members)),
        (Listing::Images(members), Some(packed)) => {
            Ok(Files::packed(outer.path, packed, outer.identity, members, Default::default()))
        }
    }
}

fn codec(outer: &Outer<'_>) -> Result<Codec> {
    let mut start = [0; Codec::MAGIC];
    let read = outer.blob.read_at(&mut start, 0);
    let count = read.map_err(|source| Error::Read { path: outer.path.to_owned(), source })?;
    Ok(Codec::detect(&start[..count]))
}

fn list(outer: &Outer<'_>, packed: Option<&Packed>) -> Result<Listing> {
    let broken = |fault| Error::BrokenTar { path: outer.path.to_owned(), fault };
    match packed {
        Some(packed) => packed.list(),
        None => members::list(&outer.blob).map_err(broken),
    }
}

fn layer(outer: &Outer<'_>) -> Files {
    Files::of_layer(outer.path, outer.blob.clone(), outer.identity)
}

/// Which kind of archive the files are, where the user leaves that open: docker's `manifest.json` before the layout
/// that docker writes beside it since version 25, for that may list what is not there.
fn kind(files: &Files, form: Form) -> Result<Kind> {
    let found = match form {
        Form::Any if files.layer().is_some() => Some(bare_layer()),
        Form::Any => match docker_unless_dir(files)? {
            Some(kind) => Some(kind),
            None => match layout(files)? {
                Some(kind) => Some(kind),
                None => old_docker(files)?,
            },
        },
        _ if files.layer().is_some() => None,
        Form::Docker => match docker(files)? {
            Some(kind) => Some(kind),
            None => old_docker(files)?,
        },
        Form::Oci => layout(files)?,
        Form::Dir => dir(files)?,
    };
    found.ok_or_else(|| not_of(files, form))
}

fn not_of(files: &Files, form: Form) -> Error {
    let path = files.path().to_owned();
    let (wanted, lacks) = match form {
        Form::Any => return Error::NotAnImage(path),
        Form::Docker => ("a docker archive", "it has neither manifest.json nor repositories"),
        Form::Oci => ("an OCI layout", "it has no index.json"),
        Form::Dir => ("a dir: image", "it has no manifest.json"),
    };
    Error::OtherForm { path, wanted, lacks }
}

fn bare_layer() -> Kind {
    Kind::Saved { images: vec![Saved { names: Vec::new(), parts: Parts::Layer }], layout: None }
}

/// In a directory, `manifest.json` may also be that of `dir:`, which is no list.
fn docker_unless_dir(files: &Files) -> Result<Option<Kind>> {
    let text = files.listing("manifest.json")?.unwrap_or_default();
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => dir(files),
        _ => docker(files),
    }
}

fn docker(files: &Files) -> Result<Option<Kind>> {
    let Some(images) = docker::images(files)? else { return Ok(None) };
    if images.is_empty() {
        return Err(Error::NoImage(files.path().to_owned()));
    }
    // What is wrong with the layout beside it is no fault: docker's own writes `"manifests": null`.
    let layout = Layout::read(files).unwrap_or_default();
    Ok(Some(Kind::Saved { images, layout }))
}

fn old_docker(files: &Files) -> Result<Option<Kind>> {
    let images = v1::images(files)?.into_iter();
    let images: Vec<_> = images.map(|(id, names)| Saved { names, parts: Parts::Tip(id) }).collect();
    Ok((!images.is_empty()).then_some(Kind::Saved { images, layout: None }))
}

fn layout(files: &Files) -> Result<Option<Kind>> {
    checked(files, Layout::read(files)?)
}

fn dir(files: &Files) -> Result<Option<Kind>> {
    checked(files, Layout::read_dir(files)?)
}

fn checked(files: &Files, layout: Option<Layout>) -> Result<Option<Kind>> {
    match layout {
        Some(layout) if layout.entries.is_empty() => Err(match layout.passed_over.into_iter().next() {
            Some(why) => Error::NoUsable { path: files.path().to_owned(), why },
            None => Error::NoImage(files.path().to_owned()),
        }),
        layout => Ok(layout.map(Kind::Layout)),
    }
}
