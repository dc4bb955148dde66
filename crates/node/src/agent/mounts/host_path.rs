//! The folders and files of the machine behind `hostPath` volumes.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Component, Path},
};

use crate::agent::sources::StartProblem;

/// Checks that a path has the type of its volume, and creates it where the type says so. `volume`
/// is the name of the volume.
pub(super) fn check(volume: &str, path: &Path, kind: &str) -> Result<(), StartProblem> {
    let permanent =
        |why: &str| StartProblem::Permanent(format!("volume {volume:?}: hostPath {path:?} {why}"));
    if !path.is_absolute() {
        return Err(permanent("is not absolute"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(permanent("must not contain '..'"));
    }
    let not_yet = |why: String| super::not_mounted(volume, format!("hostPath {why}"));
    let cannot =
        |what: &str, error: io::Error| not_yet(format!("{path:?}: cannot {what}: {error}"));
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, kind).map_err(|error| cannot("create it", error))?;
            match fs::metadata(path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(not_yet(format!("{path:?} does not exist")));
                }
                Err(error) => return Err(cannot("read it", error)),
            }
        }
        Err(error) => return Err(cannot("read it", error)),
    };
    let found = found.file_type();
    let (is_right, what) = match kind {
        "" => (true, ""),
        "Directory" | "DirectoryOrCreate" => (found.is_dir(), "a directory"),
        "File" | "FileOrCreate" => (found.is_file(), "a file"),
        "Socket" => (found.is_socket(), "a socket file"),
        "CharDevice" => (found.is_char_device(), "a character device"),
        "BlockDevice" => (found.is_block_device(), "a block device"),
        other => return Err(permanent(&format!("has the unknown type {other:?}"))),
    };
    match is_right {
        true => Ok(()),
        false => Err(not_yet(format!("type check failed: {} is not {what}", path.display()))),
    }
}

fn create(path: &Path, kind: &str) -> io::Result<()> {
    match kind {
        "DirectoryOrCreate" => mxjob_files::public_dir(path),
        "FileOrCreate" => {
            let file = fs::File::options().write(true).create_new(true).open(path)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn paths_have_the_type_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("file"), dir.path().join("socket"));
        fs::write(&file, "").unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let null = Path::new("/dev/null");
        for (path, fits) in [
            (dir.path(), &["", "Directory", "DirectoryOrCreate"][..]),
            (&file, &["", "File", "FileOrCreate"]),
            (&socket, &["", "Socket"]),
            (null, &["", "CharDevice"]),
        ] {
            for kind in [
                "",
                "Directory",
                "DirectoryOrCreate",
                "File",
                "FileOrCreate",
                "Socket",
                "CharDevice",
                "BlockDevice",
            ] {
                let found = check("v", path, kind);
                assert_eq!(found.is_ok(), fits.contains(&kind), "{path:?} {kind:?}: {found:?}");
            }
            assert!(matches!(check("v", path, "Other"), Err(StartProblem::Permanent(_))));
        }
        let text = format!(
            "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: {} is not a directory",
            file.display()
        );
        assert_eq!(check("v", &file, "Directory"), Err(StartProblem::Volume(text)));
    }

    #[test]
    fn missing_paths_are_created_only_where_the_type_says_so() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["", "Directory", "File", "Socket"] {
            let path = dir.path().join("none");
            assert!(matches!(check("v", &path, kind), Err(StartProblem::Volume(_))), "{kind:?}");
            assert!(!path.exists());
        }
        let (folder, file) = (dir.path().join("a/b"), dir.path().join("f"));
        check("v", &folder, "DirectoryOrCreate").unwrap();
        check("v", &file, "FileOrCreate").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o755, 0o644));
        for path in ["relative", "/a/../b"] {
            let found = check("v", Path::new(path), "DirectoryOrCreate");
            assert!(matches!(found, Err(StartProblem::Permanent(_))), "{path}");
        }
    }
}
