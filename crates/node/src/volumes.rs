//! The folders behind the volumes of a pod.
//!
//! A volume is a folder or file of this machine that is bind-mounted into containers. Those that
//! belong to the pod are below its own folder or in memory. Containers can write to some of them,
//! so they are created and filled through [`beneath`], which follows no link out of them.

mod atomic;
mod memory;
mod usage;

use std::{borrow::Cow, collections::BTreeMap, io, os::fd::OwnedFd, path::PathBuf};

use rustix::fs::{Mode, fchmod};

use crate::{
    beneath, clock,
    state::{DnsLabel, PodDir, PodUid, RelativePath},
};

pub(crate) use self::{
    memory::{SHARED_MEMORY, remove as remove_memory, shared as shared_memory},
    usage::{Usage, compare as compare_usage},
};

/// The folder of a pod's volumes in its own folder. No container has a dot in its name.
const VOLUMES: &str = ".volumes";

/// The contents and modes of files.
pub(crate) type Files<'a> = BTreeMap<RelativePath, (Cow<'a, [u8]>, u32)>;

/// Where the content of a volume is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// In the pod's folder.
    Disk,
    /// In memory, until the pod ends. With a limit in bytes where this process may mount.
    Memory(Option<u64>),
}

/// Creates the folder of an `emptyDir` volume.
pub(crate) fn empty_dir(
    pod: &PodDir,
    uid: &PodUid,
    name: &DnsLabel,
    medium: Medium,
) -> io::Result<PathBuf> {
    let (mut folder, mut path) = volume(pod, name)?;
    if let Medium::Memory(limit) = medium {
        if memory::mount_tmpfs(&path, limit)? {
            // The descriptor is of the folder below the mount.
            folder = beneath::open_folder(&path)?;
        } else {
            (folder, path) = memory::folder(uid, name, 0o777)?;
        }
    }
    // Every user may write, as in Kubernetes.
    fchmod(&folder, Mode::from_raw_mode(0o777))?;
    Ok(path)
}

/// The folder of an `emptyDir` volume with files to be measured; `None` if there is none, or if it
/// is a tmpfs, which has its limit.
pub(crate) fn empty_dir_path(pod: &PodDir, uid: &PodUid, name: &DnsLabel) -> Option<PathBuf> {
    let own = pod.path().join(VOLUMES).join(name.as_str());
    if memory::is_mount(&own).ok()? {
        return None;
    }
    let shared = memory::path(uid, name);
    Some(if shared.is_dir() { shared } else { own })
}

/// Makes `files` the only content of a volume, all at the same time. Returns its path, and whether
/// the content was another.
pub(crate) fn files(
    pod: &PodDir,
    uid: &PodUid,
    name: &DnsLabel,
    medium: Medium,
    files: &Files<'_>,
) -> io::Result<(PathBuf, bool)> {
    let (folder, path) = match medium {
        Medium::Disk => volume(pod, name)?,
        Medium::Memory(_) => match memory::folder(uid, name, 0o755) {
            // The machine has no shared memory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => volume(pod, name)?,
            folder => folder?,
        },
    };
    let changed = atomic::replace(&path, &folder, files, clock::now())?;
    Ok((path, changed))
}

/// The folder of a volume below its pod's; created if it is missing.
fn volume(pod: &PodDir, name: &DnsLabel) -> io::Result<(OwnedFd, PathBuf)> {
    let all = beneath::make_folder(beneath::open_folder(pod.path())?, VOLUMES, 0o755)?;
    let folder = beneath::make_folder(all, name.as_str(), 0o755)?;
    Ok((folder, pod.path().join(VOLUMES).join(name.as_str())))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::{
        memory::{SHARED_MEMORY, shared_memory_name},
        *,
    };

    fn pod(dir: &Path) -> (PodDir, PodUid) {
        let name = dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        let uid: PodUid = format!("test-{name}").parse().unwrap();
        let pod = PodDir::new(dir, &uid);
        fs::create_dir_all(pod.path()).unwrap();
        (pod, uid)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_written_with_their_mode_and_go_with_the_pod() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, uid) = pod(dir.path());
        let name = "v".parse().unwrap();
        let content = Files::from([("a/b".parse().unwrap(), (b"x"[..].into(), 0o400))]);
        for medium in [Medium::Disk, Medium::Memory(None)] {
            let (root, changed) = files(&pod, &uid, &name, medium, &content).unwrap();
            assert!(changed);
            assert_eq!(root.starts_with(SHARED_MEMORY), medium != Medium::Disk);
            let path = root.join("a/b");
            assert_eq!(fs::read(&path).unwrap(), b"x");
            assert_eq!(mode(&path), 0o400);
            // Every user can read them.
            assert_eq!((mode(&root), mode(&root.join("a"))), (0o755, 0o755));
            assert!(!files(&pod, &uid, &name, medium, &content).unwrap().1);
        }
        remove_memory(&pod, &uid);
        assert!(!Path::new(SHARED_MEMORY).join(shared_memory_name(&uid)).exists());
    }

    #[test]
    fn shared_memory_is_private_to_its_pod() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, uid) = pod(dir.path());
        let name = "v".parse().unwrap();
        let (_, path) = memory::folder(&uid, &name, 0o777).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o777, 0o700));
        remove_memory(&pod, &uid);
        assert!(!path.exists());
        // Another user has guessed the name.
        let theirs = tempfile::tempdir().unwrap();
        let link = Path::new(SHARED_MEMORY).join(shared_memory_name(&uid));
        std::os::unix::fs::symlink(theirs.path(), &link).unwrap();
        assert!(memory::folder(&uid, &name, 0o777).is_err());
        assert!(files(&pod, &uid, &name, Medium::Memory(None), &Files::new()).is_err());
        fs::remove_file(&link).unwrap();
        assert_eq!(fs::read_dir(theirs.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_user_can_write_to_an_empty_dir_and_memory_is_freed() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, uid) = pod(dir.path());
        for medium in [Medium::Disk, Medium::Memory(None), Medium::Memory(Some(1 << 20))] {
            let name = match medium {
                Medium::Disk => "disk",
                Medium::Memory(None) => "memory",
                Medium::Memory(_) => "limited",
            };
            let name = name.parse().unwrap();
            let path = empty_dir(&pod, &uid, &name, medium).unwrap();
            assert_eq!(mode(&path), 0o777);
            fs::write(path.join("file"), "x").unwrap();
            // A restarted container finds its files.
            assert_eq!(empty_dir(&pod, &uid, &name, medium).unwrap(), path);
            assert!(path.join("file").exists());
            remove_memory(&pod, &uid);
            assert_eq!(path.join("file").exists(), medium == Medium::Disk);
        }
    }
}
