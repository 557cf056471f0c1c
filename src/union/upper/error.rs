//! What goes wrong in an upper: what the caller of a system call is to see, or a failure of ours.

use rustix::io::Errno;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the caller asked for has this answer.
    #[error("{0}")]
    Answer(Errno),
    #[error("{doing}: {source}")]
    Fault { doing: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Answer(errno)
    }
}

impl Error {
    pub fn errno(&self) -> Errno {
        match self {
            Self::Answer(errno) => *errno,
            Self::Fault { .. } => Errno::IO,
        }
    }

    /// A fault, for `map_err`.
    pub(super) fn while_doing<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        doing: impl FnOnce() -> String,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Fault { doing: doing(), source: source.into() }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
