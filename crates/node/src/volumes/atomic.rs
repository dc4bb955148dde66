//! Replaces all files of a volume at the same time, as the kubelet does.
//!
//! ```text
//! <volume>/key     ─▶ ..data/key
//!          ..data  ─▶ ..2026_12_01_13_05_18.6d2c5a0f1b3e4d7c
//!          ..2026_12_01_13_05_18.6d2c5a0f1b3e4d7c/key
//! ```
//!
//! A program sees either all old files or all new ones: the link `..data` is replaced by a rename.
//! The name of the folder has a hash of its content, so an equal content is not written again.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use jiff::Timestamp;
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, openat, readlinkat, renameat, symlinkat, unlinkat},
    io::Errno,
};

use super::Files;
use crate::beneath;

/// The link to the folder with the current files.
const DATA: &str = "..data";
/// The name of a link before it replaces another.
const NEW_LINK: &str = "..link";

/// Most bytes of the files of one volume. A ConfigMap or Secret has at most one mebibyte, but
/// `items` can name the same key many times.
pub(crate) const MAX_BYTES: usize = 32 << 20;
/// Most files of one volume.
pub(crate) const MAX_FILES: usize = 10_000;

/// Makes `files` the only content of a folder. Returns whether it had another.
///
/// `path` is the folder's path, which only the node can change.
pub(super) fn replace(
    path: &Path,
    folder: &OwnedFd,
    files: &Files<'_>,
    now: Timestamp,
) -> io::Result<bool> {
    check(files)?;
    let hash = format!("{:016x}", hash(files));
    let is_current = |name: &str| name.rsplit_once('.').is_some_and(|(_, known)| known == hash);
    let current = current(folder)?.filter(|name| is_current(name));
    let tops: BTreeSet<&str> =
        files.keys().filter_map(|path| path.items().first().map(String::as_str)).collect();
    let (name, changed) = match current {
        Some(name) => (name, false),
        None => {
            let name = format!("..{}.{hash}", now.strftime("%Y_%m_%d_%H_%M_%S"));
            // From an agent that was killed while it wrote.
            mxjob_files::remove_tree(&path.join(&name))?;
            let data = beneath::make_folder(folder, &name, 0o755)?;
            for (path, (content, mode)) in files {
                beneath::write(&data, path, content, *mode)?;
            }
            for top in &tops {
                link(path, folder, &format!("{DATA}/{top}"), top)?;
            }
            link(path, folder, &name, DATA)?;
            (name, true)
        }
    };
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let found = entry.file_name().to_string_lossy();
        if matches!(&*found, "." | ".." | DATA) || *found == name || tops.contains(&*found) {
            continue;
        }
        mxjob_files::remove_tree(&path.join(&*found))?;
    }
    Ok(changed)
}

fn check(files: &Files<'_>) -> io::Result<()> {
    let failed = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let bytes: usize = files.values().map(|(content, _)| content.len()).sum();
    if bytes > MAX_BYTES || files.len() > MAX_FILES {
        return failed(format!(
            "it would have {} files with {bytes} bytes; at most {MAX_FILES} files with {MAX_BYTES} bytes are possible",
            files.len()
        ));
    }
    // These names belong to the links and folders of this module.
    match files.keys().find(|path| path.items().first().is_some_and(|top| top.starts_with(".."))) {
        Some(path) => failed(format!("the path {:?} must not start with \"..\"", path.to_string())),
        None => Ok(()),
    }
}

