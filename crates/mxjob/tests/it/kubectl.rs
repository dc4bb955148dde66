//! The commands of kubectl.

mod apply;
mod change;
mod read;
mod remove;

use serde_json::{Value, json};

use crate::support::{Place, Server, Text as _, until, wait_until};

/// A suspended job, so that nothing runs.
pub(crate) fn suspended(name: &str) -> Value {
    let replica = |count: u32| {
        json!({"replicas": count, "restartPolicy": "Never", "template": {"spec": {"containers": [
            {"name": "mxnet", "image": "none", "command": ["/bin/true"]}]}}})
    };
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": {"name": name},
        "spec": {"suspend": true, "cleanPodPolicy": "None", "mxReplicaSpecs": {
            "Scheduler": replica(1), "Server": replica(1), "Worker": replica(2),
        }},
    })
}

#[test]
fn get_watch_and_describe_show_a_job() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut watch = server.follow(&["get", "mxjobs", "-w"]);
    let wait = until("go");
    server.create(&place.job("shown", &wait, &wait, &wait));
    server.wait_for("shown", "Running");
    let header = watch.wait_for("NAME");
    assert_eq!(header.split_whitespace().collect::<Vec<_>>(), ["NAME", "STATE", "AGE"]);
    watch.wait_for("Running");

    let table = server.kubectl(&["get", "mxj", "shown"]);
    assert!(table.lines().nth(1).unwrap().starts_with("shown   Running   "), "{table}");
    let table = server.kubectl(&["get", "pods"]);
    assert!(table.contains("shown-worker-1") && table.contains("1/1     Running"), "{table}");
    let yaml = server.kubectl(&["get", "mxjob", "shown", "-o", "yaml"]);
    yaml.must_start_with("apiVersion: kubeflow.org/v1\nkind: MXJob\nmetadata:\n");
    // Pods, services with the server's own one, and the job.
    assert_eq!(server.kubectl(&["get", "all", "-o", "name"]).lines().count(), 4 + 5 + 1);
    let text = wait_until("describe shows the events", || {
        let text = server.kubectl(&["describe", "mxjob", "shown"]);
        text.contains("MXJobRunning").then_some(text)
    });
    assert!(text.contains("Kind:         MXJob") && text.contains("SuccessfulCreatePod"), "{text}");
    let text = server.kubectl(&["describe", "pod", "shown-worker-0"]);
    assert!(
        text.contains("Controlled By:  MXJob/shown") && text.contains("Started container mxnet"),
        "{text}"
    );

    place.write("go", "");
    watch.wait_for("Succeeded");
}

#[test]
fn logs_are_printed_and_followed() {
    let place = Place::new();
    let server = Server::up(&place);
    let print = format!("echo first; echo second >&2; {}; echo third", until("go"));
    server.create(&place.job("logging", &print, &print, &print));
    server.wait_for("logging", "Running");
    let mut log = server.follow(&["logs", "-f", "logging-worker-0"]);
    log.wait_for("second");
    assert_eq!(server.kubectl(&["logs", "logging-worker-0"]), "first\nsecond\n");
    assert_eq!(server.kubectl(&["logs", "--tail=1", "logging-worker-0"]), "second\n");
    let stamped = server.kubectl(&["logs", "--timestamps", "--tail=1", "logging-worker-0"]);
    assert!(stamped.starts_with("20") && stamped.ends_with("Z second\n"), "{stamped}");
    assert!(
        server
            .try_kubectl(&["logs", "--previous", "logging-worker-0"])
            .stderr
            .contains("previous terminated container")
    );
    place.write("go", "");
    let (status, lines) = log.finish();
    assert!(status.success());
    assert_eq!(lines, ["first", "second", "third"]);
}

