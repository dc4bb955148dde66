//! Volumes of pods and their access to the API, from objects of a user to files and requests.

use serde_json::{Value, json};

use crate::support::{Place, Server, Text as _, wait_until};

/// Only root may mount.
fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

/// A pod that runs a script once.
fn pod(name: &str, script: &str, volumes: &Value, mounts: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "volumes": volumes,
            "containers": [{
                "name": "main", "image": "none", "command": ["/bin/sh", "-c", script],
                "volumeMounts": mounts,
            }],
        },
    })
}

/// Waits until a pod has succeeded. Returns its log.
fn log_of(server: &Server<'_>, name: &str) -> String {
    wait_until(&format!("the pod {name} has ended"), || {
        let pod = server.get("pod", name);
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        assert_ne!(phase, "Failed", "{pod}");
        (phase == "Succeeded").then_some(())
    });
    server.kubectl(&["logs", name])
}

#[test]
fn a_pod_reaches_the_api_server_as_its_service_account() {
    if !may_mount() {
        return;
    }
    let place = Place::new();
    let server = Server::up(&place);
    // Without a kubeconfig, clients use the files and variables of the pod.
    let script = "export HOME=/nonexistent; cd /var/run/secrets/kubernetes.io/serviceaccount; ls; \
        cat namespace; echo; test -n \"$KUBERNETES_SERVICE_PORT\" || exit 1; \
        kubectl auth whoami -o jsonpath={.status.userInfo.username}";
    server.create(&pod("a", script, &json!([]), &json!([])));
    assert_eq!(
        log_of(&server, "a"),
        "ca.crt\nnamespace\ntoken\ndefault\nsystem:serviceaccount:default:default"
    );
    let mut other = pod(
        "b",
        "! ls /var/run/secrets/kubernetes.io/serviceaccount/token",
        &json!([]),
        &json!([]),
    );
    other["spec"]["automountServiceAccountToken"] = false.into();
    server.create(&other);
    log_of(&server, "b").must_contain("No such file");
    // The volume that pods have on other clusters.
    server.kubectl(&["create", "serviceaccount", "robot"]);
    let sources = json!([
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 600, "audience": "vault" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
    ]);
    let script = "head -1 /srv/ca.crt; cut -d. -f2 /srv/token | tr _- /+ | base64 -d 2>/dev/null";
    let mut third = pod(
        "c",
        script,
        &json!([{ "name": "v", "projected": { "sources": sources } }]),
        &json!([{ "name": "v", "mountPath": "/srv" }]),
    );
    third["spec"]["serviceAccountName"] = "robot".into();
    server.create(&third);
    let log = log_of(&server, "c");
    log.must_start_with("-----BEGIN CERTIFICATE-----\n");
    log.must_contain("\"aud\":[\"vault\"]");
    log.must_contain("system:serviceaccount:default:robot");
}

#[test]
fn claims_keep_files_and_those_of_ephemeral_volumes_end_with_the_pod() {
    if !may_mount() {
        return;
    }
    let place = Place::new();
    let server = Server::up(&place);
    let size = json!({ "requests": { "storage": "1Gi" } });
    let spec = json!({ "accessModes": ["ReadWriteMany"], "resources": size });
    let volumes = json!([
        { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
        { "name": "own", "ephemeral": { "volumeClaimTemplate": { "spec": spec } } },
    ]);
    let mounts =
        json!([{ "name": "data", "mountPath": "/srv" }, { "name": "own", "mountPath": "/opt" }]);
    let script = "echo kept > /srv/file; echo lost > /opt/file; ls /opt";
    server.create(&pod("writer", script, &volumes, &mounts));
    // The pod waits for its claim.
    server.create(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" }, "spec": spec,
    }));
    assert_eq!(log_of(&server, "writer"), "file\n");
    let own = server.get("pvc", "writer-own");
    assert_eq!(own["metadata"]["ownerReferences"][0]["name"], "writer");
    server.kubectl(&["delete", "pod", "writer"]);
    wait_until("the claim of the deleted pod is gone", || {
        (!server.kubectl(&["get", "pvc,pv", "-o", "name"]).contains("writer-own")).then_some(())
    });
    server.create(&pod("reader", "cat /srv/file", &json!([volumes[0]]), &json!([mounts[0]])));
    assert_eq!(log_of(&server, "reader"), "kept\n");
}
