//! The folders behind the volumes of a pod.
//!
//! Everything is a folder (or file) of this machine that is bind-mounted where a container wants it: `emptyDir` below
//! the pod's own folder or, with medium Memory, in the machine's shared memory.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

/// The machine's memory file system.
const SHARED_MEMORY: &str = "/dev/shm";

/// Makes the folder of an `emptyDir` volume.
pub(crate) fn empty_dir(pod: &Path, uid: &str, name: &str, in_memory: bool) -> io::Result<PathBuf> {
    let path =
        if in_memory { shared_memory(uid).join(name) } else { pod.join(".volumes").join(name) };
    fs::create_dir_all(&path)?;
    // Whoever the container runs as may write, as in Kubernetes.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    Ok(path)
}

/// Writes the files of a `configMap` or `secret` volume.
pub(crate) fn files(
    pod: &Path,
    name: &str,
    files: &BTreeMap<String, (&[u8], u32)>,
) -> io::Result<PathBuf> {
    let root = pod.join(".volumes").join(name);
    fs::create_dir_all(&root)?;
    for (path, (content, mode)) in files {
        let path = inside(&root, path)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    Ok(root)
}

/// A path below another; refuses anything that leads out of it.
pub(crate) fn inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let relative = Path::new(path);
    if relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(root.join(relative));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path:?} leads out of its volume")))
}

/// Removes what a pod has in the machine's shared memory.
pub(crate) fn remove_shared_memory(uid: &str) {
    let _ = fs::remove_dir_all(shared_memory(uid));
}

fn shared_memory(uid: &str) -> PathBuf {
    Path::new(SHARED_MEMORY).join(format!("mxjob-{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_their_volume() {
        let root = Path::new("/root/v");
        assert_eq!(inside(root, "a/b").unwrap(), Path::new("/root/v/a/b"));
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(inside(root, path).is_err(), "{path}");
        }
    }

    #[test]
    fn files_are_written_with_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = BTreeMap::from([("a/b".to_owned(), (&b"x"[..], 0o400))]);
        let root = files(dir.path(), "v", &wanted).unwrap();
        let path = root.join("a/b");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o400);
    }
}
