//! Removes folders in which others could create what they like.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, chmod, fchmod, fstat, openat, openat2,
    renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes a file, a link or a folder with everything in it. A missing one is not an error.
///
/// `std::fs::remove_dir_all` calls itself for each level, so a tree that is deep enough overflows
/// the stack and aborts the process. This function needs the same small amount of stack, memory and
/// descriptors for every tree: it moves each nested folder up to the root of the tree before it
/// empties it. It follows no link, enters no mount, and makes folders of this user accessible that
/// have no permission bits.
///
/// # Errors
/// The first error of the system, for example for a mount. Everything else in the tree is removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    if remove_entry(&parent, name, FileType::Unknown)? {
        return Ok(());
    }
    let mut tree = Tree { root: open_folder(&parent, name)?, moved: 0, emptied: 0, error: None };
    loop {
        let progress = tree.empty_root()?;
        match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Some file systems skip entries when others are removed during the scan.
            Err(Errno::NOTEMPTY | Errno::EXIST) if progress && tree.error.is_none() => {}
            Err(error) => return Err(tree.error.unwrap_or_else(|| error.into())),
        }
    }
}

/// A tree while it is removed.
struct Tree {
    root: OwnedFd,
    /// How many nested folders were moved to the root. The number is part of their new name, so
    /// that no list of them is needed.
    moved: u64,
    /// How many of these were removed again.
    emptied: u64,
    /// The first error.
    error: Option<io::Error>,
}

impl Tree {
    /// Removes everything in the root. Returns whether it removed anything.
    fn empty_root(&mut self) -> io::Result<bool> {
        let mut progress = false;
        for entry in Dir::read_from(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            progress |= self.remove_from_root(name, entry.file_type());
            while self.emptied < self.moved {
                let name = moved_name(self.emptied);
                self.emptied += 1;
                progress |= self.remove_from_root(name.as_str(), FileType::Unknown);
            }
        }
        Ok(progress)
    }

