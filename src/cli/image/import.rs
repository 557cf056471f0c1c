//! `plyfs import`: a tar of a root file system becomes an image of one layer.

use std::fs::File;
use std::io::{self, BufReader, Cursor, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::derived;
use crate::cli::derived::change;
use crate::cli::output;
use crate::cli::platform::Choice;
use crate::cli::progress;
use crate::cli::time;
use crate::image;
use crate::layer::{Codec, decoder};
use crate::oci::{Config, History, Platform, Reference, RunConfig};

/// Make an image of one layer from a tar
///
/// Prints the image's id. The tar may be compressed.
#[derive(clap::Args)]
pub struct Arguments {
    /// The tar; `-` reads stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Its name in the store
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<Reference>,
    /// A Dockerfile instruction for the image's config, such as `CMD ["sh"]`; can be given several times
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// A note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    derived::check_name(arguments.reference.as_ref())?;
    let config = config(arguments)?;
    let step = History {
        created: config.created.clone(),
        comment: Some(
            arguments
                .message
                .clone()
                .unwrap_or_else(|| format!("Imported from {}", arguments.file.display())),
        ),
        ..History::default()
    };
    let stream = open(&arguments.file)?;
    let store = context.store()?;
    let image = image::import(&store, stream, config, step, arguments.reference.as_ref());
    let image = image.with_context(|| arguments.file.display().to_string())?;
    Ok(output::line(&image.id().to_string())?)
}

fn config(arguments: &Arguments) -> anyhow::Result<Config> {
    let platform = arguments.platform.platform()?.unwrap_or_else(Platform::host);
    let mut run = RunConfig::default();
    for instruction in &arguments.changes {
        change::apply(&mut run, instruction)?;
    }
    Ok(Config {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        created: Some(time::made()?),
        comment: arguments.message.clone(),
        config: Some(run),
        ..Config::default()
    })
}

/// The layer as it will be kept: what no image may be compressed with is unpacked on the way.
pub fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    let mut stream: Box<dyn Read> = if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            anyhow::bail!("requested import from stdin, but stdin is a terminal");
        }
        Box::new(io::stdin().lock())
    } else {
        Box::new(file(path)?)
    };
    let mut start = Vec::new();
    stream.by_ref().take(Codec::MAGIC as u64).read_to_end(&mut start)?;
    let codec = Codec::detect(&start);
    let whole = Cursor::new(start).chain(stream);
    match codec {
        Codec::Xz | Codec::Bzip2 => Ok(decoder(codec, BufReader::new(whole))?),
        Codec::Plain | Codec::Gzip | Codec::Zstd => Ok(Box::new(whole)),
    }
}

fn file(path: &Path) -> anyhow::Result<impl Read + use<>> {
    let shown = || path.display().to_string();
    if shown().starts_with("http://") || shown().starts_with("https://") {
        anyhow::bail!("{}: plyfs reads no URL here; pipe it: `curl URL | plyfs import -`", shown());
    }
    let file = File::open(path).with_context(shown)?;
    let metadata = file.metadata().with_context(shown)?;
    if metadata.is_dir() {
        anyhow::bail!("{}: is a directory; make a tar of it: `tar -cC DIR . | plyfs import -`", shown());
    }
    Ok(progress::reading(metadata.len()).wrap_read(file))
}
