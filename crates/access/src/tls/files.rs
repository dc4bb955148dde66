//! Small files that must be whole or absent: keys, certificates, tokens, the kubeconfig.
//!
//! They are not synced to disk: all of them can be made again, and waiting for the disk eight times would be most of a
//! first start. What a power loss may leave of a file written a moment before is an empty file, which counts as absent.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its owner.
    Private,
    /// Everybody.
    Public,
}

/// A file's text; `None` where there is no such file, or an empty one.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory that only its owner may enter, or sees to it that an existing one is so.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        }
        other => other,
    }
}

/// Writes a file so that whoever opens it finds its old or its new content. It never has wider rights than asked for, not
/// even for a moment.
pub fn write(path: &Path, content: &[u8], mode: Mode) -> io::Result<()> {
    let temporary = temporary(path)?;
    let written = create(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; what is left has a name that says what it is.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn create(path: &Path, content: &[u8], mode: Mode) -> io::Result<()> {
    let bits = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(bits).open(path)?;
    file.write_all(content)
}

/// A name beside the file, unique among the writers of this and other processes.
fn temporary(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let unique = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let name = format!(".{}.{unique}.tmp", name.to_string_lossy());
    let temporary = path.with_file_name(name);
    // Left by a process of the same id that died half-way.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(temporary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"one", Mode::Public).unwrap();
        write(&path, b"two", Mode::Private).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        write(&path, b"", Mode::Private).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn a_directory_is_closed_to_others_whoever_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki");
        fs::create_dir(&path).unwrap();
        private_dir(&path).unwrap();
        private_dir(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(private_dir(&dir.path().join("file")).is_err());
    }
}
