//! Deleting: what goes along, what is waited for, and what is chosen.

use super::held;
use crate::support::{Place, Server, until, wait_until};

fn names(server: &Server<'_>, kinds: &str) -> Vec<String> {
    server.kubectl(&["get", kinds, "-o", "name"]).lines().map(str::to_owned).collect()
}

/// A running job, deleted in one way; whether its pods go.
fn check(cascade: &str, pods_go: bool) {
    let place = Place::new();
    let server = Server::up(&place);
    let wait = until("go");
    server.create(&place.job("going", &wait, &wait, &wait));
    server.wait_for("going", "Running");
    let text = server.kubectl(&["delete", "mxjob", "going", cascade]);
    assert!(text.starts_with(r#"mxjob.kubeflow.org "going" deleted"#), "{text}");
    assert_eq!(names(&server, "mxjobs"), Vec::<String>::new());
    if pods_go {
        if cascade == "--cascade=foreground" {
            // The job was the last to go.
            assert_eq!(names(&server, "pods,services"), Vec::<String>::new());
        }
        wait_until("the pods are gone", || {
            names(&server, "pods,services").is_empty().then_some(())
        });
        return;
    }
    assert_eq!(names(&server, "pods").len(), 4);
    let owners = "jsonpath={.items[*].metadata.ownerReferences}";
    assert_eq!(server.kubectl(&["get", "pods,services", "-o", owners]), "");
    let done = server.try_kubectl(&["delete", "pods", "--all", "--force", "--grace-period=0"]);
    assert!(done.stderr.contains("Immediate deletion"), "{}", done.stderr);
    assert_eq!(done.stdout.matches("force deleted").count(), 4, "{}", done.stdout);
    assert_eq!(names(&server, "pods"), Vec::<String>::new());
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn in_the_background_the_pods_go_after_the_job() {
    check("--cascade=background", true);
}

#[test]
fn in_the_foreground_the_pods_go_before_the_job() {
    check("--cascade=foreground", true);
}

#[test]
fn orphans_stay_and_go_by_force() {
    check("--cascade=orphan", false);
}

#[test]
fn jobs_to_delete_are_chosen_by_name_label_file_or_all() {
    let place = Place::new();
    let server = Server::up(&place);
    for name in ["a", "b", "c", "d", "e"] {
        server.create(&held(name));
    }
    server.kubectl(&["label", "mxjob", "a", "b", "team=digits"]);
    let text = server.kubectl(&["delete", "mxjobs", "-l", "team=digits", "--dry-run=server"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(names(&server, "mxjobs").len(), 5);
    let text = server.kubectl(&["delete", "mxjobs", "-l", "team=digits"]);
    assert_eq!(text, "mxjob.kubeflow.org \"a\" deleted\nmxjob.kubeflow.org \"b\" deleted\n");
    let file = place.write("c.json", &held("c").to_string());
    server.kubectl(&["delete", "-f", &file]);
    let again = server.try_kubectl(&["delete", "-f", &file]);
    assert!(again.stderr.contains("(NotFound)"), "{}", again.stderr);
    assert_eq!(server.kubectl(&["delete", "-f", &file, "--ignore-not-found"]), "");
    server.kubectl(&["delete", "mxjobs", "--field-selector=metadata.name=d"]);
    assert_eq!(names(&server, "mxjobs"), ["mxjob.kubeflow.org/e"]);
    server.kubectl(&["delete", "mxjobs", "--all", "--wait=false"]);
    assert_eq!(names(&server, "mxjobs"), Vec::<String>::new());
}

#[test]
fn a_pod_has_the_time_to_end_that_is_asked_for() {
    let place = Place::new();
    let server = Server::up(&place);
    let stubborn = |name: &str| {
        let command = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        server.create(
            &serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 600, "containers": [
                {"name": "main", "image": "none", "command": ["/bin/sh", "-c", command]}]}}),
        );
        server.follow(&["logs", "-f", name, "--pod-running-timeout=60s"]).wait_for("ready");
    };
    stubborn("slow");
    server.kubectl(&["delete", "pod", "slow", "--wait=false"]);
    let pod = server.get("pod", "slow");
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 600);
    assert!(server.kubectl(&["get", "pod", "slow"]).contains("Terminating"), "shown as going");
    // A second request shortens it.
    server.kubectl(&["delete", "pod", "slow", "--grace-period=1"]);
    stubborn("now");
    server.kubectl(&["delete", "pod", "now", "--now"]);
    assert_eq!(names(&server, "pods"), Vec::<String>::new());
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn a_namespace_takes_its_content_along() {
    let place = Place::new();
    let server = Server::up(&place);
    server.kubectl(&["create", "namespace", "team"]);
    let file = place.write("job.json", &held("inside").to_string());
    server.kubectl(&["create", "-n", "team", "-f", &file]);
    server.kubectl(&["delete", "namespace", "team"]);
    assert_eq!(server.kubectl(&["get", "mxjobs", "-A", "-o", "name"]), "");
    let gone = server.try_kubectl(&["create", "-n", "team", "-f", &file]);
    assert!(gone.stderr.contains(r#"namespaces "team" not found"#), "{}", gone.stderr);
}
