//! Folders: private ones of ours, and those that replicas of any user may enter.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::OFlags;

/// Makes a folder that only its owner may enter, or sees to it that an existing one is so. Its parent must exist.
///
/// # Errors
/// What the system says; `InvalidInput` for a link, `NotADirectory` for a file, `PermissionDenied` for a folder of another user.
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

/// Makes a folder and its parents where they are missing, so that everybody may enter them and only their owner write (0755), whatever the
/// umask. Those that exist stay as they are.
///
/// # Errors
/// What the system says.
pub fn public_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        public_dir(parent)?;
    }
    match fs::create_dir(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => {
            made?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        }
    }
}
