//! The folders behind the volumes of a pod.
//!
//! A volume is a folder or file of this machine that is bind-mounted into containers. An `emptyDir`
//! is below the pod's own folder or, with medium Memory, in the machine's shared memory. Containers
//! can write to these folders, so they are created and filled through [`beneath`], which follows no
//! link out of them.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, fchmod};

use crate::{
    beneath,
    state::{DnsLabel, PodDir, PodUid, RelativePath},
};

/// A memory file system of the machine.
const SHARED_MEMORY: &str = "/dev/shm";

/// The contents and modes of files.
pub(crate) type Files<'a> = BTreeMap<RelativePath, (&'a [u8], u32)>;

/// Creates the folder of an `emptyDir` volume.
pub(crate) fn empty_dir(
    pod: &PodDir,
    uid: &PodUid,
    name: &DnsLabel,
    in_memory: bool,
) -> io::Result<PathBuf> {
    let (folder, path) = if in_memory {
        let shared = beneath::open_folder(Path::new(SHARED_MEMORY))?;
        let of_pod = beneath::make_own_folder(shared, &shared_memory_name(uid), 0o700)?;
        let folder = beneath::make_folder(of_pod, name.as_str(), 0o777)?;
        (folder, Path::new(SHARED_MEMORY).join(shared_memory_name(uid)).join(name.as_str()))
    } else {
        volume(pod, name)?
    };
    // Every user may write, as in Kubernetes.
    fchmod(&folder, Mode::from_raw_mode(0o777))?;
    Ok(path)
}

/// Writes the files of a `configMap` or `secret` volume.
pub(crate) fn files(pod: &PodDir, name: &DnsLabel, files: &Files<'_>) -> io::Result<PathBuf> {
    let (folder, path) = volume(pod, name)?;
    for (path, (content, mode)) in files {
        beneath::write(&folder, path, content, *mode)?;
    }
    Ok(path)
}

/// The folder of a volume below its pod's; created if it is missing.
fn volume(pod: &PodDir, name: &DnsLabel) -> io::Result<(OwnedFd, PathBuf)> {
    /// No container has a dot in its name.
    const VOLUMES: &str = ".volumes";
    let all = beneath::make_folder(beneath::open_folder(pod.path())?, VOLUMES, 0o755)?;
    let folder = beneath::make_folder(all, name.as_str(), 0o755)?;
    Ok((folder, pod.path().join(VOLUMES).join(name.as_str())))
}

/// Removes the volumes of a pod from the machine's shared memory.
pub(crate) fn remove_shared_memory(uid: &PodUid) {
    // Removes a link, not its target.
    let _ = mxjob_files::remove_tree(&Path::new(SHARED_MEMORY).join(shared_memory_name(uid)));
}

fn shared_memory_name(uid: &PodUid) -> String {
    format!("mxjob-{uid}")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn pod(dir: &Path) -> PodDir {
        let pod = PodDir::new(dir, &"uid".parse().unwrap());
        fs::create_dir_all(pod.path()).unwrap();
        pod
    }

    #[test]
    fn files_are_written_with_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let content = Files::from([("a/b".parse().unwrap(), (&b"x"[..], 0o400))]);
        let root = files(&pod(dir.path()), &"v".parse().unwrap(), &content).unwrap();
        assert_eq!(root, dir.path().join("pods/uid/.volumes/v"));
        let path = root.join("a/b");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(mode(&path), 0o400);
        // Every user can read them.
        assert_eq!((mode(&root), mode(&root.join("a"))), (0o755, 0o755));
    }

    #[test]
    fn volumes_in_memory_are_private_to_their_pod() {
        let uid: PodUid = format!("test-{}", std::process::id()).parse().unwrap();
        let name = "v".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pod = pod(dir.path());
        let path = empty_dir(&pod, &uid, &name, true).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o777, 0o700));
        remove_shared_memory(&uid);
        assert!(!path.exists());
        // Another user has guessed the name.
        let theirs = tempfile::tempdir().unwrap();
        let link = Path::new(SHARED_MEMORY).join(shared_memory_name(&uid));
        std::os::unix::fs::symlink(theirs.path(), &link).unwrap();
        assert!(empty_dir(&pod, &uid, &name, true).is_err());
        fs::remove_file(&link).unwrap();
        assert_eq!(fs::read_dir(theirs.path()).unwrap().count(), 0);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn every_user_can_write_to_an_empty_dir() {
        let dir = tempfile::tempdir().unwrap();
        let uid: PodUid = format!("uid-{}", std::process::id()).parse().unwrap();
        for in_memory in [false, true] {
            let name = "scratch".parse().unwrap();
            let path = empty_dir(&pod(dir.path()), &uid, &name, in_memory).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
            assert_eq!(path.starts_with(SHARED_MEMORY), in_memory);
        }
        remove_shared_memory(&uid);
        assert!(!Path::new(SHARED_MEMORY).join(shared_memory_name(&uid)).exists());
    }
}
