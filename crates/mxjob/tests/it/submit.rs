//! `mxjob submit`: exit codes, output and cleanup on an existing cluster.

pub(crate) mod access;
pub(crate) mod lost;
mod outage;

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Done, Place, Server, Text as _, signal, until, wait_until};

/// `mxjob submit` of objects, with the administrator's kubeconfig unless the arguments have
/// another.
fn command(place: &Place, objects: &[Value], args: &[&str]) -> Command {
    let text: Vec<_> = objects.iter().map(Value::to_string).collect();
    let file = place.write("submitted.yaml", &text.join("\n---\n"));
    let mut command = place.command(&["submit", &file]);
    if !args.contains(&"--kubeconfig") {
        command.arg("--kubeconfig").arg(place.data().join("kubeconfig"));
    }
    command.args(args);
    command
}

pub(crate) fn submit(place: &Place, objects: &[Value], args: &[&str]) -> Done {
    Done::of(command(place, objects, args).output().unwrap())
}

fn settings(data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": data}})
}

/// A job that ends with its scheduler, which waits for the workers.
fn short(place: &Place, name: &str, worker: &str) -> Value {
    let wait = format!("{}; {}", until("done-0"), until("done-1"));
    place.job(name, &wait, &wait, &format!("{worker}; : > $PLACE/done-$DMLC_WORKER_ID"))
}

fn endless(place: &Place, name: &str) -> Value {
    place.job(name, "sleep 1000", "sleep 1000", "echo ready; sleep 1000")
}

