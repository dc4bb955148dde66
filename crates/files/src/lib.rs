//! Private folders, small files that are whole or absent, and lock files.
//!
//! Other users may be able to write where the data directory is, so this crate opens every file and
//! folder of ours that has a predictable name: never through a symbolic link, and private to its
//! owner whatever the umask and the mode that an older release used. The only exception is the log
//! of the store, whose engine works inside a private folder.
//!
//! This crate owns no path and no format, and does not know what the files contain.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! let folder = dir.path().join("pki");
//! mxjob_files::private_dir(&folder)?;
//! mxjob_files::write(&folder.join("ca.key"), b"secret")?;
//! assert_eq!(mxjob_files::read(&folder.join("ca.key"))?.as_deref(), Some("secret"));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod dirs;
mod tree;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use dirs::{private_dir, public_dir, shared_dir};
pub use tree::remove_tree;

/// The mode of every file.
const FILE_MODE: u32 = 0o600;

/// Opens a file for locking, reading and writing, without truncating it; `create` creates a missing
/// one.
///
/// # Errors
/// The system's error; `InvalidInput` for a symbolic link, a file with hard links, or anything else
/// that is not a regular file.
pub fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = open_regular(options.read(true).write(true).create(create).truncate(false), path)?;
    check_single_name(&file)?;
    Ok(file)
}

/// The text of a file; `None` if it is missing or empty.
///
/// # Errors
/// The system's error; `InvalidInput` for a link, `PermissionDenied` for a file of another user,
/// who could have put it there if the folder is writable for others.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let mut file = match open_regular(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    check_owner(&file)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Appends to a file, which is created private if it is missing. A crash can leave a part of the
/// content at its end.
///
/// # Errors
/// The system's error; `InvalidInput` for a link, `PermissionDenied` for a file of another user.
pub fn append(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = open(path, true)?;
    check_owner(&file)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(content)
}

/// Creates or replaces a file atomically: readers see the old or the new content. The file is
/// private from its creation on. Only one writer at a time is supported.
///
/// It is not synced to disk: after a power failure a file that was just written may be empty, which
/// [`read`] treats as absent.
///
/// # Errors
/// The system's error.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_temporary(path, content)?;
    fs::rename(temporary(path)?, path)
}

/// Like [`write`], and the new content is on disk when this returns.
///
/// # Errors
/// The system's error.
pub fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    write_temporary(path, content)?.sync_data()?;
    fs::rename(temporary(path)?, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Reserves disk space for the next [`write_durably`] to this path, so that it succeeds on a full
/// disk.
///
/// # Errors
/// The system's error.
pub fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = open_temporary(&temporary(path)?)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
}

/// Makes a file private that an older release may have left readable for others. A missing file is
/// not an error.
///
/// # Errors
/// As for [`read`].
pub fn make_private(path: &Path) -> io::Result<()> {
    match open_regular(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => {
            let file = file?;
            check_single_name(&file)?;
            check_owner(&file)?;
            close_to_others(&file)
        }
    }
}

/// Opens a regular file, and no link to one. The standard library closes its descriptor on exec.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Non-blocking, so that opening a named pipe does not wait for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = options.mode(FILE_MODE).custom_flags(flags).open(path).map_err(|error| {
        if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) { is_link() } else { error }
    })?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file; remove it"))
}

fn write_temporary(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = open_temporary(&temporary(path)?)?;
    // Not truncated before: that would free the space that `reserve` took.
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    Ok(file)
}

/// Opens the file that will replace another: a new one, or one that an interrupted writer left.
fn open_temporary(path: &Path) -> io::Result<File> {
    let file = open(path, true)?;
    check_owner(&file)?;
    close_to_others(&file)?;
    Ok(file)
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn close_to_others(file: &File) -> io::Result<()> {
    if file.metadata()?.mode() & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
}

fn is_link() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link; remove it")
}

/// For files that are changed: the change would affect the file under its other name, which may be
/// another user's or of the system.
fn check_single_name(file: &File) -> io::Result<()> {
    if file.metadata()?.nlink() <= 1 {
        return Ok(());
    }
    let message = "it has a second name (a hard link); remove it";
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn check_owner(file: &File) -> io::Result<()> {
    let (owner, user) = (file.metadata()?.uid(), geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("it belongs to the user with id {owner}; this process runs as user {user}"),
    ))
}

#[cfg(test)]
mod tests;
