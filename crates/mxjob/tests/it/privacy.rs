//! Who may read what is written: the user alone, whatever the umask, the mode of the data directory
//! and what an older release left.

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

/// Holds that nothing in a folder is open to others.
fn check_closed(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{} has mode {:o}", path.display(), mode(&path));
        // What is in the folders of pods is for their processes, and out of reach for others.
        if path.is_dir() && path.file_name().unwrap() != "pods" {
            check_closed(&path);
        }
    }
}

const PARTS: [&str; 3] = ["store", "node", "pki"];

#[test]
fn what_is_written_is_private_whatever_the_umask_and_the_directory() {
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
    assert_eq!(mode(&place.data()), 0o755, "it is the user's");
    check_closed(&place.data());
    for part in PARTS {
        assert_eq!(mode(&place.data().join(part)), 0o700, "{part}");
    }
    // The files of replicas are the user's own.
    assert_eq!(fs::read_to_string(place.path().join("umask")).unwrap().trim(), "0000");
    assert_eq!(mode(&place.path().join("made")), 0o666);
    assert_eq!(mode(&place.path().join("folder")), 0o777);
    server.terminate();

    // As an older release left it.
    for part in PARTS {
        set_mode(&place.data().join(part), 0o755);
    }
    for file in ["server.lock", "admin-token"] {
        set_mode(&place.data().join(file), 0o644);
    }
    let server = Server::up(&place);
    check_closed(&place.data());
    server.terminate();
}

#[test]
fn a_replica_has_the_umask_of_its_user() {
    let place = Place::with_umask("027");
    let server = Server::up(&place);
    assert_eq!(mode(&place.data()), 0o700, "made by us");
    let touch = "touch \"$PLACE/made\"; while [ ! -e \"$PLACE/end\" ]; do sleep 0.02; done";
    server.create(&place.job("digits", touch, "true", "true"));
    server.kubectl(&["wait", "pod/digits-scheduler-0", "--for=jsonpath={.status.phase}=Running"]);
    // And so has a command beside it.
    let said = server.kubectl(&["exec", "digits-scheduler-0", "--", "sh", "-c", "umask"]);
    assert_eq!(said.trim(), "0027");
    place.write("end", "");
    server.wait_for("digits", "Succeeded");
    assert_eq!(mode(&place.path().join("made")), 0o640);
}

#[test]
fn nothing_is_opened_through_a_link() {
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
            fs::write(&target, "of somebody").unwrap();
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
            assert_eq!(fs::read_to_string(&target).unwrap(), "of somebody", "{name}");
        }
        // For `down`, which the place calls in the end.
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_part_that_belongs_to_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a folder away.
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
