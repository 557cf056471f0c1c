//! Other programs: whether they are here, of which version, and what they said when they failed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;

/// Runs it, and gives what it printed. The first and the last line of what a failing program says are its error.
pub fn run(command: &mut Command) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |said: String| Error::Program { name: name.clone(), said };
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(failed(last.map_or_else(|| output.status.to_string(), str::to_owned)))
}

pub fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, words: &[S]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// Where it is; a name with a slash is a path already.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|at| at.join(name)).find(|path| path.is_file())
}

/// What `--version` prints: the line that has its name, or else the first that has a digit.
pub fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let name = program.file_name()?.to_str()?;
    let numbered = || said.lines().filter(|line| line.contains(|letter: char| letter.is_ascii_digit()));
    let own = numbered().find(|line| line.contains(name));
    own.or_else(|| numbered().next()).map(|line| line.trim().to_owned())
}
