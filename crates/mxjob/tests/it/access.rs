//! Who may do what, with kubectl; and the program's own parts, which have the rights of their roles
//! and no others.

use serde_json::json;

use crate::support::{Place, Server, wait_until};

#[test]
fn the_parts_of_the_program_are_never_refused_anything() {
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
    // It ends well, its time is over, it is deleted, and what it owned with it.
    wait_until("the job has gone", || {
        let events = server.kubectl(&["-n", "team", "get", "events"]);
        let gone =
            server.kubectl(&["-n", "team", "get", "mxjobs,pods,services", "-o", "name"]).is_empty();
        (events.contains("MXJobSucceeded") && gone).then_some(())
    });
    server.kubectl(&["-n", "team", "get", "serviceaccount", "default"]);
    server.kubectl(&["delete", "namespace", "team"]);
    let refused = |log: &str| {
        log.lines().filter(|line| line.contains("refused")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(refused(&server.log()), [""; 0]);
    // And a refusal would be seen here.
    assert!(!server.try_kubectl(&["get", "mxjobs", "--as", "ann"]).status.success());
    assert_eq!(refused(&server.log()).len(), 1);
}

#[test]
fn rights_are_given_tried_and_used_with_kubectl() {
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
    assert!(list.contains("mxjobs.kubeflow.org "), "{list}");

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
    assert_eq!(server.kubectl(&["get", "configmaps", "--as", robot, "-o", "name"]), "");
    let token = server.kubectl(&["create", "token", "robot", "--duration", "20m"]);
    assert_eq!(token.split('.').count(), 3, "{token}");
    let who = server.kubectl(&["auth", "whoami", "--as", robot]);
    assert!(who.contains(robot) && who.contains("system:serviceaccounts:default"), "{who}");
    let wide = server.kubectl(&["get", "rolebindings", "-o", "wide"]);
    assert!(wide.contains("ClusterRole/edit") && wide.contains("default/robot"), "{wide}");
    let described = server.kubectl(&["describe", "clusterrole", "view"]);
    assert!(described.contains("mxjobs.kubeflow.org"), "{described}");
}
