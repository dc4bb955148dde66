//! Starting: the output of a successful start, and the error of a failed one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;

use crate::support::{Done, MXJOB, Place, Server, Text as _};

/// Checks that the start failed with this code and printed only this sentence.
fn check(done: &Done, code: i32, sentence: &str) {
    assert_eq!(done.code(), Some(code), "{done:?}");
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains(sentence), "{:?} should contain {sentence:?}", done.stderr);
    done.stderr.must_start_with("mxjob: ");
    assert_eq!(done.stdout, "");
}

#[test]
fn address_and_kubeconfig_are_printed_when_ready() {
    let place = Place::new();
    let server = Server::up(&place);
    let kubeconfig = place.data().join("kubeconfig");
    assert_eq!(fs::metadata(&kubeconfig).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(place.data()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(server.kubectl(&["get", "--raw", "/readyz"]), "ok");
    let url = server.kubectl(&[
        "config",
        "view",
        "--minify",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
    ]);
    let printed = crate::support::wait_until("the output is complete", || {
        let printed = server.printed();
        printed.ends_with("\n\n").then_some(printed)
    });
    printed.must_start_with(&format!("mxjob is ready at {url}\n"));
    printed.must_contain(&format!("export KUBECONFIG={}", kubeconfig.display()));
}

#[test]
fn apiserver_runs_no_pods() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &["--garbage-collection=false"]);
    server.create(&place.job("idle", "true", "true", "true"));
    assert_eq!(server.kubectl(&["get", "nodes", "-o", "name"]), "");
    assert_eq!(server.kubectl(&["get", "pods", "-o", "name"]), "");
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("mxjob: stopped; no pod is running"), "{log}");
}

#[test]
fn data_directory_in_use_is_rejected() {
    let place = Place::new();
    let server = Server::up(&place);
    let data = place.data().display().to_string();
    let second = place.mxjob(&["up", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    check(&second, 3, &format!("the data directory {data} is in use by process {}", server.id()));
    // The first one is not affected, and its kubeconfig still exists.
    assert_eq!(server.kubectl(&["get", "--raw", "/livez"]), "ok");
}

#[test]
fn port_in_use_is_rejected() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = place.data().display().to_string();
    let done = place.mxjob(&["up", "--data-dir", &data, "--listen", &address]);
    check(&done, 3, &format!("cannot listen on {address}: the port is in use by another process"));
    assert!(!place.data().join("kubeconfig").exists());
}

#[test]
fn address_of_another_machine_is_rejected() {
    let place = Place::new();
    let data = place.data().display().to_string();
    let done = place.mxjob(&["up", "--data-dir", &data, "--listen", "192.0.2.1:7443"]);
    check(&done, 3, "cannot listen on 192.0.2.1:7443: this machine does not have that address");
}

#[test]
fn file_as_data_directory_is_rejected() {
    let place = Place::new();
    let file = place.write("file", "");
    check(&place.mxjob(&["up", "--data-dir", &file]), 3, &format!("{file} is not a directory"));
    let below = format!("{file}/data");
    check(&place.mxjob(&["up", "--data-dir", &below]), 3, &format!("{below} is not a directory"));
}

#[test]
fn missing_permission_is_reported() {
    let place = Place::new();
    // Root may write everywhere, so a test that runs as root starts a copy of the program as
    // another user.
    let program = place.path().join("mxjob");
    fs::copy(MXJOB, &program).unwrap();
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["up", "--data-dir"]).arg(closed.join("data")).current_dir("/");
    if fs::metadata(place.path()).unwrap().uid() == 0 {
        command.uid(65_534);
    }
    let done = Done::of(command.output().unwrap());
    check(
        &done,
        3,
        &format!("no permission to create the data directory {}", closed.join("data").display()),
    );
}

#[test]
fn invalid_token_file_names_its_line() {
    let place = Place::new();
    let tokens = place.write("tokens.csv", "a,ann,1\nb,bob\n");
    let data = place.data().display().to_string();
    let done = place.mxjob(&["apiserver", "--data-dir", &data, "--token-file", &tokens]);
    check(&done, 2, &format!("token file {tokens}, line 2: "));
    assert!(!place.data().exists());
}

#[test]
fn users_of_the_token_file_are_authenticated() {
    let place = Place::new();
    let tokens = place.write("tokens.csv", "s3cret,ann,1,\"system:masters\"\n");
    let server = Server::start(&place, "apiserver", &["--token-file", &tokens]);
    let get =
        |token: &str| server.try_kubectl(&["--token", token, "get", "namespaces", "-o", "name"]);
    assert!(get("s3cret").stdout.contains("namespace/default"));
    assert!(
        get("wrong").stderr.contains("You must be logged in")
            || get("wrong").stderr.contains("Unauthorized")
    );
}

#[test]
fn invalid_configuration_names_file_line_and_key() {
    let place = Place::new();
    let config =
        place.write("config.yaml", "apiVersion: mxjob/v1\nkind: Config\nlisten: nowhere\n");
    check(
        &place.mxjob(&["up", "--config", &config]),
        2,
        &format!(
            "{config}, line 3: listen: must be an address and a port, for example 127.0.0.1:7443"
        ),
    );
    check(&place.mxjob(&["up", "--config", "/no/such/file"]), 2, "cannot read /no/such/file");
}

#[test]
fn configuration_file_replaces_flags() {
    let place = Place::new();
    let config = place.write(
        "config.yaml",
        "apiVersion: mxjob/v1\nkind: Config\ndataDir: data\nnodeName: from-file\n",
    );
    let server = Server::start(&place, "up", &["--config", &config]);
    crate::support::wait_until("the node exists", || {
        (server.kubectl(&["get", "nodes", "-o", "name"]) == "node/from-file\n").then_some(())
    });
}

#[test]
fn server_raises_the_limit_of_open_files() {
    let place = Place::new();
    let data = place.data().display().to_string();
    let script = "ulimit -S -n 256; exec \"$0\" apiserver --listen 127.0.0.1:0 --data-dir \"$1\"";
    let mut server = std::process::Command::new("sh")
        .args(["-c", script, crate::support::MXJOB, &data])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::support::wait_until("the server is ready", || {
        place.data().join("kubeconfig").exists().then_some(())
    });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1].min(65_536), "{line}");
}

#[test]
fn invalid_flag_is_a_usage_error() {
    let place = Place::new();
    let done = place.mxjob(&["up", "--listen", "nowhere"]);
    assert_eq!(done.code(), Some(2));
    done.stderr.must_contain("invalid value 'nowhere' for '--listen <ADDR:PORT>'");
    assert_eq!(place.mxjob(&["upp"]).code(), Some(2));
    assert_eq!(place.mxjob(&[]).code(), Some(2));
}

#[test]
fn version_is_available_as_json_and_yaml() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    assert!(place.mxjob(&["version"]).stdout.starts_with(&format!("mxjob {version} (")));
    let json: serde_json::Value =
        serde_json::from_str(&place.mxjob(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["version"], version);
    assert!(
        place.mxjob(&["version", "-o", "yaml"]).stdout.contains(&format!("\nversion: {version}\n"))
    );
    assert!(place.mxjob(&["--help"]).stdout.contains("Usage: mxjob <COMMAND>"));
}
