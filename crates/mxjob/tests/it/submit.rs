//! `mxjob submit`: the same as `mxjob run`, on a cluster that is there already and knows us as one of its users.

pub(crate) mod access;
pub(crate) mod lost;
mod outage;

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Done, Lines, Place, Server, signal, until, wait_until};

/// `mxjob submit` of objects, as the administrator unless the arguments say otherwise.
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

/// What a submission can leave in the namespace `default`.
fn there(server: &Server<'_>) -> String {
    let all = server.kubectl(&["get", "mxjobs,pods,services,configmaps,secrets", "-o", "name"]);
    all.lines()
        .filter(|line| !line.contains("kube-root-ca") && *line != "service/kubernetes")
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn success_is_0_and_the_job_stays_to_be_looked_at() {
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
        assert!(done.stderr.contains(line), "{}", done.stderr);
    }
    let left = there(&server);
    assert!(
        left.starts_with("mxjob.kubeflow.org/fine ") && left.ends_with(" configmap/settings"),
        "{left}"
    );
}

#[test]
fn failure_is_1_and_names_the_replica_how_and_its_last_lines() {
    let place = Place::new();
    let _server = Server::up(&place);
    let worker = "[ $DMLC_WORKER_ID = 1 ] || sleep 1000; echo there is no data >&2; exit 3";
    let done = submit(&place, &[place.job("bad", "sleep 1000", "sleep 1000", worker)], &[]);
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("mxjob: worker-1 failed: exit code 3\n"), "{}", done.stderr);
    assert!(
        done.stderr.ends_with("\nThe last lines of worker-1:\n  there is no data\n"),
        "{}",
        done.stderr
    );
}

/// Starts a job that never ends by itself, and sends a signal once it runs.
fn stopped_by(name: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let place = Place::new();
    let server = Server::up(&place);
    let errors = place.path().join("stderr");
    let mut command = command(&place, &[settings("a"), endless(&place, "endless")], args);
    command.stdout(Stdio::piped()).stderr(std::fs::File::create(&errors).unwrap());
    let mut lines = Lines::of(command.spawn().unwrap());
    lines.wait_for("ready");
    signal(lines.id(), name);
    let (status, _) = lines.finish();
    let left = there(&server);
    if left.is_empty() {
        place.wait_until_only_the_server_runs(&server);
    }
    (status.code(), std::fs::read_to_string(&errors).unwrap(), left)
}

#[test]
fn an_interrupt_is_130_and_nothing_of_the_file_is_left() {
    let (code, said, left) = stopped_by("INT", &[]);
    assert_eq!((code, left.as_str()), (Some(130), ""), "{said}");
    assert!(said.ends_with("mxjob: interrupted; everything was stopped\n"), "{said}");
}

#[test]
fn a_termination_is_143_and_keep_leaves_the_job_running() {
    let (code, said, left) = stopped_by("TERM", &["--keep"]);
    assert_eq!(code, Some(143), "{said}");
    assert!(
        left.contains("mxjob.kubeflow.org/endless pod/") && left.contains("settings"),
        "{left}"
    );
    assert!(
        said.contains("mxjob: told to stop; job endless goes on\n  kubectl --kubeconfig "),
        "{said}"
    );
    assert!(said.ends_with(" -n default delete mxjob endless\n"), "{said}");
}

#[test]
fn a_second_interrupt_does_not_wait_for_pods_that_do_not_listen() {
    let place = Place::new();
    let server = Server::up(&place);
    let deaf = "trap '' TERM; echo ready; while :; do sleep 1; done";
    let errors = place.path().join("stderr");
    let mut command = command(&place, &[place.job("deaf", deaf, deaf, deaf)], &[]);
    command.stdout(Stdio::piped()).stderr(std::fs::File::create(&errors).unwrap());
    let mut lines = Lines::of(command.spawn().unwrap());
    lines.wait_for("ready");
    signal(lines.id(), "INT");
    wait_until("the job is deleted", || {
        server.kubectl(&["get", "mxjobs", "-o", "name"]).is_empty().then_some(())
    });
    signal(lines.id(), "INT");
    assert_eq!(lines.finish().0.code(), Some(130));
    let said = std::fs::read_to_string(&errors).unwrap();
    let want =
        "mxjob: interrupted; the jobs are being deleted, but their pods were not waited for\n";
    assert!(said.ends_with(want), "{said}");
}

#[test]
fn a_job_that_takes_too_long_is_124_and_deleted() {
    let place = Place::new();
    let server = Server::up(&place);
    let done = submit(&place, &[settings("a"), endless(&place, "slow")], &["--timeout", "1s"]);
    assert_eq!(done.code(), Some(124), "{}", done.stderr);
    assert!(
        done.stderr
            .ends_with("mxjob: job slow had not finished after 1 s; everything was stopped\n"),
        "{}",
        done.stderr
    );
    assert_eq!(there(&server), "");
}

#[test]
fn a_job_that_nobody_takes_up_is_said() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let done = submit(&place, &[endless(&place, "lonely")], &["--timeout", "1s"]);
    assert_eq!(done.code(), Some(124), "{}", done.stderr);
    assert!(
        done.stderr.ends_with(
            "\nmxjob: nobody has taken up job lonely yet: does `mxjob operator` run there?\n"
        ),
        "{}",
        done.stderr
    );
    assert_eq!(there(&server), "");
}

#[test]
fn detached_it_prints_what_was_created() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let mut job = endless(&place, "x");
    job["metadata"] = json!({"generateName": "run-"});
    let done = submit(&place, &[job.clone(), settings("a")], &["--detach"]);
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""), "{}", done.stdout);
    let first = server.kubectl(&["get", "mxjobs", "-o", "name"]);
    assert!(first.starts_with("mxjob.kubeflow.org/run-"), "{first}");
    assert_eq!(done.stdout, format!("configmap/settings created\n{} created\n", first.trim()));
    // Again: another job, with the same settings, which are there.
    let done = submit(&place, &[job.clone(), settings("a")], &["--detach"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(done.stdout.starts_with("mxjob.kubeflow.org/run-"), "{}", done.stdout);
    let done = submit(&place, &[job, settings("b")], &["--detach"]);
    assert_eq!(done.code(), Some(2), "{}", done.stdout);
    assert_eq!(
        done.stderr,
        "mxjob: cannot create ConfigMap settings: it is there already, and has other data\n"
    );
    assert_eq!(server.kubectl(&["get", "mxjobs", "-o", "name"]).lines().count(), 2);
}

#[test]
fn nothing_is_left_of_a_file_of_which_something_is_refused() {
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
fn the_namespace_is_that_of_the_option_the_file_or_the_context() {
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
        "mxjob: cannot create MXJob d: there is no namespace nowhere (`kubectl create namespace nowhere` makes it)\n"
    );
    assert!(!server.try_kubectl(&["get", "namespace", "nowhere"]).status.success());
    let wrong = at("e", None, &["-n", "No/where"]);
    assert_eq!(wrong.code(), Some(2));
    assert!(
        wrong.stderr.starts_with("mxjob: \"No/where\" cannot be the name of a namespace: "),
        "{}",
        wrong.stderr
    );
}

#[test]
fn several_jobs_of_several_namespaces_are_followed_to_the_last() {
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
