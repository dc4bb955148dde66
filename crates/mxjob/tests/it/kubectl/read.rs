//! `kubectl get`, `wait`, `explain` and other commands that read.

use serde_json::json;

use super::suspended;
use crate::support::{Place, Server, Text as _, until, wait_until};

fn check(server: &Server<'_>, args: &[&str], lines: &[&str]) {
    let text = server.kubectl(args);
    assert_eq!(text.lines().collect::<Vec<_>>(), lines, "{args:?}");
}

#[test]
fn get_lists_objects_in_every_output_format() {
    let place = Place::new();
    let server = Server::up(&place);
    for (name, team, seconds) in [("b", "digits", 30), ("a", "letters", 20), ("c", "digits", 10)] {
        let mut job = suspended(name);
        job["metadata"]["labels"] = json!({"team": team});
        job["spec"]["ttlSecondsAfterFinished"] = json!(seconds);
        server.create(&job);
    }
    let sorted = ["mxjob.kubeflow.org/a", "mxjob.kubeflow.org/b", "mxjob.kubeflow.org/c"];
    check(&server, &["get", "mxjobs", "-o", "name"], &sorted);
    check(&server, &["get", "mxjobs", "-o", "name", "--chunk-size=1"], &sorted);
    let by_seconds =
        ["--sort-by=.spec.ttlSecondsAfterFinished", "-o", "jsonpath={.items[*].metadata.name}"];
    check(&server, &[&["get", "mxjobs"], &by_seconds[..]].concat(), &["c a b"]);
    check(
        &server,
        &["get", "mxjobs", "-l", "team in (digits),team", "-o", "name"],
        &[sorted[1], sorted[2]],
    );
    check(&server, &["get", "mxjobs", "-l", "team!=digits", "-o", "name"], &[sorted[0]]);
    check(
        &server,
        &["get", "mxjobs", "--field-selector=metadata.name=c", "-o", "name"],
        &[sorted[2]],
    );
    let columns = "custom-columns=NAME:.metadata.name,AFTER:.spec.ttlSecondsAfterFinished";
    check(
        &server,
        &["get", "mxj", "a", "c", "-o", columns],
        &["NAME   AFTER", "a      20", "c      10"],
    );
    check(&server, &["get", "mxjob/a", "-o", "go-template={{.spec.cleanPodPolicy}}"], &["None"]);
    assert_eq!(server.get("mxjobs.v1.kubeflow.org", "a")["kind"], "MXJob");
    let list: serde_json::Value =
        serde_json::from_str(&server.kubectl(&["get", "mxjobs", "-o", "json"])).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let yaml = server.kubectl(&["get", "mxjob", "a", "-o", "yaml"]);
    yaml.must_contain("\n  ttlSecondsAfterFinished: 20\n");
    for (args, header) in [
        (&["get", "mxjobs", "-o", "wide"][..], "NAME STATE AGE"),
        (&["get", "mxjobs", "-A"], "NAMESPACE NAME STATE AGE"),
        (&["get", "mxjobs", "-L", "team", "--show-labels"], "NAME STATE AGE TEAM LABELS"),
        (
            &["get", "nodes", "-o", "wide"],
            "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
        ),
        (&["get", "mxjobs", "--chunk-size=1"], "NAME STATE AGE"),
    ] {
        let text = server.kubectl(args);
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first.split_whitespace().collect::<Vec<_>>().join(" "), header, "{args:?}");
    }
    check(&server, &["get", "mxjobs", "--no-headers", "-l", "team=none"], &[]);
    let unknown = server.try_kubectl(&["get", "mxjobs", "--field-selector=spec.none=1"]);
    unknown.stderr.must_contain("field label not supported");
    let unknown = server.try_kubectl(&["get", "sxjobs"]);
    unknown.stderr.must_contain("doesn't have a resource type");
}

