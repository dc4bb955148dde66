//! Measures whether a folder exceeds a size.

use std::{collections::HashSet, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};

use crate::beneath;

/// Most levels of folders. One descriptor is open for each.
const MAX_DEPTH: usize = 256;
/// Most files with several names that are remembered, to count them once.
const MAX_LINKED: usize = 100_000;
/// The unit of `st_blocks` on Linux.
const BLOCK_BYTES: u64 = 512;

/// The result of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// The files take at most this many bytes.
    Within,
    /// They take more.
    Exceeds,
    /// The folders are too deep to be measured.
    TooDeep,
}

/// Compares the space that the files beneath a folder take with a limit. Follows no link and enters
/// no other file system. Stops as soon as the limit is exceeded.
pub(crate) fn compare(path: &Path, limit: u64) -> io::Result<Usage> {
    let root = beneath::open_folder(path)?;
    let device = rustix::fs::fstat(&root)?.st_dev;
    let mut bytes = 0_u64;
    let mut linked = HashSet::new();
    let mut open = vec![level(root)?];
    loop {
        let depth = open.len();
        let Some((folder, entries)) = open.last_mut() else { return Ok(Usage::Within) };
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = match statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It was removed meanwhile.
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        if found.st_dev != device {
            continue;
        }
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        let is_repeated = !is_folder
            && found.st_nlink > 1
            && linked.len() < MAX_LINKED
            && !linked.insert(found.st_ino);
        if !is_repeated {
            let blocks = u64::try_from(found.st_blocks).unwrap_or_default();
            bytes = bytes.saturating_add(blocks.saturating_mul(BLOCK_BYTES));
        }
        if bytes > limit {
            return Ok(Usage::Exceeds);
        }
        if !is_folder {
            continue;
        }
        if depth >= MAX_DEPTH {
            return Ok(Usage::TooDeep);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&*folder, name, flags, Mode::empty()) {
            Ok(below) => open.push(level(below)?),
            // Removed, replaced, or closed to this user: what cannot be read cannot be counted.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn level(folder: OwnedFd) -> io::Result<(OwnedFd, Dir)> {
    let entries = Dir::read_from(&folder)?;
    Ok((folder, entries))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn all_files_count_once_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 1 << 20]).unwrap();
        assert_eq!(compare(dir, 0).unwrap(), Usage::Within);
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/file"), vec![1; 200 << 10]).unwrap();
        symlink(outside.path(), dir.join("link")).unwrap();
        symlink("..", dir.join("a/up")).unwrap();
        for number in 0..10 {
            fs::hard_link(dir.join("a/b/file"), dir.join(format!("name-{number}"))).unwrap();
        }
        assert_eq!(compare(dir, 300 << 10).unwrap(), Usage::Within);
        assert_eq!(compare(dir, 100 << 10).unwrap(), Usage::Exceeds);
        assert!(compare(&dir.join("none"), 0).is_err());
    }

    #[test]
    fn folders_that_are_too_deep_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..MAX_DEPTH + 1).fold(dir.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(deep).unwrap();
        assert_eq!(compare(dir.path(), u64::MAX).unwrap(), Usage::TooDeep);
    }
}
