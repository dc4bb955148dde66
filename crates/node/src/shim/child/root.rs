//! The root of a container: the machine's, in which missing mount points are made without changing
//! the machine.
//!
//! To make a mount point in a folder, a small file system in memory is mounted over the folder. It
//! has everything of the folder as bind mounts, and the mount point. It is read-only for the
//! container, so that nothing is written to memory that the user expects on disk. Two folders are
//! different:
//!
//! * Folders that everybody can write to (`/tmp`) stay writable. The new files are in memory then,
//!   as in a container with its own `/tmp`.
//! * In the working directory of the container, which is the user's own folder, and in volumes the
//!   mount point is really made, as by other container runtimes.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        Dir, FileType, Gid, Mode, OFlags, PROC_SUPER_MAGIC, Stat, Uid, fchown, fstat, fstatfs,
        mkdirat, openat, readlinkat, symlinkat,
    },
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
    },
    process::{fchdir, pivot_root},
};

use super::resolve::{AS_PLACE, Place, resolve};
use crate::sys::mount::make_read_only;

/// Most entries of a folder in which a mount point is made: each becomes a mount.
const MAX_ENTRIES: usize = 2000;

/// How often a target is resolved. The second time the mount point can be made, the third time it
/// exists; more are necessary only if other processes change the links on the way.
const MAX_ROUNDS: u32 = 10;

/// Folders that everybody can write to, and only owners can delete from.
const SHARED_FOLDER: u32 = 0o1777;

/// The root of this process, while mounts are added to it.
#[derive(Debug, Default)]
pub(super) struct Root {
    /// The working directory of the container, if mount points may be made in it.
    own: Option<PathBuf>,
    /// The paths of volumes.
    volumes: BTreeSet<PathBuf>,
    /// The paths of folders that were covered by one in memory that is still writable.
    covers: BTreeSet<PathBuf>,
    /// The numbers of the file systems in memory.
    devices: BTreeSet<u64>,
    /// Whether the whole root except for volumes is read-only.
    is_read_only: bool,
}

/// A copy of a mount and of those below it that is not visible yet.
#[derive(Debug)]
pub(super) struct Tree(OwnedFd);

impl Tree {
    /// Copies the mounts at a path or, with an empty path, at a descriptor.
    pub(super) fn open(at: impl std::os::fd::AsFd, path: &Path) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self(open_tree(at, path, flags)?))
    }

    /// Makes the mount read-only, but not those below it.
    pub(super) fn make_read_only(&self) -> io::Result<()> {
        make_read_only(&self.0, false)
    }

    fn is_folder(&self) -> bool {
        fstat(&self.0).map_or(true, |stat| kind(&stat) == FileType::Directory)
    }

    fn attach(&self, place: &OwnedFd) -> io::Result<()> {
        attach(&self.0, place)
    }
}

impl Root {
    /// `workdir` is the working directory of the container.
    pub(super) fn new(workdir: &Path) -> Self {
        let own = resolve(workdir).ok().filter(|place| place.missing.is_empty());
        let own = own.map(|place| place.path).filter(|path| path != Path::new("/"));
        Self { own, ..Self::default() }
    }

    /// Makes everything read-only that is mounted now, except for /proc and /dev.
    pub(super) fn make_read_only(&mut self) -> io::Result<()> {
        let kept = ["/proc", "/dev"].map(|path| (path, Tree::open(rustix::fs::CWD, path.as_ref())));
        make_read_only(open_root()?, true)?;
        for (path, tree) in kept {
            tree?.attach(&openat(rustix::fs::CWD, path, AS_PLACE, Mode::empty())?)?;
        }
        self.is_read_only = true;
        Ok(())
    }

    /// Mounts a tree. A missing mount point is made.
    pub(super) fn mount(&mut self, tree: &Tree, target: &Path) -> io::Result<()> {
        for _ in 0..MAX_ROUNDS {
            let place = resolve(target)?;
            if fstatfs(&place.file)?.f_type == PROC_SUPER_MAGIC {
                return Err(io::Error::other("nothing can be mounted inside of /proc"));
            }
            if place.missing.is_empty() {
                if place.path == Path::new("/") {
                    return Err(io::Error::other("nothing can be mounted at /"));
                }
                if (kind(&fstat(&place.file)?) == FileType::Directory) != tree.is_folder() {
                    let error = if tree.is_folder() { Errno::NOTDIR } else { Errno::ISDIR };
                    return Err(error.into());
                }
                tree.attach(&place.file)?;
                self.covers.retain(|path| !path.starts_with(&place.path));
                self.volumes.insert(place.path);
                return Ok(());
            }
            self.make(&place, tree.is_folder())?;
        }
        Err(io::Error::other("the links in the path change all the time"))
    }