#[test]
fn get_shows_pods_services_and_events_of_a_job() {
    let place = Place::new();
    let server = Server::up(&place);
    let print = format!("echo here; {}", until("go"));
    server.create(&place.job("read", &print, &print, &print));
    server.wait_for("read", "Running");
    server.kubectl(&[
        "wait",
        "mxjob/read",
        "--for=jsonpath={.status.replicaStatuses.Worker.active}=2",
        "--timeout=60s",
    ]);
    server.kubectl(&["wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s"]);
    let pods =
        ["pod/read-scheduler-0", "pod/read-server-0", "pod/read-worker-0", "pod/read-worker-1"];
    check(&server, &["get", "pods", "-o", "name", "--field-selector=status.phase=Running"], &pods);
    check(&server, &["get", "pods", "-o", "name", "--field-selector=status.phase!=Running"], &[]);
    let role = "training.kubeflow.org/job-name=read,training.kubeflow.org/replica-type=worker";
    check(&server, &["get", "pods", "-o", "name", "-l", role], &pods[2..]);
    let text = server.kubectl(&["get", "pods", "-o", "wide", "--sort-by=.metadata.name"]);
    assert!(text.lines().next().unwrap().contains("NOMINATED NODE"), "{text}");
    assert_eq!(text.lines().count(), 5);
    let text = server.kubectl(&["get", "services", "read-worker-0"]);
    text.must_contain("ClusterIP   None");
    let all = wait_until("the log of every pod has the line", || {
        let text =
            server.kubectl(&["logs", "-l", "training.kubeflow.org/job-name=read", "--prefix"]);
        (text.lines().count() == 4).then_some(text)
    });
    all.must_contain("[pod/read-worker-1/mxnet] here");
    check(&server, &["logs", "read-worker-0", "-c", "mxnet", "--limit-bytes=2"], &["he"]);
    let text = wait_until("the events are listed", || {
        let text = server.kubectl(&["events", "--for", "mxjob/read"]);
        text.contains("MXJobRunning").then_some(text)
    });
    assert!(!text.contains("Pod/read"), "{text}");
    let text = server.kubectl(&["get", "events", "--field-selector=involvedObject.kind=Pod"]);
    assert!(text.contains("pod/read-worker-0") && !text.contains("mxjob/read "), "{text}");
    let text = server.kubectl(&["describe", "node"]);
    assert!(text.contains("Non-terminated Pods:") && text.contains("read-worker-0"), "{text}");
    let text = server.kubectl(&["describe", "service", "read-worker-0"]);
    text.must_contain("training.kubeflow.org/replica-index=0");

    let mut deletion = server.follow(&["wait", "mxjob/read", "--for=delete", "--timeout=60s"]);
    place.write("go", "");
    server.wait_for("read", "Succeeded");
    server.kubectl(&["delete", "mxjob", "read"]);
    deletion.wait_for("condition met");
    let never =
        server.try_kubectl(&["wait", "mxjob/read", "--for=condition=Running", "--timeout=1s"]);
    never.stderr.must_contain("(NotFound)");
}

#[test]
fn explain_discovery_and_access_reviews_answer() {
    let place = Place::new();
    let server = Server::up(&place);
    let text = server.kubectl(&["explain", "mxjob.spec.mxReplicaSpecs", "--recursive"]);
    for part in
        ["KIND:       MXJob", "restartPolicy\t<string>", "template\t<Object>", "containers\t<[]"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = server.kubectl(&["explain", "mxjob.spec.cleanPodPolicy"]);
    assert!(text.contains("ENUM:") && text.contains("Which pods to delete"), "{text}");
    let text = server.kubectl(&["explain", "pod.spec.containers.env"]);
    text.must_contain("valueFrom");
    let text = server.try_kubectl(&["explain", "mxjob.spec.none"]).stderr;
    text.must_contain(r#"field "none" does not exist"#);

    let text = server.kubectl(&["api-resources"]);
    assert!(text.contains("mxjobs") && text.contains("mxj "), "{text}");
    check(
        &server,
        &["api-resources", "--api-group=kubeflow.org", "--no-headers", "-o", "name"],
        &["mxjobs.kubeflow.org"],
    );
    let text = server.kubectl(&["api-versions"]);
    assert!(text.contains("kubeflow.org/v1\n") && text.ends_with("v1\n"), "{text}");
    check(&server, &["auth", "can-i", "create", "mxjobs"], &["yes"]);
    check(&server, &["auth", "can-i", "get", "/healthz"], &["yes"]);
    let done = server.try_kubectl(&["auth", "can-i", "delete", "mxjobs", "--as=ann"]);
    assert_eq!((done.stdout.as_str(), done.code()), ("no\n", Some(1)), "{}", done.stderr);
    let text = server.kubectl(&["auth", "can-i", "--list"]);
    assert!(text.contains("*.*") && text.contains("[*]"), "{text}");
    let text = server.kubectl(&["auth", "whoami"]);
    text.must_contain("system:masters");
    let text = server.kubectl(&["version"]);
    text.must_contain("Server Version: v1.");
    assert!(server.kubectl(&["cluster-info"]).contains("https://127.0.0.1"), "cluster-info");
}
