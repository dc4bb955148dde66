//! Permissions of the data directory: only the user can read it, for every umask and mode of the
//! directory, and after an older release.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::json;

use crate::support::{Place, Server};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Checks that other users cannot access anything in a folder.
fn check_private(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{} has mode {:o}", path.display(), mode(&path));
        // The processes of pods decide the modes in the folders of pods.
        if path.is_dir() && path.file_name().unwrap() != "pods" {
            check_private(&path);
        }
    }
}

const PARTS: [&str; 3] = ["store", "node", "pki"];

#[test]
fn data_is_private_for_every_umask_and_mode_of_the_directory() {
    let place = Place::with_umask("000");
    fs::create_dir(place.data()).unwrap();
    set_mode(&place.data(), 0o755);
    let server = Server::up(&place);
    server.create(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "key": "value" },
    }));
    let touch = "umask > \"$PLACE/umask\"; touch \"$PLACE/made\"; mkdir \"$PLACE/folder\"";
    server.create(&place.job("digits", touch, "true", "true"));
    server.wait_for("digits", "Succeeded");
    assert_eq!(mode(&place.data()), 0o755, "the mode of an existing directory must not change");
    check_private(&place.data());
    for part in PARTS {
        assert_eq!(mode(&place.data().join(part)), 0o700, "{part}");
    }
    // Replicas write with the umask of the user.
    assert_eq!(fs::read_to_string(place.path().join("umask")).unwrap().trim(), "0000");
    assert_eq!(mode(&place.path().join("made")), 0o666);
    assert_eq!(mode(&place.path().join("folder")), 0o777);
    server.terminate();

    // An older release created these with wider modes.
    for part in PARTS {
        set_mode(&place.data().join(part), 0o755);
    }
    for file in ["server.lock", "admin-token"] {
        set_mode(&place.data().join(file), 0o644);
    }
    let server = Server::up(&place);
    check_private(&place.data());
    server.terminate();
}

#[test]
fn replica_has_the_umask_of_the_user() {
    let place = Place::with_umask("027");
    let server = Server::up(&place);
    assert_eq!(mode(&place.data()), 0o700, "the data directory was created");
    let touch = "touch \"$PLACE/made\"; while [ ! -e \"$PLACE/end\" ]; do sleep 0.02; done";
    server.create(&place.job("digits", touch, "true", "true"));
    server.kubectl(&["wait", "pod/digits-scheduler-0", "--for=jsonpath={.status.phase}=Running"]);
    // A command in its container has it, too.
    let umask = server.kubectl(&["exec", "digits-scheduler-0", "--", "sh", "-c", "umask"]);
    assert_eq!(umask.trim(), "0027");
    place.write("end", "");
    server.wait_for("digits", "Succeeded");
    assert_eq!(mode(&place.path().join("made")), 0o640);
}

#[test]
fn symbolic_links_in_the_data_directory_are_rejected() {
    for (name, is_dir) in [
        ("server.lock", false),
        ("admin-token", false),
        ("store/LOCK", false),
        ("node/agent.lock", false),
        ("store", true),
        ("node", true),
        ("pki", true),
    ] {
        let place = Place::new();
        let link = place.data().join(name);
        let target = place.path().join("target");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        if is_dir {
            fs::create_dir(&target).unwrap();
        } else {
            fs::write(&target, "unchanged").unwrap();
        }
        set_mode(&target, 0o755);
        symlink(&target, &link).unwrap();

        let data = place.data().display().to_string();
        let done = place.mxjob(&["up", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
        assert_eq!(done.code(), Some(3), "{name}: {}", done.stderr);
        assert!(
            done.stderr.contains("it is a symbolic link; remove it"),
            "{name}: {}",
            done.stderr
        );
        assert_eq!(mode(&target), 0o755, "{name}");
        if is_dir {
            assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{name}");
        } else {
            assert_eq!(fs::read_to_string(&target).unwrap(), "unchanged", "{name}");
        }
        // The cleanup of the test runs `mxjob down`, which would reject the link.
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn folder_of_another_user_is_rejected() {
    if !rustix::process::geteuid().is_root() {
        // Only root can change the owner of a folder.
        return;
    }
    for part in PARTS {
        let place = Place::new();
        let path = place.data().join(part);
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let data = place.data().display().to_string();
        let done = place.mxjob(&["up", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
        assert_eq!(done.code(), Some(3), "{part}: {}", done.stderr);
        let why = "it belongs to the user with id 12345; this process runs as user 0";
        assert!(done.stderr.contains(why), "{part}: {}", done.stderr);
    }
}