#[test]
fn mutable_fields_change_and_immutable_fields_are_rejected() {
    let place = Place::new();
    let server = Server::up(&place);
    let wait = until("go");
    server.create(&place.job("changed", &wait, &wait, &wait));

    server.kubectl(&["label", "mxjob", "changed", "team=digits"]);
    server.kubectl(&["annotate", "mxjob", "changed", "note=a test"]);
    server.kubectl(&[
        "patch",
        "mxjob",
        "changed",
        "--type=merge",
        "-p",
        r#"{"spec":{"activeDeadlineSeconds":600}}"#,
    ]);
    server.kubectl(&[
        "patch",
        "mxjob",
        "changed",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/spec/cleanPodPolicy","value":"All"}]"#,
    ]);
    let mut job = server.get("mxjob", "changed");
    assert_eq!(job["metadata"]["labels"], json!({"team": "digits"}));
    assert_eq!(job["metadata"]["annotations"]["note"], "a test");
    assert_eq!(
        (&job["spec"]["activeDeadlineSeconds"], &job["spec"]["cleanPodPolicy"]),
        (&json!(600), &json!("All"))
    );
    assert_eq!(job["metadata"]["generation"], 3);
    assert_eq!(
        server.kubectl(&["get", "mxjobs", "-l", "team=digits", "-o", "name"]),
        "mxjob.kubeflow.org/changed\n"
    );
    assert_eq!(server.kubectl(&["get", "mxjobs", "-l", "team!=digits", "-o", "name"]), "");

    job["spec"]["ttlSecondsAfterFinished"] = json!(60);
    job["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let replaced = server.kubectl_with(&["replace", "-f", "-"], &job);
    assert_eq!(replaced.stdout, "mxjob.kubeflow.org/changed replaced\n", "{}", replaced.stderr);

    job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(5);
    let rejected = server.kubectl_with(&["replace", "-f", "-"], &job);
    assert_eq!(rejected.code(), Some(1));
    assert!(
        rejected.stderr.contains("spec.mxReplicaSpecs") && rejected.stderr.contains("Forbidden"),
        "{}",
        rejected.stderr
    );
    let rejected =
        server.try_kubectl(&["patch", "mxjob", "changed", "--type=strategic", "-p", "{}"]);
    assert!(
        rejected.stderr.contains("415") || rejected.stderr.contains("media type"),
        "{}",
        rejected.stderr
    );

    server.kubectl(&["delete", "mxjob", "changed"]);
    assert!(server.try_kubectl(&["get", "mxjob", "changed"]).stderr.contains("(NotFound)"));
}

#[test]
fn create_of_an_invalid_job_names_every_error_and_creates_nothing() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = place.job("invalid", "true", "true", "true");
    job["spec"]["mxReplicaSpecs"]["Scheduler"]["replicas"] = json!(2);
    job["spec"]["cleanPodPolicy"] = json!("Sometimes");
    let rejected = server.kubectl_with(&["create", "-f", "-"], &job);
    assert_eq!(rejected.code(), Some(1));
    for part in ["spec.mxReplicaSpecs.Scheduler.replicas", "spec.cleanPodPolicy", "Sometimes"] {
        rejected.stderr.must_contain(part);
    }
    job = place.job("invalid", "true", "true", "true");
    job["spec"]["unknown"] = Value::Bool(true);
    let rejected = server.kubectl_with(&["create", "-f", "-"], &job);
    rejected.stderr.must_contain(r#"unknown field "spec.unknown""#);
    assert_eq!(server.kubectl(&["get", "mxjobs,pods", "-o", "name"]), "");
}

#[test]
fn top_shows_what_pods_and_nodes_use() {
    let place = Place::new();
    let server = Server::up(&place);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"}}, "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "none", "command": ["sleep", "1000"]}],
    }});
    server.create(&pod);
    server.kubectl(&["wait", "--for=condition=Ready", "pod/p", "--timeout=60s"]);
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let all = words(&server.kubectl(&["top", "pods"]));
    assert_eq!(all[..4], ["NAME", "CPU(cores)", "MEMORY(bytes)", "p"], "{all:?}");
    assert!(all[4].ends_with('m') && all[5].ends_with("Mi"), "{all:?}");
    let containers = words(&server.kubectl(&["top", "pod", "p", "--containers", "--no-headers"]));
    assert_eq!(containers[..2], ["p", "c"], "{containers:?}");
    let selected = server.try_kubectl(&["top", "pods", "-l", "app=b"]);
    assert!(!selected.stdout.contains("p "), "{}", selected.stdout);
    let nodes = words(&server.kubectl(&["top", "nodes", "--no-headers"]));
    assert!(nodes[1].ends_with('m') && nodes[2].ends_with('%'), "{nodes:?}");
    let metrics = server.kubectl(&["get", "--raw", "/metrics"]);
    for family in ["node_cpu_usage_seconds_total", "container_memory_working_set_bytes"] {
        // A scrape gets the sample of the one before.
        assert!(metrics.contains(family), "{metrics}");
    }
    server.kubectl(&["delete", "pod", "p", "--grace-period=0", "--force"]);
}
