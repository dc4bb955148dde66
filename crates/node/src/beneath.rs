//! Files and folders below a folder in which a container may write.
//!
//! A container can put a link anywhere in its volumes, and can change what it has put there at any time. Nothing here
//! looks at a path first and uses it afterwards: every step starts from an open descriptor, and what comes out is a
//! descriptor. Guaranteed, whatever a container does meanwhile:
//!
//! * [`open_or_make`] follows links, and what it opens was below the folder when it was opened: the kernel refuses a
//!   link that leads out of it (`RESOLVE_BENEATH`), and links of /proc altogether.
//! * [`make_folder`] and [`write`](fn@write) follow no link. A link in the place of a file is replaced, one in the place
//!   of a folder is an error.

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

/// How often the kernel may say that a rename came between.
const ATTEMPTS: u32 = 100;

/// A file before it has its name. No key of a `ConfigMap` or `Secret` begins with two dots.
const TEMPORARY: &str = "..new";

/// Opens a folder of the node's own, which may be named by a path with links.
pub(crate) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Opens what `path` names below `root`, to be mounted through `/proc/self/fd`. Missing folders are made, with the mode
/// of `root`.
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
    for _ in 0..ATTEMPTS {
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

/// Makes a folder if it is missing. `mkdir` alone would leave out what the umask forbids.
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

/// Opens a folder directly below another, making it if it is missing.
pub(crate) fn make_folder(parent: impl AsFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    make_with_mode(&parent, name, Mode::from_raw_mode(mode))?;
    open_real_folder(&parent, name)
}

/// The same in a folder where everybody may write: an error if somebody else has made it before.
pub(crate) fn make_own_folder(parent: impl AsFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    let folder = make_folder(parent, name, mode)?;
    if fstat(&folder)?.st_uid != geteuid().as_raw() {
        return Err(io::Error::other(format!("{name:?} belongs to another user")));
    }
    Ok(folder)
}

/// Writes a file below a folder, replacing what has its name, and making the folders between.
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
    // Left by an agent that died while it wrote.
    let _ = unlinkat(&folder, TEMPORARY, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    renameat(&folder, TEMPORARY, &folder, name.as_str())?;
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

    fn path(text: &str) -> RelativePath {
        text.parse().unwrap()
    }

    /// What a descriptor shows.
    fn shown(fd: &OwnedFd) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    /// A folder for the volume and one beside it.
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
        assert_eq!(shown(&open_or_make(&volume, &path("a/b")).unwrap()), volume.join("a/b"));
        for made in ["a", "a/b"] {
            let mode = fs::metadata(volume.join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o777, "{made}");
        }
        // Again, and a file, and the volume itself.
        assert!(open_or_make(&volume, &path("a/b")).is_ok());
        fs::write(volume.join("a/f"), "").unwrap();
        assert_eq!(shown(&open_or_make(&volume, &path("a/f")).unwrap()), volume.join("a/f"));
        assert_eq!(shown(&open_or_make(&volume, &path(".")).unwrap()), volume);
        assert!(open_or_make(&volume, &path("a/f/x")).is_err());
    }

    #[test]
    fn a_link_is_followed_inside_and_refused_where_it_leads_out() {
        let (_dir, volume, outside) = folders();
        fs::create_dir(volume.join("v2")).unwrap();
        symlink("v2", volume.join("current")).unwrap();
        assert_eq!(
            shown(&open_or_make(&volume, &path("current/new")).unwrap()),
            volume.join("v2/new")
        );
        symlink(&outside, volume.join("absolute")).unwrap();
        symlink("../outside", volume.join("relative")).unwrap();
        symlink("/proc/self/cwd", volume.join("magic")).unwrap();
        symlink("../outside/new", volume.join("dangling")).unwrap();
        symlink("nothing", volume.join("nothing-here")).unwrap();
        for link in ["absolute", "relative", "magic", "dangling", "nothing-here"] {
            for below in [link.to_owned(), format!("{link}/new")] {
                let error = open_or_make(&volume, &path(&below)).unwrap_err();
                assert!(error.to_string().contains(" is a link "), "{below}: {error}");
            }
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made outside");
    }

    #[test]
    fn a_file_takes_the_place_of_a_link_and_is_never_written_through_one() {
        let (_dir, volume, outside) = folders();
        let root = open_folder(&volume).unwrap();
        symlink(outside.join("file"), volume.join("key")).unwrap();
        symlink(outside.join("file"), volume.join(TEMPORARY)).unwrap();
        write(&root, &path("key"), b"new", 0o640).unwrap();
        assert_eq!(fs::read_to_string(volume.join("key")).unwrap(), "new");
        let kind = fs::symlink_metadata(volume.join("key")).unwrap();
        assert!(kind.is_file() && kind.permissions().mode() & 0o7777 == 0o640);
        symlink(&outside, volume.join("folder")).unwrap();
        let error = write(&root, &path("folder/file"), b"new", 0o644).unwrap_err();
        assert_eq!(error.to_string(), "\"folder\" is not a folder");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "secret");
        write(&root, &path("a/b/c"), b"deep", 0o400).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a/b/c")).unwrap(), "deep");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 3, "no temporary file is left");
    }

    #[test]
    fn a_folder_is_never_a_link() {
        let (_dir, volume, outside) = folders();
        symlink(&outside, volume.join("link")).unwrap();
        let root = open_folder(&volume).unwrap();
        assert!(make_folder(&root, "link", 0o777).is_err());
        make_folder(&root, "own", 0o777).unwrap();
        let mode = fs::metadata(volume.join("own")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
    }
}