fn hash(files: &Files<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

/// The name of the folder with the current files.
fn current(folder: &OwnedFd) -> io::Result<Option<String>> {
    let name = match readlinkat(folder, DATA, Vec::new()) {
        Ok(name) => name.into_string().ok(),
        Err(Errno::NOENT | Errno::INVAL) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(name) = name.filter(|name| name.starts_with("..") && !name.contains('/')) else {
        return Ok(None);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name.as_str(), flags, Mode::empty()).is_ok().then_some(name))
}

/// Creates a link, or replaces whatever has its name.
fn link(path: &Path, folder: &OwnedFd, target: &str, name: &str) -> io::Result<()> {
    let _ = unlinkat(folder, NEW_LINK, AtFlags::empty());
    symlinkat(target, folder, NEW_LINK)?;
    match renameat(folder, NEW_LINK, folder, name) {
        Ok(()) => Ok(()),
        // A folder, from a mount with a `subPath` that did not exist.
        Err(Errno::ISDIR) => {
            mxjob_files::remove_tree(&path.join(name))?;
            Ok(renameat(folder, NEW_LINK, folder, name)?)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn files<'a>(all: &[(&str, &'a str)]) -> Files<'a> {
        all.iter()
            .map(|(path, content)| (path.parse().unwrap(), (content.as_bytes().into(), 0o644)))
            .collect()
    }

    fn write(dir: &Path, all: &[(&str, &str)]) -> io::Result<bool> {
        let folder = beneath::open_folder(dir).unwrap();
        replace(dir, &folder, &files(all), Timestamp::from_second(1_700_000_000).unwrap())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("..2023_11_14_22_13_20."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_change_replaces_all_files_and_an_equal_content_none() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert!(write(dir, &[("a", "1"), ("sub/b", "2"), ("sub/c/d", "3")]).unwrap());
        assert_eq!(names(dir), ["..data", "a", "sub"]);
        assert_eq!(
            (read("a"), read("sub/b"), read("sub/c/d")),
            ("1".into(), "2".into(), "3".into())
        );
        let before = fs::read_link(dir.join("..data")).unwrap();
        assert!(!write(dir, &[("a", "1"), ("sub/b", "2"), ("sub/c/d", "3")]).unwrap());
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), before);
        assert!(write(dir, &[("a", "new"), ("e", "4")]).unwrap());
        assert_eq!(names(dir), ["..data", "a", "e"]);
        assert_eq!((read("a"), read("e")), ("new".into(), "4".into()));
        assert_eq!(fs::read_dir(dir).unwrap().count(), 4, "the old folder is gone");
        assert!(write(dir, &[]).unwrap());
        assert_eq!(names(dir), ["..data"]);
    }

    #[test]
    fn other_entries_are_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "secret").unwrap();
        let dir = dir.path();
        fs::create_dir(dir.join("a")).unwrap();
        fs::write(dir.join("a/x"), "").unwrap();
        fs::write(dir.join("old"), "").unwrap();
        symlink(outside.path(), dir.join("link")).unwrap();
        symlink(outside.path(), dir.join("..data")).unwrap();
        symlink(outside.path(), dir.join("..link")).unwrap();
        assert!(write(dir, &[("a", "1"), ("link/file", "2")]).unwrap());
        assert_eq!(names(dir), ["..data", "a", "link"]);
        assert_eq!(fs::read_to_string(dir.join("link/file")).unwrap(), "2");
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "secret");
        // A folder that a link names is not this module's.
        fs::remove_file(dir.join("..data")).unwrap();
        symlink("../outside", dir.join("..data")).unwrap();
        assert!(write(dir, &[("a", "1")]).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
    }

    #[test]
    fn contents_without_bounds_and_reserved_names_are_rejected() {
        let dir = tempfile::tempdir().unwrap();
        for all in [&[("..data", "x")][..], &[("..2026/x", "x")], &[("a", "x"), ("a/b", "x")]] {
            assert!(write(dir.path(), all).is_err(), "{all:?}");
        }
        let large = "x".repeat(1 << 20);
        let paths: Vec<String> = (0..=32).map(|number| format!("f{number}")).collect();
        let all: Vec<_> = paths.iter().map(|path| (path.as_str(), large.as_str())).collect();
        assert!(write(dir.path(), &all).unwrap_err().to_string().contains("at most"));
        let paths: Vec<String> = (0..=MAX_FILES).map(|number| format!("f{number}")).collect();
        let all: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
        assert!(write(dir.path(), &all).is_err());
    }
}