/// The names of the objects in the namespace `default`, without those of the server.
fn objects(server: &Server<'_>) -> String {
    let all = server.kubectl(&["get", "mxjobs,pods,services,configmaps,secrets", "-o", "name"]);
    all.lines()
        .filter(|line| !line.contains("kube-root-ca") && *line != "service/kubernetes")
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn success_exits_with_0_and_the_job_stays() {
    let place = Place::new();
    let server = Server::up(&place);
    let job = short(&place, "fine", "echo out $DMLC_WORKER_ID; printf end");
    let done = submit(&place, &[settings("a"), job], &[]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let mut lines: Vec<&str> = done.stdout.lines().collect();
    lines.sort_unstable();
    let want =
        ["worker-0    | end", "worker-0    | out 0", "worker-1    | end", "worker-1    | out 1"];
    assert_eq!(lines, want);
    for line in [
        "mxjob: job fine is in namespace default of https://127.0.0.1:",
        "mxjob: MXJob fine is created.",
        "mxjob: MXJob fine is successfully completed.",
    ] {
        done.stderr.must_contain(line);
    }
    let left = objects(&server);
    assert!(
        left.starts_with("mxjob.kubeflow.org/fine ") && left.ends_with(" configmap/settings"),
        "{left}"
    );
}

#[test]
fn failure_exits_with_1_and_names_replica_and_last_lines() {
    let place = Place::new();
    let _server = Server::up(&place);
    let worker = "[ $DMLC_WORKER_ID = 1 ] || sleep 1000; echo there is no data >&2; exit 3";
    let done = submit(&place, &[place.job("bad", "sleep 1000", "sleep 1000", worker)], &[]);
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    done.stderr.must_contain("mxjob: worker-1 failed: exit code 3\n");
    done.stderr.must_end_with("\nLast lines of worker-1:\n  there is no data\n");
}

/// Starts a job that never ends, and sends a signal once it runs.
fn stopped_by(name: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let place = Place::new();
    let server = Server::up(&place);
    let command = command(&place, &[settings("a"), endless(&place, "endless")], args);
    let mut lines = place.start(command);
    lines.wait_for("ready");
    signal(lines.id(), name);
    let (status, _) = lines.finish();
    let left = objects(&server);
    if left.is_empty() {
        place.wait_until_only_the_server_runs(&server);
    }
    (status.code(), place.stderr(), left)
}

#[test]
fn interrupt_exits_with_130_and_deletes_all_objects() {
    let (code, stderr, left) = stopped_by("INT", &[]);
    assert_eq!((code, left.as_str()), (Some(130), ""), "{stderr}");
    assert!(stderr.ends_with("mxjob: interrupted; everything was deleted\n"), "{stderr}");
}

#[test]
fn termination_exits_with_143_and_keep_leaves_the_job_running() {
    let (code, stderr, left) = stopped_by("TERM", &["--keep"]);
    assert_eq!(code, Some(143), "{stderr}");
    assert!(
        left.contains("mxjob.kubeflow.org/endless pod/") && left.contains("settings"),
        "{left}"
    );
    assert!(
        stderr.contains("mxjob: terminated; job endless keeps running\n  kubectl --kubeconfig "),
        "{stderr}"
    );
    stderr.must_end_with(" -n default delete mxjob endless\n");
}

#[test]
fn second_interrupt_does_not_wait_for_pods_that_ignore_signals() {
    let place = Place::new();
    let server = Server::up(&place);
    let ignore = "trap '' TERM; echo ready; while :; do sleep 1; done";
    let command = command(&place, &[place.job("stubborn", ignore, ignore, ignore)], &[]);
    let mut lines = place.start(command);
    lines.wait_for("ready");
    signal(lines.id(), "INT");
    wait_until("the job is deleted", || {
        server.kubectl(&["get", "mxjobs", "-o", "name"]).is_empty().then_some(())
    });
    signal(lines.id(), "INT");
    assert_eq!(lines.finish().0.code(), Some(130));
    let stderr = place.stderr();
    let want = "mxjob: interrupted; the jobs are being deleted; their pods may still run\n";
    stderr.must_end_with(want);
}

#[test]
fn timeout_exits_with_124_and_deletes_the_job() {
    let place = Place::new();
    let server = Server::up(&place);
    let done = submit(&place, &[settings("a"), endless(&place, "slow")], &["--timeout", "1s"]);
    assert_eq!(done.code(), Some(124), "{}", done.stderr);
    assert!(
        done.stderr
            .ends_with("mxjob: job slow did not finish within 1 s; everything was deleted\n"),
        "{}",
        done.stderr
    );
    assert_eq!(objects(&server), "");
}

#[test]
fn job_without_a_controller_is_reported() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let done = submit(&place, &[endless(&place, "waiting")], &["--timeout", "1s"]);
    assert_eq!(done.code(), Some(124), "{}", done.stderr);
    assert!(
        done.stderr.ends_with(
            "\nmxjob: no controller has picked up job waiting yet; is `mxjob operator` running?\n"
        ),
        "{}",
        done.stderr
    );
    assert_eq!(objects(&server), "");
}

#[test]
fn detach_prints_the_created_objects() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let mut job = endless(&place, "x");
    job["metadata"] = json!({"generateName": "run-"});
    let done = submit(&place, &[job.clone(), settings("a")], &["--detach"]);
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""), "{}", done.stdout);
    let first = server.kubectl(&["get", "mxjobs", "-o", "name"]);
    first.must_start_with("mxjob.kubeflow.org/run-");
    assert_eq!(done.stdout, format!("configmap/settings created\n{} created\n", first.trim()));
    // The second submission creates another job and finds the ConfigMap unchanged.
    let done = submit(&place, &[job.clone(), settings("a")], &["--detach"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    done.stdout.must_start_with("mxjob.kubeflow.org/run-");
    let done = submit(&place, &[job, settings("b")], &["--detach"]);
    assert_eq!(done.code(), Some(2), "{}", done.stdout);
    assert_eq!(
        done.stderr,
        "mxjob: cannot create ConfigMap settings: it already exists with different data\n"
    );
    assert_eq!(server.kubectl(&["get", "mxjobs", "-o", "name"]).lines().count(), 2);
}

#[test]
fn rejected_object_leaves_no_object_of_its_file() {
    let place = Place::new();
    let server = Server::up(&place);
    let job = |name: &str| endless(&place, name);
    let done = submit(&place, &[settings("a"), job("one"), job("two"), job("two")], &[]);
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
    assert_eq!(
        done.stderr,
        "mxjob: cannot create MXJob two: mxjobs.kubeflow.org \"two\" already exists\n"
    );
    assert_eq!(
        server
            .kubectl(&["get", "mxjobs,configmaps", "-o", "name"])
            .lines()
            .filter(|line| !line.contains("kube-root-ca"))
            .count(),
        0
    );
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn namespace_comes_from_option_file_or_context() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    for name in ["ours", "files", "options"] {
        server.kubectl(&["create", "namespace", name]);
    }
    let ours = access::kubeconfig(&place, None, "ours");
    let at = |name: &str, namespace: Option<&str>, args: &[&str]| {
        let mut job = endless(&place, name);
        if let Some(namespace) = namespace {
            job["metadata"]["namespace"] = namespace.into();
        }
        submit(&place, &[job], &[&["--detach", "--kubeconfig", &ours], args].concat())
    };
    assert_eq!(at("a", None, &[]).code(), Some(0));
    assert_eq!(at("b", Some("files"), &[]).code(), Some(0));
    assert_eq!(at("c", Some("files"), &["-n", "options"]).code(), Some(0));
    let lines = server.kubectl(&[
        "get",
        "mxjobs",
        "-A",
        "--no-headers",
        "-o",
        "custom-columns=A:.metadata.namespace,B:.metadata.name",
    ]);
    let found: Vec<Vec<&str>> =
        lines.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(found, [["files", "b"], ["options", "c"], ["ours", "a"]]);
    let missing = at("d", None, &["-n", "nowhere"]);
    assert_eq!(missing.code(), Some(2));
    assert_eq!(
        missing.stderr,
        "mxjob: cannot create MXJob d: namespace nowhere does not exist; create it with `kubectl create namespace nowhere`\n"
    );
    assert!(!server.try_kubectl(&["get", "namespace", "nowhere"]).status.success());
    let wrong = at("e", None, &["-n", "No/where"]);
    assert_eq!(wrong.code(), Some(2));
    wrong.stderr.must_start_with("mxjob: \"No/where\" is not a valid namespace name: ");
}

#[test]
fn jobs_of_several_namespaces_are_followed_to_the_last() {
    let place = Place::new();
    let server = Server::up(&place);
    server.kubectl(&["create", "namespace", "other"]);
    let mut second = short(&place, "second", "echo b");
    second["metadata"]["namespace"] = "other".into();
    let done = submit(&place, &[short(&place, "first", "echo a"), second], &[]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let mut lines: Vec<_> = done
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort_unstable();
    let want =
        ["first-worker-0 | a", "first-worker-1 | a", "second-worker-0 | b", "second-worker-1 | b"];
    assert_eq!(lines, want);
}