    /// Removes an entry of the root. Folders in it are moved to the root.
    fn remove_from_root(&mut self, name: impl Arg + Copy, kind: FileType) -> bool {
        let removed = (|| {
            if remove_entry(&self.root, name, kind)? {
                return Ok(true);
            }
            let folder = open_folder(&self.root, name)?;
            loop {
                let progress = self.move_up(&folder)?;
                match unlinkat(&self.root, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) if progress && self.error.is_none() => {}
                    removed => return removed.map(|()| true),
                }
            }
        })();
        self.note(name, removed)
    }

    /// Removes the files of a folder and moves its folders to the root. Returns whether it removed
    /// or moved anything.
    fn move_up(&mut self, folder: &OwnedFd) -> Result<bool, Errno> {
        let mut progress = false;
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let done = match remove_entry(folder, name, entry.file_type()) {
                Ok(false) => self.rename_to_root(folder, name).map(|()| true),
                done => done,
            };
            progress |= self.note(name, done);
        }
        Ok(progress)
    }

    fn rename_to_root(&mut self, folder: &OwnedFd, name: impl Arg + Copy) -> Result<(), Errno> {
        let mut is_accessible = false;
        loop {
            let new = moved_name(self.moved);
            match renameat(folder, name, &self.root, new.as_str()) {
                Ok(()) => {
                    self.moved += 1;
                    return Ok(());
                }
                // The name exists. Its number is used up, and what has it is removed in its turn.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => self.moved += 1,
                // To move a folder, its own mode must permit to write to it.
                Err(Errno::ACCESS) if !is_accessible => {
                    open_folder(folder, name)?;
                    is_accessible = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps the first error. Returns whether there was progress.
    fn note(&mut self, name: impl Arg + Copy, result: Result<bool, Errno>) -> bool {
        let error = match result {
            Ok(progress) => return progress,
            Err(Errno::NOENT) => return true,
            Err(error) => error,
        };
        self.error.get_or_insert_with(|| {
            let mut message = format!("cannot remove {:?}", name.to_string_lossy());
            // Writing to a string cannot fail.
            let _ = match error {
                Errno::XDEV | Errno::BUSY => message.write_str(": it is a mount; unmount it"),
                _ => write!(message, ": {}", io::Error::from(error)),
            };
            io::Error::new(io::Error::from(error).kind(), message)
        });
        false
    }
}

fn moved_name(number: u64) -> String {
    format!(".removed.{number}")
}

/// Removes a file, a link or an empty folder. Returns false for a folder that is not empty.
fn remove_entry(folder: impl AsFd, name: impl Arg + Copy, kind: FileType) -> Result<bool, Errno> {
    let flags = match kind {
        FileType::Directory | FileType::Unknown => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    match unlinkat(&folder, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(Errno::NOTDIR) => unlinkat(&folder, name, AtFlags::empty()).map(|()| true),
        Err(error) => Err(error),
    }
}

/// Opens a folder, which must be no link and no mount, and makes it accessible.
fn open_folder(parent: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let open = |flags| {
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV)
    };
    let folder = match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            let path = open(OFlags::PATH)?;
            // The mode of this very folder, whatever has its name in the meantime.
            chmod(format!("/proc/self/fd/{}", path.as_raw_fd()), Mode::RWXU)?;
            open(OFlags::RDONLY)?
        }
        opened => opened?,
    };
    if !Mode::from_raw_mode(fstat(&folder)?.st_mode).contains(Mode::RWXU) {
        // Only its owner may. If that is not enough, removing its entries fails and says so.
        let _ = fchmod(&folder, Mode::RWXU);
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    /// Creates nested folders, more than the stack of a thread has room for.
    fn deep(root: &Path, levels: usize) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = openat(CWD, root, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = openat(&folder, "d", flags, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn the_depth_of_a_tree_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("wide")).unwrap();
        // Names that the removal itself uses.
        for name in [".removed.0", ".removed.2", "wide/.removed.1"] {
            fs::create_dir_all(tree.join(name).join("x/y")).unwrap();
        }
        fs::write(tree.join(".removed.1"), "").unwrap();
        for n in 0..300 {
            fs::create_dir_all(tree.join(format!("wide/{n}/a/b"))).unwrap();
            fs::write(tree.join(format!("wide/{n}/a/f")), "").unwrap();
        }
        deep(&tree.join("wide"), 30_000);
        // A small stack: far less than one frame a level.
        let path = tree.clone();
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        small.spawn(move || remove_tree(&path)).unwrap().join().unwrap().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        remove_tree(&tree).unwrap();
        remove_tree(&tree.join("missing/too")).unwrap();
    }

    #[test]
    fn links_are_removed_and_their_targets_stay() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "theirs").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        for name in ["link", "a/link", "a/b/link", "a/b/.removed.0"] {
            symlink(&outside, tree.join(name)).unwrap();
        }
        symlink(outside.join("file"), tree.join("a/file")).unwrap();
        let link = dir.path().join("link");
        symlink(&outside, &link).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&link).unwrap();
        assert!(!tree.exists() && !link.is_symlink());
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "theirs");
    }

    #[test]
    fn folders_without_permission_bits_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/c/file"), "").unwrap();
        for name in ["a/b/c", "a/b", "a", ""] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn an_error_leaves_only_what_cannot_be_removed() {
        // A mount of this machine: whether root or not, it is not entered.
        let error = remove_tree(Path::new("/proc")).unwrap_err();
        assert!(
            error.raw_os_error() == Some(Errno::BUSY.raw_os_error())
                || error.raw_os_error() == Some(Errno::XDEV.raw_os_error())
                || error.kind() == io::ErrorKind::PermissionDenied,
            "{error}"
        );
        assert!(Path::new("/proc/self").exists());
        assert_eq!(remove_tree(Path::new("/")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
