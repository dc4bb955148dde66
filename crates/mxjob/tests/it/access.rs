//! Authorization with kubectl, and the rights of the program's own components.

use serde_json::json;

use crate::support::{Place, Server, Text as _, wait_until};

#[test]
fn no_request_of_a_component_is_forbidden() {
    let place = Place::new();
    let server = Server::start(&place, "up", &["--log-level", "info,mxjob_apiserver=debug"]);
    server.kubectl(&["create", "namespace", "team"]);
    server.kubectl(&["-n", "team", "create", "configmap", "settings", "--from-literal=key=value"]);
    server.kubectl(&[
        "-n",
        "team",
        "create",
        "secret",
        "generic",
        "secret",
        "--from-literal=key=value",
    ]);
    let mut job = place.job("whole", "true", "true", "test \"$A$B\" = valuevalue");
    job["metadata"]["namespace"] = "team".into();
    job["spec"]["ttlSecondsAfterFinished"] = 1.into();
    let from = |kind: &str, name: &str| json!({kind: {"name": name, "key": "key"}});
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "A", "valueFrom": from("configMapKeyRef", "settings")},
        {"name": "B", "valueFrom": from("secretKeyRef", "secret")},
    ]);
    server.create(&job);
    // The job succeeds; after its TTL it is deleted with its pods and services.
    wait_until("the job is deleted", || {
        let events = server.kubectl(&["-n", "team", "get", "events"]);
        let is_deleted =
            server.kubectl(&["-n", "team", "get", "mxjobs,pods,services", "-o", "name"]).is_empty();
        (events.contains("MXJobSucceeded") && is_deleted).then_some(())
    });
    server.kubectl(&["-n", "team", "get", "serviceaccount", "default"]);
    server.kubectl(&["delete", "namespace", "team"]);
    let refused = |log: &str| {
        log.lines().filter(|line| line.contains("refused")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(refused(&server.log()), [""; 0]);
    // The check works: a forbidden request is in the log.
    assert!(!server.try_kubectl(&["get", "mxjobs", "--as", "ann"]).status.success());
    assert_eq!(refused(&server.log()).len(), 1);
}

#[test]
fn roles_and_bindings_made_with_kubectl_grant_rights() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let can = |args: &[&str]| {
        let done = server.try_kubectl(&[&["auth", "can-i"], args].concat());
        done.stdout.trim().to_owned()
    };
    assert_eq!(can(&["create", "mxjobs"]), "yes");
    assert_eq!(can(&["create", "mxjobs", "--as", "ann"]), "no");
    server.kubectl(&["create", "rolebinding", "ann", "--clusterrole", "edit", "--user", "ann"]);
    assert_eq!(can(&["create", "mxjobs", "--as", "ann"]), "yes");
    assert_eq!(can(&["create", "mxjobs", "--as", "ann", "-n", "kube-system"]), "no");
    assert_eq!(can(&["get", "/metrics", "--as", "ann"]), "no");
    let list = server.kubectl(&["auth", "can-i", "--list", "--as", "ann"]);
    list.must_contain("mxjobs.kubeflow.org ");

    server.kubectl(&["create", "role", "maps", "--verb", "get,list", "--resource", "configmaps"]);
    server.kubectl(&["create", "serviceaccount", "robot"]);
    server.kubectl(&[
        "create",
        "rolebinding",
        "robot",
        "--role",
        "maps",
        "--serviceaccount",
        "default:robot",
    ]);
    let robot = "system:serviceaccount:default:robot";
    assert_eq!(can(&["list", "configmaps", "--as", robot]), "yes");
    let listed = server.kubectl(&["get", "configmaps", "--as", robot, "-o", "name"]);
    // The namespace has it after some milliseconds.
    assert!(matches!(listed.as_str(), "" | "configmap/kube-root-ca.crt\n"), "{listed}");
    let token = server.kubectl(&["create", "token", "robot", "--duration", "20m"]);
    assert_eq!(token.split('.').count(), 3, "{token}");
    let who = server.kubectl(&["auth", "whoami", "--as", robot]);
    assert!(who.contains(robot) && who.contains("system:serviceaccounts:default"), "{who}");
    let wide = server.kubectl(&["get", "rolebindings", "-o", "wide"]);
    assert!(wide.contains("ClusterRole/edit") && wide.contains("default/robot"), "{wide}");
    let described = server.kubectl(&["describe", "clusterrole", "view"]);
    described.must_contain("mxjobs.kubeflow.org");
}
