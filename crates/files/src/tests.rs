use std::os::unix::fs::symlink;

use super::*;

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_is_replaced_atomically_and_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    assert_eq!(read(&path).unwrap(), None);
    write(&path, b"the first").unwrap();
    write_durably(&path, b"two").unwrap();
    assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    write(&path, b"").unwrap();
    assert_eq!(read(&path).unwrap(), None);
}

#[test]
fn reserved_space_is_not_part_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("exit.json");
    reserve(&path, 8192).unwrap();
    assert_eq!(read(&path).unwrap(), None);
    write_durably(&path, b"{}").unwrap();
    assert_eq!(read(&path).unwrap().as_deref(), Some("{}"));
}

#[test]
fn no_file_is_opened_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    fs::write(&target, "of somebody").unwrap();
    set_mode(&target, 0o644);
    for name in ["lock", ".key.tmp"] {
        symlink(&target, dir.path().join(name)).unwrap();
    }
    let link = dir.path().join("lock");
    for error in [
        open(&link, true).unwrap_err(),
        open(&link, false).unwrap_err(),
        read(&link).unwrap_err(),
        make_private(&link).unwrap_err(),
        write(&dir.path().join("key"), b"secret").unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "it is a symbolic link; remove it");
    }
    // A dangling link creates no file.
    symlink(dir.path().join("nothing"), dir.path().join("new")).unwrap();
    assert!(open(&dir.path().join("new"), true).is_err());
    assert!(!dir.path().join("nothing").exists());
    // `write` replaces the link itself.
    fs::remove_file(dir.path().join(".key.tmp")).unwrap();
    write(&link, b"ours").unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "of somebody");
    assert_eq!(mode(&target), 0o644);
}

#[test]
fn no_file_with_a_second_name_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = dir.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    set_mode(&theirs, 0o644);
    for name in ["lock", ".key.tmp"] {
        fs::hard_link(&theirs, dir.path().join(name)).unwrap();
    }
    let lock = dir.path().join("lock");
    for error in [
        open(&lock, true).unwrap_err(),
        open(&lock, false).unwrap_err(),
        make_private(&lock).unwrap_err(),
        write(&dir.path().join("key"), b"secret").unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "it has a second name (a hard link); remove it");
    }
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    assert_eq!(mode(&theirs), 0o644);
}

#[test]
fn only_regular_files_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), false).unwrap_err();
    assert!(error.kind() == io::ErrorKind::IsADirectory, "{error}");
    let error = open(Path::new("/dev/null"), false).unwrap_err();
    assert_eq!(error.to_string(), "it is not a regular file; remove it");
}

#[test]
fn files_that_an_older_release_left_readable_become_private() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    make_private(&file).unwrap();
    fs::write(&file, "").unwrap();
    set_mode(&file, 0o644);
    make_private(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    // The same holds for the temporary file of an interrupted writer.
    let rest = dir.path().join(".key.tmp");
    fs::write(&rest, "a longer rest").unwrap();
    set_mode(&rest, 0o666);
    write(&dir.path().join("key"), b"secret").unwrap();
    assert_eq!(mode(&dir.path().join("key")), 0o600);
    assert_eq!(read(&dir.path().join("key")).unwrap().as_deref(), Some("secret"));
}

#[test]
fn an_existing_private_folder_is_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki");
    private_dir(&path).unwrap();
    set_mode(&path, 0o755);
    private_dir(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    fs::write(dir.path().join("file"), "").unwrap();
    let error = private_dir(&dir.path().join("file")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    symlink(&path, dir.path().join("link")).unwrap();
    let error = private_dir(&dir.path().join("link")).unwrap_err();
    assert_eq!(error.to_string(), "it is a symbolic link; remove it");
    // `/proc` belongs to root.
    if !geteuid().is_root() {
        let error = private_dir(Path::new("/proc")).unwrap_err();
        assert!(error.to_string().contains("belongs to the user with id 0"), "{error}");
    }
}

#[test]
fn every_user_can_enter_a_public_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    public_dir(&path).unwrap();
    assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o755, 0o755));
    set_mode(&path, 0o700);
    public_dir(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}
