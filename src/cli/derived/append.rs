//! `plyfs append`: an image with more layers, from tars and directories, without running anything.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::derived::{Making, Named, Packing};
use crate::cli::error::Usage;
use crate::cli::image::import;
use crate::cli::inside;
use crate::cli::open::{Opened, open};
use crate::cli::written::{self, ExportError, Form};
use crate::image::{self, Content};
use crate::layer::Identity;
use crate::lower::Below;
use crate::union::diff::{self, Against, Diff, Sides};
use crate::union::upper::{Namespace, View};

/// Make an image of another and more layers
///
/// Prints the image's id. Each PATH becomes a layer: a tar as it is, of a directory what is in it, read as overlayfs
/// reads an unpacked layer, whiteouts too. What is the same in the image is left out. A plain user's files become root's,
/// or keep the owner of what they replace.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image, unless --base names it; then tars and directories, the lowest first; `-` reads a tar from stdin
    #[arg(value_name = "IMAGE|PATH", required_unless_present_all = ["base", "layers"])]
    words: Vec<OsString>,
    /// The image that the layers go on
    #[arg(short, long, value_name = "IMAGE")]
    base: Option<String>,
    /// One more tar or directory, after the others
    #[arg(short = 'f', long = "new-layer", alias = "new_layer", value_name = "PATH", value_delimiter = ',')]
    layers: Vec<PathBuf>,
    /// Where in the image directories go
    #[arg(long, value_name = "DIR", default_value = "/")]
    prefix: PathBuf,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    packing: Packing,
}

impl Arguments {
    /// The image and the paths.
    fn parts(&self) -> Result<(String, Vec<PathBuf>), Usage> {
        let mut words = self.words.iter();
        let image = match &self.base {
            Some(base) => base.clone(),
            None => {
                let word = words.next().and_then(|word| word.to_str());
                word.ok_or_else(|| Usage("no image is named".to_owned()))?.to_owned()
            }
        };
        let paths: Vec<PathBuf> = words.map(PathBuf::from).chain(self.layers.iter().cloned()).collect();
        match paths.is_empty() {
            true => Err(Usage(format!("nothing is named that goes on {image}"))),
            false => Ok((image, paths)),
        }
    }
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let (image, paths) = arguments.parts()?;
    let base = open(context, &image, None)?;
    let mut making = Making::new(&base, &arguments.named)?;
    for path in &paths {
        let layer = match path.is_dir() {
            true => directory(&base, path, arguments),
            false => import::open(path).and_then(|tar| Ok(Some(image::taken(&base.store, tar)?))),
        };
        let layer = layer.with_context(|| path.display().to_string())?;
        making.step("plyfs append", layer);
    }
    making.finish()
}

fn directory(base: &Opened, path: &Path, arguments: &Arguments) -> anyhow::Result<Option<Identity>> {
    let prefix = prefix(&arguments.prefix)?;
    let below = below(base, &prefix)?;
    let place = match &below {
        // It keeps its own attributes.
        Some(_) => diff::Place::Within(&prefix),
        None => diff::Place::As(&prefix),
    };
    let namespace = written::namespace_of(false)?;
    let follows = namespace == Namespace::Trusted;
    let upper = View::open(path, namespace)?;
    let sides = Sides::Upper { upper, below, follows, against: Against::Below };
    let diff = Diff {
        sides,
        owners: written::owners(),
        opaque: arguments.form.opaque(),
        latest: written::latest()?,
    };
    let written = image::written(&base.store, arguments.packing.like(base)?, |writer| {
        let (entries, _) = diff::export(&diff, writer, arguments.form.unnameable(), place)?;
        Ok::<_, ExportError>(Content::of(entries))
    });
    Ok(written?)
}

/// The directory's path below the root.
fn prefix(path: &Path) -> Result<Vec<u8>, Usage> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.as_bytes()),
            _ => return Err(Usage(format!("{} is no place in an image", path.display()))),
        }
    }
    Ok(names.join(&b'/'))
}

/// What the image has there.
fn below(base: &Opened, prefix: &[u8]) -> anyhow::Result<Option<Below>> {
    let mut at = inside::below(base)?;
    for name in prefix.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        match at.lookup(name)? {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}
