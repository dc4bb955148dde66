//! Pods: their rules, their defaults, and what an update may change.

use serde_json::{Value, json};

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "x" }] },
    });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

/// The fields of the causes of a refusal.
#[track_caller]
fn causes((code, answer): &(u16, Value)) -> Vec<&str> {
    assert_eq!(*code, 422, "{answer:#}");
    let causes = answer["details"]["causes"].as_array().unwrap();
    causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect()
}

/// Pod specs that no Kubernetes accepts.
fn wrong() -> Vec<(Value, &'static str)> {
    let c = |more: Value| {
        let mut container = json!({ "name": "c", "image": "x" });
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "containers": [container] })
    };
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    vec![
        (
            c(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/x" }] })),
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            json!({ "volumes": [{ "name": "v", "emptyDir": {}, "hostPath": { "path": "/x" } }] }),
            "spec.volumes[0].hostPath",
        ),
        (c(json!({ "env": [{ "name": "a=b" }] })), "spec.containers[0].env[0].name"),
        (
            c(
                json!({ "env": [{ "name": "a", "value": "x", "valueFrom": field("metadata.name") }] }),
            ),
            "spec.containers[0].env[0].valueFrom",
        ),
        (
            c(json!({ "env": [{ "name": "a", "valueFrom": field("status.nope") }] })),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
        ),
        (
            c(json!({ "ports": [{ "name": "averyveryverylongname", "containerPort": 1 }] })),
            "spec.containers[0].ports[0].name",
        ),
        (
            c(json!({ "ports": [{ "containerPort": 1, "protocol": "tcp" }] })),
            "spec.containers[0].ports[0].protocol",
        ),
        (c(json!({ "imagePullPolicy": "always" })), "spec.containers[0].imagePullPolicy"),
        (json!({ "terminationGracePeriodSeconds": -1 }), "spec.terminationGracePeriodSeconds"),
        (
            json!({ "tolerations": [{ "key": "a", "operator": "Is" }] }),
            "spec.tolerations[0].operator",
        ),
        (json!({ "nodeSelector": { "a b": "c" } }), "spec.nodeSelector"),
        (
            c(json!({ "resources": { "limits": { "nvidia.com/gpu": "500m" } } })),
            "spec.containers[0].resources.limits[nvidia.com/gpu]",
        ),
        (
            c(json!({ "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "2" } } })),
            "spec.containers[0].resources.requests",
        ),
    ]
}

#[tokio::test]
async fn a_pod_that_no_kubernetes_accepts_is_refused_with_its_field() {
    let server = Server::start().await;
    for (spec, field) in wrong() {
        let answer = server.post(PODS, &pod("wrong", &spec)).await;
        assert_eq!(causes(&answer)[0], field, "{spec}");
    }
    let (code, _) = server.get(&format!("{PODS}/wrong")).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn pods_and_templates_are_stored_with_their_defaults() {
    let server = Server::start().await;
    let spec = json!({
        "containers": [{ "name": "c", "image": "x", "resources": { "limits": { "cpu": "1" } } }],
        "volumes": [{ "name": "v" }, { "name": "s", "secret": { "secretName": "s" } }],
    });
    let stored = server.make(PODS, &pod("p", &spec)).await;
    for (pointer, expected) in [
        ("/spec/volumes/0/emptyDir", json!({})),
        ("/spec/volumes/1/secret/defaultMode", json!(420)),
        ("/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/containers/0/resources/requests/cpu", json!("1")),
        ("/spec/enableServiceLinks", json!(true)),
        ("/spec/tolerations/1/key", json!("node.kubernetes.io/unreachable")),
    ] {
        assert_eq!(stored.pointer(pointer), Some(&expected), "{pointer}");
    }
    let mut template = pod("t", &spec);
    template["spec"]["restartPolicy"] = "Always".into();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
        "spec": { "selector": { "matchLabels": { "a": "b" } }, "template": { "metadata": { "labels": { "a": "b" } }, "spec": template["spec"] } },
    });
    let stored = server.make(DEPLOYMENTS, &deployment).await;
    let spec = &stored["spec"]["template"]["spec"];
    assert_eq!(spec.pointer("/volumes/1/secret/defaultMode"), Some(&json!(420)));
    assert_eq!(spec.pointer("/containers/0/terminationMessagePolicy"), Some(&json!("File")));
    assert_eq!((spec.get("tolerations"), spec.get("enableServiceLinks")), (None, None));
    // The same file once more changes nothing.
    let path = format!("{DEPLOYMENTS}/d");
    let (code, again) = server.put(&path, &deployment).await;
    assert_eq!((code, &again["metadata"]["generation"]), (200, &json!(1)), "{again:#}");
}

#[tokio::test]
async fn an_update_of_a_pod_changes_only_what_it_may() {
    let server = Server::start().await;
    server.make(PODS, &pod("p", &json!({ "activeDeadlineSeconds": 20 }))).await;
    let path = format!("{PODS}/p");
    let image = |image: &str| json!({ "spec": { "containers": [{ "name": "c", "image": image, "imagePullPolicy": "Always", "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File" }] } });
    for change in [image("y"), json!({ "spec": { "activeDeadlineSeconds": 10 } })] {
        let (code, answer) = server.patch(&path, &change).await;
        assert_eq!(code, 200, "{change}: {answer:#}");
    }
    for (change, field) in [
        (json!({ "spec": { "activeDeadlineSeconds": 30 } }), "spec.activeDeadlineSeconds"),
        (json!({ "spec": { "restartPolicy": "Always" } }), "spec"),
        (json!({ "spec": { "tolerations": [] } }), ""),
        (image(" y"), "spec.containers[0].image"),
    ] {
        let answer = server.patch(&path, &change).await;
        if field.is_empty() {
            // Admission adds the tolerations again.
            assert_eq!(answer.0, 200, "{:#}", answer.1);
        } else {
            assert_eq!(causes(&answer), [field], "{change}");
        }
    }
    let status = format!("{path}/status");
    let ended = json!({ "status": { "containerStatuses": [{ "name": "c", "state": { "terminated": { "exitCode": 1 } } }] } });
    assert_eq!(server.patch(&status, &ended).await.0, 200);
    let running =
        json!({ "status": { "containerStatuses": [{ "name": "c", "state": { "running": {} } }] } });
    let answer = server.patch(&status, &running).await;
    assert_eq!(causes(&answer), ["status.containerStatuses[0].state"]);
}

/// `kubectl debug` and `kubectl patch --subresource resize` take a 404 without the name of an
/// object for a server without the feature, and say so.
#[tokio::test]
async fn subresources_that_no_node_supports_are_not_found() {
    let server = Server::start().await;
    server.make(PODS, &pod("p", &json!({}))).await;
    for subresource in ["ephemeralcontainers", "resize"] {
        let path = format!("{PODS}/p/{subresource}");
        let (_, before) = server.get(&format!("{PODS}/p")).await;
        for answer in [server.get(&path).await, server.patch(&path, &json!({})).await] {
            assert_eq!(answer.0, 404, "{subresource}");
            assert_eq!(answer.1["message"], "the server could not find the requested resource");
            assert_eq!(answer.1["details"]["name"], Value::Null);
        }
        assert_eq!(server.get(&format!("{PODS}/p")).await.1, before);
    }
    let (_, resources) = server.get("/api/v1").await;
    let names = resources["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str());
    let absent = |name: &str| name != "pods/resize" && name != "pods/ephemeralcontainers";
    assert!(names.flatten().all(absent));
    // Nor can a change of the pod itself add one.
    let (_, mut changed) = server.get(&format!("{PODS}/p")).await;
    changed["spec"]["ephemeralContainers"] = json!([{ "name": "d", "image": "i" }]);
    let (code, answer) = server.put(&format!("{PODS}/p"), &changed).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(answer["details"]["causes"][0]["field"], "spec.ephemeralContainers");
}
