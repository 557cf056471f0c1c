//! Where a command's stream of bytes goes: stdout, or a file that appears whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::sys::file::{self, Existing};

pub enum Destination {
    Stdout,
    /// A device or a pipe, written to as it is.
    Stream(PathBuf),
    File(PathBuf),
}

impl Destination {
    /// What `-o` says. `verb` is what would be done with a terminal, which is no place for it.
    pub fn of(output: Option<&Path>, verb: &str) -> anyhow::Result<Self> {
        match output.filter(|path| path.as_os_str() != "-") {
            None if io::stdout().is_terminal() => {
                anyhow::bail!("cowardly refusing to {verb} to a terminal. Use the -o flag or redirect")
            }
            None => Ok(Self::Stdout),
            Some(path) => match path.metadata() {
                Ok(found) if found.is_dir() => anyhow::bail!("{}: is a directory", path.display()),
                Ok(found) if !found.is_file() => Ok(Self::Stream(path.to_owned())),
                _ => Ok(Self::File(path.to_owned())),
            },
        }
    }

    /// Has `write` write to it.
    pub fn write(
        &self,
        write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Stdout => buffered(io::stdout(), write).map(drop),
            Self::Stream(path) => {
                let file = OpenOptions::new().write(true).open(path);
                buffered(file.with_context(|| path.display().to_string())?, write).map(drop)
            }
            Self::File(path) => to_file(path, write),
        }
    }
}

fn buffered<W: Write + Send>(
    out: W,
    write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>,
) -> anyhow::Result<W> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    write(&mut out)?;
    out.into_inner().map_err(|error| error.into_error().into())
}

/// Without a name until it is whole and on the disk.
fn to_file(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let directory = file::directory_of(path);
    let shown = || path.display().to_string();
    let file: File = file::create_unnamed(directory).with_context(shown)?;
    let mut file = buffered(file, write)?;
    file.sync_all().with_context(shown)?;
    file::publish(&mut file, path, directory, Existing::Replace).with_context(shown)
}
