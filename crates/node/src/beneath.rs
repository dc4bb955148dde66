//! Files and folders beneath a folder that a container can write to.
//!
//! A container can create a link anywhere in its volumes, and can change it at any time. No
//! function here checks a path first and uses it afterwards: every step starts from an open
//! descriptor and returns a descriptor. Whatever a container does at the same time:
//!
//! * [`open_or_make`] follows links, but what it opens was beneath the folder at that moment: the
//!   kernel refuses links that lead out of it (`RESOLVE_BENEATH`), and all links of /proc.
//! * [`make_folder`] and [`write`](fn@write) follow no link. `write` replaces a link in the place
//!   of a file; a link in the place of a folder is an error.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat, openat2,
        renameat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

use crate::state::RelativePath;

/// Attempts to open a path while renames interfere.
const MAX_ATTEMPTS: u32 = 100;

/// The name of a file while it is written. No path in a volume begins with two dots.
const TEMPORARY_NAME: &str = "..new";

/// Opens a folder that only the node controls; its path may contain links.
pub(crate) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Opens `path` beneath `root`, to be mounted through `/proc/self/fd`. Missing folders are created
/// with the mode of `root`.
pub(crate) fn open_or_make(root: &Path, path: &RelativePath) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode & 0o7777);
    let mut current = root.try_clone()?;
    let mut below = String::new();
    for item in path.items() {
        below.push_str(item);
        current = match open_below(&root, &below) {
            Err(Errno::NOENT) => {
                make_with_mode(&current, item, mode)?;
                open_below(&root, &below)
            }
            opened => opened,
        }
        .map_err(|error| explain(error, &below))?;
        below.push('/');
    }
    Ok(current)
}

fn open_below(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..MAX_ATTEMPTS {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

fn explain(error: Errno, path: &str) -> io::Error {
    match error {
        Errno::XDEV | Errno::LOOP => {
            io::Error::other(format!("{path:?} is a link that leads out of the volume"))
        }
        Errno::NOENT => io::Error::other(format!("{path:?} is a link to nothing")),
        other => other.into(),
    }
}

/// Creates a folder if it is missing, with this mode whatever the umask.
fn make_with_mode(parent: impl AsFd, name: &str, mode: Mode) -> io::Result<()> {
    match mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) => Ok(fchmod(open_real_folder(&parent, name)?, mode)?),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open_real_folder(parent: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => io::Error::other(format!("{name:?} is not a folder")),
        other => other.into(),
    })
}

/// Opens a folder directly in another; creates it if it is missing.
pub(crate) fn make_folder(parent: impl AsFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    make_with_mode(&parent, name, Mode::from_raw_mode(mode))?;
    open_real_folder(&parent, name)
}

/// Like [`make_folder`], in a folder that everybody can write to: an existing folder of another
/// user is an error.
pub(crate) fn make_own_folder(parent: impl AsFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    let folder = make_folder(parent, name, mode)?;
    if fstat(&folder)?.st_uid != geteuid().as_raw() {
        return Err(io::Error::other(format!("{name:?} belongs to another user")));
    }
    Ok(folder)
}

/// Writes a file beneath a folder. Replaces a file of this name, and creates missing folders.
pub(crate) fn write(
    root: &OwnedFd,
    path: &RelativePath,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    let (name, folders) = path
        .items()
        .split_last()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"))?;
    let mut folder = root.try_clone()?;
    for item in folders {
        folder = make_folder(&folder, item, 0o755)?;
    }
    // An agent that was killed while it wrote may have left it.
    let _ = unlinkat(&folder, TEMPORARY_NAME, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, TEMPORARY_NAME, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    renameat(&folder, TEMPORARY_NAME, &folder, name.as_str())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{
            fd::AsRawFd as _,
            unix::fs::{PermissionsExt as _, symlink},
        },
        path::PathBuf,
    };

    use super::*;

    fn relative(text: &str) -> RelativePath {
        text.parse().unwrap()
    }

    /// The path of a descriptor.
    fn path_of(fd: &OwnedFd) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    /// A folder for the volume and one outside of it.
    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (volume, outside) = (base.join("volume"), base.join("outside"));
        fs::create_dir(&volume).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "secret").unwrap();
        (dir, volume, outside)
    }

    #[test]
    fn missing_folders_get_the_mode_of_the_volume() {
        let (_dir, volume, _) = folders();
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(path_of(&open_or_make(&volume, &relative("a/b")).unwrap()), volume.join("a/b"));
        for made in ["a", "a/b"] {
            let mode = fs::metadata(volume.join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o777, "{made}");
        }
        // Existing folders, a file, and the volume itself.
        assert!(open_or_make(&volume, &relative("a/b")).is_ok());
        fs::write(volume.join("a/f"), "").unwrap();
        assert_eq!(path_of(&open_or_make(&volume, &relative("a/f")).unwrap()), volume.join("a/f"));
        assert_eq!(path_of(&open_or_make(&volume, &relative(".")).unwrap()), volume);
        assert!(open_or_make(&volume, &relative("a/f/x")).is_err());
    }

    #[test]
    fn a_link_is_followed_only_inside_the_volume() {
        let (_dir, volume, outside) = folders();
        fs::create_dir(volume.join("v2")).unwrap();
        symlink("v2", volume.join("current")).unwrap();
        assert_eq!(
            path_of(&open_or_make(&volume, &relative("current/new")).unwrap()),
            volume.join("v2/new")
        );
        symlink(&outside, volume.join("absolute")).unwrap();
        symlink("../outside", volume.join("relative")).unwrap();
        symlink("/proc/self/cwd", volume.join("magic")).unwrap();
        symlink("../outside/new", volume.join("dangling")).unwrap();
        symlink("nothing", volume.join("nothing-here")).unwrap();
        for link in ["absolute", "relative", "magic", "dangling", "nothing-here"] {
            for below in [link.to_owned(), format!("{link}/new")] {
                let error = open_or_make(&volume, &relative(&below)).unwrap_err();
                assert!(error.to_string().contains(" is a link "), "{below}: {error}");
            }
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was created outside");
    }

    #[test]
    fn a_file_replaces_a_link_and_is_never_written_through_one() {
        let (_dir, volume, outside) = folders();
        let root = open_folder(&volume).unwrap();
        symlink(outside.join("file"), volume.join("key")).unwrap();
        symlink(outside.join("file"), volume.join(TEMPORARY_NAME)).unwrap();
        write(&root, &relative("key"), b"new", 0o640).unwrap();
        assert_eq!(fs::read_to_string(volume.join("key")).unwrap(), "new");
        let kind = fs::symlink_metadata(volume.join("key")).unwrap();
        assert!(kind.is_file() && kind.permissions().mode() & 0o7777 == 0o640);
        symlink(&outside, volume.join("folder")).unwrap();
        let error = write(&root, &relative("folder/file"), b"new", 0o644).unwrap_err();
        assert_eq!(error.to_string(), "\"folder\" is not a folder");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "secret");
        write(&root, &relative("a/b/c"), b"deep", 0o400).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a/b/c")).unwrap(), "deep");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 3, "no temporary file remains");
    }

    #[test]
    fn a_link_is_not_opened_as_a_folder() {
        let (_dir, volume, outside) = folders();
        symlink(&outside, volume.join("link")).unwrap();
        let root = open_folder(&volume).unwrap();
        assert!(make_folder(&root, "link", 0o777).is_err());
        make_folder(&root, "own", 0o777).unwrap();
        let mode = fs::metadata(volume.join("own")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
    }
}
