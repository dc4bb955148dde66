//! Clusters that cannot be reached or deny access, and users with rights in one namespace.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::{command, endless, short, submit};
use crate::support::{Done, Place, Server, Text as _, signal, until};

/// A kubeconfig for the server, with this token or the administrator's.
pub(crate) fn kubeconfig(place: &Place, token: Option<&str>, namespace: &str) -> String {
    let admin = std::fs::read_to_string(place.data().join("kubeconfig")).unwrap();
    let field = |name: &str| {
        let line =
            admin.lines().find_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(name));
        line.unwrap().trim().trim_matches('"').to_owned()
    };
    let text = format!(
        "\
apiVersion: v1
kind: Config
current-context: main
contexts: [{{name: main, context: {{cluster: c, user: u, namespace: {namespace}}}}}]
clusters: [{{name: c, cluster: {{server: \"{}\", certificate-authority-data: \"{}\"}}}}]
users: [{{name: u, user: {{token: \"{}\"}}}}]
",
        field("server:"),
        field("certificate-authority-data:"),
        token.map_or_else(|| field("token:"), str::to_owned),
    );
    place.write(&format!("kubeconfig-{namespace}"), &text)
}

/// A server with a user `ann` who has a role in the namespace `team`; her kubeconfig.
fn with_ann<'a>(place: &'a Place, role: &str) -> (Server<'a>, String) {
    let tokens = place.write("tokens.csv", "secret-of-ann,ann,1\n");
    let server = Server::start(place, "up", &["--token-file", &tokens]);
    server.kubectl(&["create", "namespace", "team"]);
    server.kubectl(&[
        "-n",
        "team",
        "create",
        "rolebinding",
        "ann",
        "--clusterrole",
        role,
        "--user",
        "ann",
    ]);
    let file = kubeconfig(place, Some("secret-of-ann"), "team");
    (server, file)
}

#[test]
fn editor_of_one_namespace_can_submit() {
    let place = Place::new();
    let (server, ann) = with_ann(&place, "edit");
    let done = submit(&place, &[short(&place, "owned", "echo hello")], &["--kubeconfig", &ann]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 2, "{}", done.stdout);
    assert!(!done.stderr.contains("mxjob: cannot "), "{}", done.stderr);
    // After a timeout her own objects are deleted.
    let done =
        submit(&place, &[endless(&place, "slow")], &["--kubeconfig", &ann, "--timeout", "1s"]);
    assert_eq!(done.code(), Some(124), "{}", done.stderr);
    done.stderr.must_end_with("everything was deleted\n");
    let left = server.kubectl(&["-n", "team", "get", "mxjobs", "-o", "name"]);
    assert_eq!(left, "mxjob.kubeflow.org/owned\n");
    // She has no rights in other namespaces.
    let done = submit(&place, &[endless(&place, "x")], &["--kubeconfig", &ann, "-n", "default"]);
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    done.stderr.must_contain("User \"ann\" cannot list resource \"mxjobs\"");
}

#[test]
fn user_without_rights_for_pods_follows_the_state() {
    let place = Place::new();
    let (_server, ann) = with_ann(&place, "kubeflow-mxjobs-edit");
    let done = submit(&place, &[short(&place, "owned", "echo hello")], &["--kubeconfig", &ann]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    done.stderr.must_contain("mxjob: MXJob owned is successfully completed.");
    let reports = done
        .stderr
        .matches("mxjob: cannot watch the replicas or print their logs: pods is forbidden")
        .count();
    // The role may aggregate rights for pods already; then the logs are printed instead.
    assert_eq!(reports, usize::from(done.stdout.is_empty()), "{}", done.stderr);
}

#[test]
fn revoked_right_is_reported() {
    let place = Place::new();
    let (server, ann) = with_ann(&place, "edit");
    let command = command(&place, &[endless(&place, "owned")], &["--kubeconfig", &ann]);
    let mut lines = place.start(command);
    lines.wait_for("ready");
    server.kubectl(&["-n", "team", "delete", "rolebinding", "ann"]);
    signal(lines.id(), "INT");
    let (status, _) = lines.finish();
    let stderr = place.stderr();
    assert_eq!(status.code(), Some(3), "{stderr}");
    stderr.must_contain(
        "\nmxjob: could not be deleted: job owned: mxjobs.kubeflow.org \"owned\" is forbidden",
    );
}

#[test]
fn service_account_submits_with_its_token() {
    let place = Place::new();
    let server = Server::up(&place);
    server.kubectl(&["create", "serviceaccount", "robot"]);
    server.kubectl(&[
        "create",
        "rolebinding",
        "robot",
        "--clusterrole",
        "edit",
        "--serviceaccount",
        "default:robot",
    ]);
    let token = server.kubectl(&["create", "token", "robot"]);
    let robot = kubeconfig(&place, Some(token.trim()), "default");
    let done = submit(&place, &[short(&place, "robots", "true")], &["--kubeconfig", &robot]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
}

#[test]
fn unusable_cluster_is_reported_in_one_sentence() {
    let place = Place::new();
    let check = |kubeconfig: &str, args: &[&str], code: i32, want: &str| {
        let done = submit(
            &place,
            &[endless(&place, "x")],
            &[&["--kubeconfig", kubeconfig], args].concat(),
        );
        assert_eq!(done.code(), Some(code), "{}", done.stderr);
        assert!(done.stderr.starts_with(want), "{:?} should start with {want:?}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    };
    check("/no/such/file", &[], 2, "mxjob: cannot use the kubeconfig /no/such/file: ");
    // A server that does not serve MXJobs; later its port is closed.
    let kubeconfig_of = |address: std::net::SocketAddr| {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}}}], clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}], users: []}}"
        );
        place.write("kubeconfig", &text)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let file = kubeconfig_of(address);
    check(&file, &["--context", "b"], 2, &format!("mxjob: {file} has no context \"b\"; it has a"));
    let answers = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).unwrap();
        let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","code":404}"#;
        write!(
            connection,
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    });
    check(
        &file,
        &[],
        3,
        &format!(
            "mxjob: http://{address} does not serve MXJob of kubeflow.org/v1; an administrator can install it with `mxjob manifests | kubectl apply --server-side -f -`"
        ),
    );
    answers.join().unwrap();
    check(&file, &[], 3, &format!("mxjob: cannot reach http://{address}: Connection refused"));
}

#[test]
fn proxy_is_rejected() {
    let place = Place::new();
    let _server = Server::start(&place, "apiserver", &[]);
    let mut command = command(&place, &[endless(&place, "x")], &["--detach"]);
    let done = Done::of(command.env("HTTPS_PROXY", "http://127.0.0.1:1").output().unwrap());
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
    assert_eq!(
        done.stderr,
        "mxjob: the kubeconfig or $HTTPS_PROXY sets the proxy http://127.0.0.1:1/, but mxjob does not support proxies\n"
    );
}

#[test]
fn invalid_token_is_reported() {
    let place = Place::new();
    let _server = Server::start(&place, "apiserver", &[]);
    let file = kubeconfig(&place, Some("unknown"), "default");
    let done = submit(&place, &[endless(&place, "x")], &["--kubeconfig", &file]);
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    done.stderr.must_contain(" does not accept our credentials: Unauthorized\n");
}

#[test]
fn deleted_job_has_failed() {
    let place = Place::new();
    let server = Server::up(&place);
    let wait = until("never");
    let job = place.job("short", &wait, &wait, "echo ready; sleep 1000");
    let mut lines = place.start(command(&place, &[job], &[]));
    lines.wait_for("ready");
    server.kubectl(&["delete", "mxjob", "short", "--wait=false"]);
    let (status, _) = lines.finish();
    let stderr = place.stderr();
    assert_eq!(status.code(), Some(1), "{stderr}");
    stderr.must_end_with("mxjob: job short was deleted before it finished\n");
}
