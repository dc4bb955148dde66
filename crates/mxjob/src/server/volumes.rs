//! The folders of persistent volumes.

use std::io;
use std::path::PathBuf;

use mxjob_manager::volumes::Folders;

/// Folders below one folder that is private, so that only those get in to whom one is mounted.
#[derive(Debug)]
pub(super) struct VolumeFolders(pub(super) PathBuf);

impl VolumeFolders {
    /// The folder of a volume. Names of objects are single parts of a path; this is checked all the
    /// same.
    fn path(&self, volume: &str) -> io::Result<PathBuf> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if volume.is_empty() || !volume.bytes().all(is_plain) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.0.join(volume))
    }
}

impl Folders for VolumeFolders {
    fn create(&self, volume: &str) -> io::Result<PathBuf> {
        let path = self.path(volume)?;
        mxjob_files::private_dir(&self.0)?;
        mxjob_files::shared_dir(&path)?;
        Ok(path)
    }

    fn remove(&self, volume: &str) -> io::Result<()> {
        mxjob_files::remove_tree(&self.path(volume)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folders_are_open_to_all_in_a_private_folder_and_go_with_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let folders = VolumeFolders(dir.path().join("volumes"));
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let path = folders.create("pvc-1").unwrap();
        assert_eq!((mode(&path), mode(&folders.0)), (0o777, 0o700));
        std::fs::write(path.join("file"), "content").unwrap();
        assert_eq!(folders.create("pvc-1").unwrap(), path);
        assert!(path.join("file").exists());
        folders.remove("pvc-1").unwrap();
        folders.remove("pvc-1").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folders = VolumeFolders(dir.path().join("volumes"));
        for name in ["", ".", "..", "a/b", "../a", "a.b", "a\0b"] {
            assert!(folders.create(name).is_err(), "{name}");
            assert!(folders.remove(name).is_err(), "{name}");
        }
    }
}
