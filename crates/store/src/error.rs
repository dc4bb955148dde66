//! Why a store cannot be opened, and why it stops accepting changes.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a data directory cannot be opened. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has it open.
    #[error(
        "the data directory {} is in use by {}: stop it or choose another directory",
        .dir.display(),
        .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that has it, as far as known.
        holder: Option<u32>,
    },
    /// The path names something else.
    #[error("{} is not a directory: choose another data directory", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A right is missing.
    #[error(
        "no right to read and write the data directory {}: make its owner the user that runs this, \
         or choose another directory",
        .dir.display()
    )]
    Denied {
        /// The directory.
        dir: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// No space is left.
    #[error("no space is left on the disk of the data directory {}: free some", .dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A newer release wrote it.
    #[error(
        "the data directory {} has format version {found} and this release knows versions up to \
         {supported}: use a newer release, or another data directory",
        .dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this release knows.
        supported: u32,
    },
    /// What is there is not what was written.
    #[error("the data directory {} is damaged ({detail}): restore it from a backup", .dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Anything else the system refuses.
    #[error("cannot {action} in the data directory {}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// The variant that says best what `source` means.
    pub(crate) fn io(dir: &Path, action: &'static str, source: io::Error) -> Self {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { dir, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { dir, source },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path: dir },
            _ => Self::Io { dir, action, source },
        }
    }
}

/// The disk failed a write, so the store accepts no further change: what a failed sync left on
/// disk is unknown until the log is read again, by the next start. Reads go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("writing to the data directory {} failed, and no change is accepted until a restart", .dir.display())]
pub struct Failure {
    dir: Arc<Path>,
    #[source]
    source: Arc<dyn StdError + Send + Sync>,
}

impl Failure {
    pub(crate) fn new(dir: Arc<Path>, source: Arc<dyn StdError + Send + Sync>) -> Self {
        Self { dir, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_with_what_to_do() {
        let check = |kind: io::ErrorKind, message: &str| {
            let error = OpenError::io(Path::new("/data"), "open the log", kind.into());
            assert_eq!(error.to_string(), message);
        };
        check(
            io::ErrorKind::PermissionDenied,
            "no right to read and write the data directory /data: make its owner the user that \
             runs this, or choose another directory",
        );
        check(
            io::ErrorKind::StorageFull,
            "no space is left on the disk of the data directory /data: free some",
        );
        check(
            io::ErrorKind::NotADirectory,
            "/data is not a directory: choose another data directory",
        );
        check(io::ErrorKind::TimedOut, "cannot open the log in the data directory /data");
    }
}
