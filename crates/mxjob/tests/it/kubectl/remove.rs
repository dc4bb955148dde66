//! `kubectl delete`: selection, cascading and grace periods.

use super::suspended;
use crate::support::{Place, Server, Text as _, until, wait_until};

fn names(server: &Server<'_>, kinds: &str) -> Vec<String> {
    let text = server.kubectl(&["get", kinds, "-o", "name"]);
    // The server's own service always exists.
    text.lines().filter(|name| *name != "service/kubernetes").map(str::to_owned).collect()
}

/// Deletes a running job with that option and checks whether its pods are deleted.
fn check(cascade: &str, deletes_pods: bool) {
    let place = Place::new();
    let server = Server::up(&place);
    let wait = until("go");
    server.create(&place.job("deleted", &wait, &wait, &wait));
    server.wait_for("deleted", "Running");
    let text = server.kubectl(&["delete", "mxjob", "deleted", cascade]);
    text.must_start_with(r#"mxjob.kubeflow.org "deleted" deleted"#);
    assert_eq!(names(&server, "mxjobs"), Vec::<String>::new());
    if deletes_pods {
        if cascade == "--cascade=foreground" {
            // The job was deleted last.
            assert_eq!(names(&server, "pods,services"), Vec::<String>::new());
        }
        wait_until("the pods are deleted", || {
            names(&server, "pods,services").is_empty().then_some(())
        });
        return;
    }
    assert_eq!(names(&server, "pods").len(), 4);
    let owners = "jsonpath={.items[*].metadata.ownerReferences}";
    assert_eq!(server.kubectl(&["get", "pods,services", "-o", owners]), "");
    let done = server.try_kubectl(&["delete", "pods", "--all", "--force", "--grace-period=0"]);
    done.stderr.must_contain("Immediate deletion");
    assert_eq!(done.stdout.matches("force deleted").count(), 4, "{}", done.stdout);
    assert_eq!(names(&server, "pods"), Vec::<String>::new());
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn background_deletion_deletes_the_pods_after_the_job() {
    check("--cascade=background", true);
}

#[test]
fn foreground_deletion_deletes_the_pods_before_the_job() {
    check("--cascade=foreground", true);
}

#[test]
fn orphaned_pods_stay_until_they_are_force_deleted() {
    check("--cascade=orphan", false);
}

#[test]
fn delete_selects_jobs_by_label_file_field_or_all() {
    let place = Place::new();
    let server = Server::up(&place);
    for name in ["a", "b", "c", "d", "e"] {
        server.create(&suspended(name));
    }
    server.kubectl(&["label", "mxjob", "a", "b", "team=digits"]);
    let text = server.kubectl(&["delete", "mxjobs", "-l", "team=digits", "--dry-run=server"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(names(&server, "mxjobs").len(), 5);
    let text = server.kubectl(&["delete", "mxjobs", "-l", "team=digits"]);
    assert_eq!(text, "mxjob.kubeflow.org \"a\" deleted\nmxjob.kubeflow.org \"b\" deleted\n");
    let file = place.write("c.json", &suspended("c").to_string());
    server.kubectl(&["delete", "-f", &file]);
    let again = server.try_kubectl(&["delete", "-f", &file]);
    again.stderr.must_contain("(NotFound)");
    assert_eq!(server.kubectl(&["delete", "-f", &file, "--ignore-not-found"]), "");
    server.kubectl(&["delete", "mxjobs", "--field-selector=metadata.name=d"]);
    assert_eq!(names(&server, "mxjobs"), ["mxjob.kubeflow.org/e"]);
    server.kubectl(&["delete", "mxjobs", "--all", "--wait=false"]);
    assert_eq!(names(&server, "mxjobs"), Vec::<String>::new());
}

#[test]
fn pod_is_killed_after_the_requested_grace_period() {
    let place = Place::new();
    let server = Server::up(&place);
    let create_pod = |name: &str| {
        let command = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        server.create(
            &serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 600, "containers": [
                {"name": "main", "image": "none", "command": ["/bin/sh", "-c", command]}]}}),
        );
        server.follow(&["logs", "-f", name, "--pod-running-timeout=60s"]).wait_for("ready");
    };
    create_pod("slow");
    server.kubectl(&["delete", "pod", "slow", "--wait=false"]);
    let pod = server.get("pod", "slow");
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 600);
    assert!(
        server.kubectl(&["get", "pod", "slow"]).contains("Terminating"),
        "not shown as terminating"
    );
    // A second request shortens it.
    server.kubectl(&["delete", "pod", "slow", "--grace-period=1"]);
    create_pod("now");
    server.kubectl(&["delete", "pod", "now", "--now"]);
    assert_eq!(names(&server, "pods"), Vec::<String>::new());
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn deleted_namespace_deletes_its_objects() {
    let place = Place::new();
    let server = Server::up(&place);
    server.kubectl(&["create", "namespace", "team"]);
    let file = place.write("job.json", &suspended("inside").to_string());
    server.kubectl(&["create", "-n", "team", "-f", &file]);
    server.kubectl(&["delete", "namespace", "team"]);
    assert_eq!(server.kubectl(&["get", "mxjobs", "-A", "-o", "name"]), "");
    let rejected = server.try_kubectl(&["create", "-n", "team", "-f", &file]);
    rejected.stderr.must_contain(r#"namespaces "team" not found"#);
}
