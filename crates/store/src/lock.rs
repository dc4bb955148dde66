//! The lock of a data directory: one process at a time.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, Write},
    path::Path,
    process,
};

use crate::OpenError;

/// The locked file. It stays after the lock is released; its content is the process id of the
/// holder.
const FILE: &str = "LOCK";

/// A locked data directory, released on drop or when the process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held open, never read")] File);

impl Lock {
    /// Creates the directory if it does not exist, closes it to other users, and locks it.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let made = match dir.parent() {
            Some(parent) => fs::create_dir_all(parent).and_then(|()| mxjob_files::private_dir(dir)),
            None => mxjob_files::private_dir(dir),
        };
        made.map_err(|err| match err.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                OpenError::NotADirectory { path: dir.to_owned() }
            }
            _ => OpenError::io(dir, "create directories", err),
        })?;
        let path = dir.join(FILE);
        let mut file = mxjob_files::open(&path, true)
            .map_err(|err| OpenError::io(dir, "open the file LOCK", err))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).ok();
                let holder = holder.and_then(|pid| pid.trim().parse().ok());
                return Err(OpenError::Locked { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(err)) => {
                return Err(OpenError::io(dir, "lock the file LOCK", err));
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", process::id()))
            .map_err(|err| OpenError::io(dir, "write the file LOCK", err))?;
        Ok(Self(file))
    }
}
