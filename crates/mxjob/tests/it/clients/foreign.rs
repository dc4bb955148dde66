//! Clients in other languages: scripts in `tests/clients` that check the answers themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::kubectl::suspended;
use crate::support::{Done, Lines, Place, Server};

/// A file that `cargo xtask test` installs.
fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.demo").join(path);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask test`, which installs the clients",
        path.display()
    );
    path
}

fn script(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

fn check_python(venv: &str, name: &str) {
    let place = Place::new();
    let _server = Server::up(&place);
    let mut command = Command::new(installed(venv).join("bin/python"));
    command.arg("-B").arg(script(name)).arg(place.data().join("kubeconfig"));
    let done = Done::of(command.current_dir(place.path()).output().unwrap());
    assert!(
        done.status.success() && done.stdout.ends_with("done\n"),
        "{}{}",
        done.stdout,
        done.stderr
    );
}

#[test]
fn newest_python_client_creates_reads_changes_and_deletes_jobs() {
    check_python("clients-venv", "python/newest.py");
}

#[test]
fn kr8s_creates_reads_changes_and_deletes_jobs() {
    check_python("clients-venv", "python/kr8s_calls.py");
}

#[test]
fn lightkube_creates_reads_changes_and_deletes_jobs() {
    check_python("clients-venv", "python/lightkube_calls.py");
}

#[test]
fn training_sdk_creates_reads_changes_and_deletes_jobs() {
    check_python("training-venv", "python/training.py");
}

/// Node.js from the installed packages.
fn node() -> PathBuf {
    let cpu = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    installed(&format!("node/node_modules/node-linux-{cpu}/bin/node"))
}

#[test]
fn javascript_informer_resumes_after_the_server_was_killed_and_restarted() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&suspended("before"));
    let mut command = Command::new(node());
    command
        .arg(script("node/informer.mjs"))
        .arg(place.data().join("kubeconfig"))
        .arg(installed("node"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut informer = Lines::of(command.spawn().unwrap());
    informer.wait_for("add before");
    server.create(&suspended("watched"));
    informer.wait_for("add watched");

    let address = server.address();
    server.kill();
    informer.wait_for("error");
    let server = Server::start(&place, "up", &["--listen", &address]);
    // The informer watches from its last resource version, which the server still knows.
    server.create(&suspended("after"));
    informer.wait_for("add after");
    let patch = json!({"metadata": {"labels": {"team": "digits"}}}).to_string();
    server.kubectl(&["patch", "mxjob", "before", "--type=merge", "-p", &patch]);
    informer.wait_for("update before");
    server.kubectl(&["delete", "mxjob", "watched"]);
    let seen = informer.wait_for("delete");
    assert_eq!(seen, "delete watched");
}
