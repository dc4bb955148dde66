//! The node of an ordinary user. These tests run in a process of that user, which a test of root
//! starts.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use mxjob_node::runtime::IsolationMode;
use serde_json::json;

use crate::{
    exec,
    harness::Test,
    isolation, mounts, names,
    node::{Node, lines, run, shell},
    security,
    site::Site,
    volumes,
};

crate::tests!("user": everything_works_for_an_ordinary_user);

/// The user of the tests below.
const USER: &str = "65533";

/// What also works without root.
pub(crate) fn tests() -> Vec<Test> {
    const OWN: &[Test] = &[
        ("user::has_no_more_rights", has_no_more_rights),
        ("user::commands_enter_the_container", commands_enter_the_container),
        ("user::threads_and_children_keep_the_address", threads_and_children_keep_the_address),
    ];
    [
        OWN,
        mounts::TESTS,
        isolation::TESTS,
        exec::TESTS,
        security::TESTS,
        names::TESTS,
        volumes::TESTS,
    ]
    .concat()
}

fn everything_works_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The user may have no access to the folder of the original.
    let program = dir.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
        .arg(&program)
        .arg("as-user")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("has_no_more_rights ... ok"), "{errors}");
}

fn has_no_more_rights() {
    let node = Node::new(IsolationMode::Auto);
    assert_eq!(node.runtime().isolation().why_no_mounts(), None);
    let pod = node.pod("p");
    run(&pod, shell("id -u; grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status; cat /etc/shadow"));
    let lines = lines(&pod);
    assert_eq!(lines[0], USER);
    for line in &lines[1..4] {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    assert!(
        !Path::new("/etc/shadow").exists() || lines[4].contains("Permission denied"),
        "{lines:?}"
    );
}

/// Commands see the mounts, the host name and the address of the container.
fn commands_enter_the_container() {
    crate::site::block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = crate::site::shell("touch /mxjob-mount/file /dev/shm/here; exec sleep 1000");
        spec["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
        let container = &mut spec["containers"][0];
        container["volumeMounts"] = json!([{ "name": "v", "mountPath": "/mxjob-mount" }]);
        container["env"] = json!([{ "name": "PATH", "value": std::env::var("PATH").unwrap() }]);
        site.create("digits-worker-0", spec);
        let pod = site.phase("digits-worker-0", "Running").await;
        let script = "until ls /mxjob-mount/file /dev/shm/here 2>/dev/null; do sleep 0.01; done
            id -u; uname -n
            python3 -c 'import socket; print(socket.create_server((\"\", 0)).getsockname()[0])'";
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let (output, errors, code) = crate::exec::run(&site, uid, script).await;
        let address = pod["status"]["podIP"].as_str().unwrap();
        let expect = ["/dev/shm/here", "/mxjob-mount/file", USER, "digits-worker-0", address];
        let lines: Vec<_> = output.lines().rev().take(5).collect();
        assert!(expect.iter().rev().eq(&lines), "{output} {errors} {code}");
    });
}

/// Every thread may bind and connect, also in the background and without a shell.
fn threads_and_children_keep_the_address() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let script = "
import os, socket, threading
def serve(): 
    s = socket.create_server(('', 0)); found.append(s.getsockname())
    c = socket.create_connection(('127.0.0.1', s.getsockname()[1])); found.append(c.getsockname()); found.append(s.accept()[1])
found = []
threads = [threading.Thread(target=serve) for _ in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
if os.fork() == 0:
    serve(); print(len(found), {a for a, *_ in found}, flush=True)
else:
    os.wait()
    s = socket.socket(socket.AF_INET6); s.bind(('::', 0)); print(s.getsockname()[0])
    print(socket.create_server(('::', 0), family=socket.AF_INET6).getsockname()[0])
    try: socket.create_connection(('127.0.0.1', 1))
    except ConnectionRefusedError: print('refused')
    s = socket.socket(socket.AF_UNIX); s.bind('\\0mxjob-%d' % os.getpid()); print('unix')
";
    let exit = run(&pod, isolation::with_path(crate::node::argv(&["python3", "-c", script])));
    let address = pod.address();
    let expect = [
        format!("63 {{'{address}'}}"),
        format!("::ffff:{address}"),
        "::".into(),
        "refused".into(),
        "unix".into(),
    ];
    assert_eq!((lines(&pod), exit.code), (expect.to_vec(), Some(0)));
}
