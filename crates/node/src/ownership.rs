//! Gives the files of a volume to the group of its pod (`fsGroup`).

use std::{
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RawMode, chownat, fchmod, fchown, fstat,
        openat, statat,
    },
    io::Errno,
};

/// What the group may do with files.
const FILE_MODE: RawMode = 0o660;
/// What the group may do with folders; new files in them get the same group.
const FOLDER_MODE: RawMode = 0o2770;
/// Deepest folder in a volume. Each one on the way needs a descriptor.
const MAX_DEPTH: usize = 256;

/// Gives a folder and everything in it to a group that may then read and write. With
/// `only_on_mismatch` nothing is done if the folder itself belongs to the group already. Follows no
/// link.
pub(crate) fn give_to_group(root: &Path, group: u32, only_on_mismatch: bool) -> io::Result<()> {
    let group = Gid::from_raw(group);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let stat = fstat(&root)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return give(&root, group, stat.st_mode);
    }
    let matches = stat.st_gid == group.as_raw() && stat.st_mode & FOLDER_MODE == FOLDER_MODE;
    if only_on_mismatch && matches {
        return Ok(());
    }
    give_content(&root, group, 0)?;
    // Last: an interrupted change is done again.
    give(&root, group, stat.st_mode)
}

fn give_content(folder: &OwnedFd, group: Gid, depth: usize) -> io::Result<()> {
    if depth == MAX_DEPTH {
        return Err(io::Error::other(format!("its folders are more than {MAX_DEPTH} levels deep")));
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match give_entry(folder, name, group, depth) {
            // A container may have deleted or replaced it in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())).display();
                return Err(io::Error::new(error.kind(), format!("{name}: {error}")));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn give_entry(folder: &OwnedFd, name: &std::ffi::CStr, group: Gid, depth: usize) -> io::Result<()> {
    let kind = FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    if !matches!(kind, FileType::Directory | FileType::RegularFile) {
        return Ok(chownat(folder, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW)?);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(folder, name, flags, Mode::empty()) {
        // It became a link.
        Err(Errno::LOOP) => return Ok(()),
        file => file?,
    };
    let mode = fstat(&file)?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::Directory {
        give_content(&file, group, depth + 1)?;
    }
    give(&file, group, mode)
}

fn give(file: &OwnedFd, group: Gid, mode: RawMode) -> io::Result<()> {
    let more = match FileType::from_raw_mode(mode) {
        FileType::Directory => FOLDER_MODE,
        _ => FILE_MODE,
    };
    fchown(file, None, Some(group))?;
    Ok(fchmod(file, Mode::from_raw_mode((mode | more) & 0o7777))?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    };

    use super::*;

    #[test]
    fn everything_in_a_volume_belongs_to_the_group_and_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::write(volume.join("a/b/file"), "").unwrap();
        fs::write(&outside, "").unwrap();
        for path in [&volume.join("a/b/file"), &outside] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        symlink(&outside, volume.join("link")).unwrap();
        // An ordinary user can give files only to its own groups.
        let own = rustix::process::getegid().as_raw();
        let group = if rustix::process::geteuid().is_root() { own + 4321 } else { own };
        give_to_group(&volume, group, false).unwrap();
        let state = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (meta.gid(), meta.mode() & 0o7777)
        };
        assert_eq!(state(&volume.join("a/b/file")), (group, 0o660));
        for folder in [volume.clone(), volume.join("a/b")] {
            assert_eq!((state(&folder).0, state(&folder).1 & 0o2770), (group, 0o2770));
        }
        assert_eq!(state(&volume.join("link")).0, group);
        assert_eq!(state(&outside), (own, 0o600));
        // The root matches, so the content is not visited.
        fs::set_permissions(volume.join("a"), fs::Permissions::from_mode(0o700)).unwrap();
        give_to_group(&volume, group, true).unwrap();
        assert_eq!(state(&volume.join("a")).1, 0o700);
        give_to_group(&volume, group, false).unwrap();
        assert_eq!(state(&volume.join("a")).1, 0o2770);
    }
}
