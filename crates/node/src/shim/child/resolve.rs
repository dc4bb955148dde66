//! Finds where a path leads in the container's root, without a race with processes that change it.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat},
    io::Errno,
};

/// Most links in one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// Opens a file without permission to read it, and no link.
pub(super) const AS_PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where a path leads: its deepest existing file, and the names below it that are missing.
#[derive(Debug)]
pub(super) struct Place {
    /// The path of the existing file, without links.
    pub(super) path: PathBuf,
    /// The existing file.
    pub(super) file: OwnedFd,
    /// The missing names, outermost first.
    pub(super) missing: Vec<OsString>,
}

/// Follows a path from the root. A link to a missing file leads to that missing file, as in other
/// container runtimes. The links of /proc lead where their text says.
pub(super) fn resolve(path: &Path) -> io::Result<Place> {
    let mut walk = Walk { root: openat(CWD, "/", AS_PLACE, Mode::empty())?, found: Vec::new() };
    let mut missing: Vec<OsString> = Vec::new();
    let mut names = names_of(path);
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if name == ".." {
            if missing.pop().is_none() {
                walk.found.pop();
            }
            continue;
        }
        if !missing.is_empty() {
            missing.push(name);
            continue;
        }
        let file = match openat(walk.last(), name.as_os_str(), AS_PLACE, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                missing.push(name);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !is_link(&file) {
            walk.found.push((name, file));
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let text = OsString::from_vec(readlinkat(&file, "", Vec::new())?.into_bytes());
        if text.as_bytes().starts_with(b"/") {
            walk.found.clear();
        }
        for name in names_of(Path::new(&text)).into_iter().rev() {
            names.push_front(name);
        }
    }
    Ok(walk.into_place(missing))
}

/// The files on the way from the root.
struct Walk {
    root: OwnedFd,
    found: Vec<(OsString, OwnedFd)>,
}

impl Walk {
    fn last(&self) -> &OwnedFd {
        self.found.last().map_or(&self.root, |(_, file)| file)
    }

    fn into_place(mut self, missing: Vec<OsString>) -> Place {
        let path =
            Path::new("/").join(self.found.iter().map(|(name, _)| name).collect::<PathBuf>());
        let file = self.found.pop().map_or(self.root, |(_, file)| file);
        Place { path, file, missing }
    }
}

/// The names of a path; `..` is one of them.
fn names_of(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// A file whose type is not known, for example the root of another user's FUSE mount, is no link.
fn is_link(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn paths_lead_to_their_deepest_existing_file() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("a/file"), "").unwrap();
        symlink("b", base.join("a/relative")).unwrap();
        symlink(base.join("a"), base.join("absolute")).unwrap();
        symlink(base.join("new/x"), base.join("dangling")).unwrap();
        symlink("../../a/b", base.join("a/b/up")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        for (path, exists, missing) in [
            ("a/b", "a/b", ""),
            ("a/relative/c/d", "a/b", "c/d"),
            ("absolute/file", "a/file", ""),
            ("absolute/b/../file", "a/file", ""),
            ("dangling/y", "", "new/x/y"),
            ("a/b/up/up/z", "a/b", "z"),
            ("none/../a", "a", ""),
            ("none/x/../y", "", "none/y"),
        ] {
            let place = resolve(&base.join(path)).unwrap();
            let expect = if exists.is_empty() { base.clone() } else { base.join(exists) };
            assert_eq!(place.path, expect, "{path}");
            assert_eq!(place.missing.iter().collect::<PathBuf>(), Path::new(missing), "{path}");
        }
        for path in ["loop", "a/file/below"] {
            assert!(resolve(&base.join(path)).is_err(), "{path}");
        }
        let root = resolve(Path::new("/../..")).unwrap();
        assert_eq!((root.path.as_path(), root.missing.len()), (Path::new("/"), 0));
    }

    #[test]
    fn links_of_proc_are_followed_by_their_text() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let open = fs::File::open(&base).unwrap();
        let link = format!("/proc/self/fd/{}/x", std::os::fd::AsRawFd::as_raw_fd(&open));
        let place = resolve(Path::new(&link)).unwrap();
        assert_eq!((place.path, place.missing), (base, vec![OsString::from("x")]));
    }
}
