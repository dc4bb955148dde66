//! Why a store cannot be opened, and why it stops accepting changes.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a data directory cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has it open.
    #[error(
        "the data directory {} is in use by {}; stop it or choose another directory",
        .dir.display(),
        .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that uses it, if known.
        holder: Option<u32>,
    },
    /// The path is not a directory.
    #[error("{} is not a directory; choose another data directory", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The permission is missing.
    #[error(
        "no permission to read and write the data directory {}; change its owner to the user of this \
         process, or choose another directory",
        .dir.display()
    )]
    Denied {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left on the disk of the data directory {}; free some space", .dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A newer release wrote it.
    #[error(
        "the data directory {} has format version {found} and this release supports versions up \
         to {supported}; use a newer release or another data directory",
        .dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version that this release supports.
        supported: u32,
    },
    /// The content is not what was written.
    #[error("the data directory {} is damaged ({detail}); restore it from a backup", .dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Any other error of the system.
    #[error("cannot {action} in the data directory {}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// The variant that fits `source`.
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

/// A write to the disk failed, so the store accepts no further change: what a failed sync left on
/// disk is unknown until the next start reads the log again. Reads go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("writing to the data directory {} failed; no change is accepted until a restart", .dir.display())]
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
    fn system_errors_say_what_to_do() {
        let check = |kind: io::ErrorKind, message: &str| {
            let error = OpenError::io(Path::new("/data"), "open the log", kind.into());
            assert_eq!(error.to_string(), message);
        };
        check(
            io::ErrorKind::PermissionDenied,
            "no permission to read and write the data directory /data; change its owner to the user \
             of this process, or choose another directory",
        );
        check(
            io::ErrorKind::StorageFull,
            "no space left on the disk of the data directory /data; free some space",
        );
        check(
            io::ErrorKind::NotADirectory,
            "/data is not a directory; choose another data directory",
        );
        check(io::ErrorKind::TimedOut, "cannot open the log in the data directory /data");
    }
}
