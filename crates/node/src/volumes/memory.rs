//! Volumes in memory: an `emptyDir` with medium Memory, and files that no disk should keep.
//!
//! An `emptyDir` gets a tmpfs of its own with its size limit, where this process may mount. All
//! others are folders in the machine's shared memory, in one folder of the pod that only this user
//! can enter.

use std::{
    ffi::CString,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Dir, Mode, fchmod, fstat},
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

use crate::{
    beneath,
    state::{DnsLabel, PodDir, PodUid},
};

/// A memory file system of the machine.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// The folder of a volume in the machine's shared memory; created if it is missing.
pub(super) fn folder(uid: &PodUid, name: &DnsLabel, mode: u32) -> io::Result<(OwnedFd, PathBuf)> {
    let shared = beneath::open_folder(Path::new(SHARED_MEMORY))?;
    let of_pod = beneath::make_own_folder(shared, &shared_memory_name(uid), 0o700)?;
    let folder = beneath::make_folder(of_pod, name.as_str(), mode)?;
    Ok((folder, path(uid, name)))
}

/// Creates the folder that the containers of a pod see as `/dev/shm`.
pub(crate) fn shared(uid: &PodUid) -> io::Result<PathBuf> {
    /// No volume has a dot in its name.
    const NAME: &str = ".shm";
    let machine = beneath::open_folder(Path::new(SHARED_MEMORY))?;
    let of_pod = beneath::make_own_folder(machine, &shared_memory_name(uid), 0o700)?;
    let folder = beneath::make_folder(of_pod, NAME, 0o1777)?;
    fchmod(&folder, Mode::from_raw_mode(0o1777))?;
    Ok(Path::new(SHARED_MEMORY).join(shared_memory_name(uid)).join(NAME))
}

/// The path of that folder of a volume.
pub(super) fn path(uid: &PodUid, name: &DnsLabel) -> PathBuf {
    Path::new(SHARED_MEMORY).join(shared_memory_name(uid)).join(name.as_str())
}

/// Mounts a tmpfs on a folder that only the node can change, unless that was done before. Returns
/// whether there is one: false if this process may not mount.
pub(super) fn mount_tmpfs(path: &Path, size_limit: Option<u64>) -> io::Result<bool> {
    if is_mount(path)? {
        return Ok(true);
    }
    let mut options = "mode=0777".to_owned();
    // The size 0 would be no limit, also in Kubernetes.
    if let Some(bytes) = size_limit.filter(|bytes| *bytes > 0) {
        options.push_str(&format!(",size={bytes}"));
    }
    let options = CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    match mount("tmpfs", path, "tmpfs", flags, options.as_c_str()) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn is_mount(path: &Path) -> io::Result<bool> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(fs::symlink_metadata(path)?.dev() != fs::symlink_metadata(parent)?.dev())
}

/// Frees the memory of a pod whose containers have ended.
pub(crate) fn remove(pod: &PodDir, uid: &PodUid) {
    unmount_all(&pod.path().join(super::VOLUMES));
    // Removes a link, not its target.
    let _ = mxjob_files::remove_tree(&Path::new(SHARED_MEMORY).join(shared_memory_name(uid)));
}

fn unmount_all(volumes: &Path) {
    let Ok(folder) = beneath::open_folder(volumes) else { return };
    let Ok(device) = fstat(&folder).map(|stat| stat.st_dev) else { return };
    let Ok(entries) = Dir::read_from(&folder) else { return };
    for entry in entries.flatten() {
        let path = volumes.join(&*entry.file_name().to_string_lossy());
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if !found.is_dir() || found.dev() == device {
            continue;
        }
        // First its content: other mount namespaces may have copies of the mount.
        empty(&path);
        if let Err(error) = unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            tracing::warn!(%error, path = %path.display(), "cannot unmount a volume");
        }
    }
}

fn empty(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let _ = mxjob_files::remove_tree(&entry.path());
    }
}

pub(super) fn shared_memory_name(uid: &PodUid) -> String {
    format!("mxjob-{uid}")
}
