//! Folders: private ones, and those that replicas of any user may enter.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::OFlags;

/// Creates a folder that only its owner may enter (0700), or restricts an existing one to that. Its
/// parent must exist.
///
/// # Errors
/// The system's error; `InvalidInput` for a link, `NotADirectory` for a file, `PermissionDenied`
/// for a folder of another user.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    if path.symlink_metadata()?.is_symlink() {
        return Err(super::is_link());
    }
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let dir: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    super::check_owner(&dir)?;
    if dir.metadata()?.mode() & 0o7777 == 0o700 {
        return Ok(());
    }
    dir.set_permissions(fs::Permissions::from_mode(0o700))
}

/// Creates a folder that any user may use (0777), whatever the umask, or leaves an existing one as
/// it is. Its parent must exist, and should be private: then only those get in to whom the folder
/// is mounted.
///
/// # Errors
/// The system's error; `InvalidInput` for a link, `NotADirectory` for a file.
pub fn shared_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = path.symlink_metadata()?;
            match (metadata.is_symlink(), metadata.is_dir()) {
                (true, _) => Err(super::is_link()),
                (false, true) => Ok(()),
                (false, false) => Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        made => {
            made?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o777))
        }
    }
}

/// Creates a folder and its missing parents with mode 0755, whatever the umask. Existing folders
/// keep their mode.
///
/// # Errors
/// The system's error.
pub fn public_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        public_dir(parent)?;
    }
    match fs::create_dir(path) {
        // Another process created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => {
            made?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        }
    }
}