    /// Makes a mount point, or the folder above it writable.
    fn make(&mut self, place: &Place, is_folder: bool) -> io::Result<()> {
        let stat = fstat(&place.file)?;
        if kind(&stat) != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
        let is_cover = self.devices.contains(&stat.st_dev);
        let is_own = self.own.as_ref().is_some_and(|own| place.path.starts_with(own));
        let is_volume = self.volumes.iter().any(|volume| place.path.starts_with(volume));
        if is_cover || is_volume || (is_own && !self.is_read_only) {
            match make_missing(&place.file, &place.missing, is_folder) {
                Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) if !is_cover => {}
                made => return Ok(made?),
            }
        }
        self.cover(place, &stat)
    }

    /// Mounts a file system in memory over a folder, with all that the folder has.
    fn cover(&mut self, place: &Place, stat: &Stat) -> io::Result<()> {
        let entries = entries(&place.file).map_err(|error| {
            let what = format!("cannot make a mount point in {:?}: {error}", place.path);
            io::Error::new(error.kind(), what)
        })?;
        let memory = memory(stat)?;
        attach(&memory, &place.file)?;
        for name in entries {
            show(&place.file, &memory, &name).map_err(|error| {
                let what = format!("cannot show {:?} of {:?}: {error}", name, place.path);
                io::Error::new(error.kind(), what)
            })?;
        }
        if place.path == Path::new("/") {
            // Everything else in the old root is below the new one.
            fchdir(&memory)?;
            pivot_root(".", ".")?;
            unmount(".", UnmountFlags::DETACH)?;
            std::env::set_current_dir("/")?;
        }
        self.devices.insert(fstat(&memory)?.st_dev);
        if stat.st_mode & SHARED_FOLDER != SHARED_FOLDER || self.is_read_only {
            self.covers.insert(place.path.clone());
        }
        Ok(())
    }

    /// Makes the file systems in memory read-only.
    pub(super) fn finish(self) -> io::Result<()> {
        for path in self.covers {
            make_read_only(resolve(&path)?.file, false)?;
        }
        Ok(())
    }
}

/// Tries what the root of a container needs, in a mount namespace of its own.
pub(in crate::shim) fn try_mounts() -> io::Result<()> {
    let root = open_root()?;
    let memory = memory(&fstat(&root)?)?;
    attach(&memory, &root)?;
    make_read_only(&memory, false)?;
    Tree::open(&root, Path::new("")).map(drop)
}

fn open_root() -> io::Result<OwnedFd> {
    Ok(openat(rustix::fs::CWD, "/", AS_PLACE, Mode::empty())?)
}

fn attach(mount: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", flags)?)
}

const fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A file system in memory whose root has the owner and mode of a folder.
fn memory(stat: &Stat) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "mxjob")?;
    fsconfig_set_string(&context, "mode", format!("{:o}", stat.st_mode & 0o7777))?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    // Best effort: a user namespace has only one user and group.
    let root = openat(&mount, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let _ = fchown(&root, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    Ok(mount)
}

/// The names in a folder.
fn entries(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut found = Vec::new();
    for entry in Dir::new(openat(folder, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if found.len() == MAX_ENTRIES {
            let what = format!(
                "it has more than {MAX_ENTRIES} entries; create the mount point on the machine"
            );
            return Err(io::Error::other(what));
        }
        found.push(name.to_owned());
    }
    Ok(found)
}

/// Makes an entry of one folder visible in another.
fn show(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let file = match openat(from, name, AS_PLACE, Mode::empty()) {
        // Deleted in the meantime.
        Err(Errno::NOENT) => return Ok(()),
        file => file?,
    };
    // Also of a file that this user may not even examine.
    let kind = fstat(&file).map_or(FileType::Directory, |stat| kind(&stat));
    if kind == FileType::Symlink {
        return Ok(symlinkat(readlinkat(&file, "", Vec::new())?, to, name)?);
    }
    make_missing(to, &[name], kind == FileType::Directory)?;
    Tree::open(&file, Path::new(""))?.attach(&openat(to, name, AS_PLACE, Mode::empty())?)
}

/// Makes folders in each other; the last one is a file unless `is_folder`.
fn make_missing(
    parent: &OwnedFd,
    names: &[impl AsRef<OsStr>],
    is_folder: bool,
) -> Result<(), Errno> {
    let Some((last, above)) = names.split_last() else { return Ok(()) };
    let mut parent = openat(parent, ".", AS_PLACE, Mode::empty())?;
    let make =
        |parent: &OwnedFd, name: &OsStr| match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        };
    for name in above {
        make(&parent, name.as_ref())?;
        let flags = AS_PLACE.union(OFlags::DIRECTORY);
        parent = openat(&parent, name.as_ref(), flags, Mode::empty())?;
    }
    if is_folder {
        return make(&parent, last.as_ref());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(&parent, last.as_ref(), flags, Mode::from_raw_mode(0o644)) {
        Err(error) if error != Errno::EXIST => Err(error),
        _ => Ok(()),
    }
}
