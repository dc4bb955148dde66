//! What all built-in kinds have in common: the answers to a create and to a delete.

use http::StatusCode;
use mxjob_apiserver::registry;
use mxjob_machinery::names::Namespace;
use serde_json::{Value, json};

use crate::server::{JSON, Server};

/// A minimal object of each kind that is stored: by kind, as a merge with its name.
fn minimal(kind: &str) -> Value {
    let pod = json!({ "containers": [{ "name": "c", "image": "i" }] });
    match kind {
        "Deployment" => json!({ "spec": {
            "selector": { "matchLabels": { "a": "b" } },
            "template": { "metadata": { "labels": { "a": "b" } }, "spec": pod },
        } }),
        "EndpointSlice" => json!({ "addressType": "IPv4", "endpoints": [] }),
        "Event" => {
            json!({ "involvedObject": { "namespace": "default" }, "regarding": { "namespace": "default" } })
        }
        "MXJob" => crate::server::job("x"),
        "PersistentVolume" => json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" }, "hostPath": { "path": "/x" },
        } }),
        "PersistentVolumeClaim" => json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        } }),
        "Pod" => json!({ "spec": pod }),
        "RoleBinding" | "ClusterRoleBinding" => {
            json!({ "roleRef": { "kind": "ClusterRole", "name": "view" } })
        }
        "Service" => json!({ "spec": { "ports": [{ "port": 1 }] } }),
        "StorageClass" => json!({ "provisioner": "p" }),
        _ => json!({}),
    }
}

/// The `Warning` headers of a create, and the answer to the delete of the object.
async fn create_and_delete(
    server: &Server,
    kind: &mxjob_apiserver::kind::Kind,
) -> (Vec<String>, Value) {
    let mut object = minimal(&kind.kind);
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = (*kind.kind).into();
    object["metadata"]["name"] = "x".into();
    if kind.strategy.stored_as().is_some() {
        // Only one of the forms of the reference fits.
        object.as_object_mut().unwrap().remove("involvedObject");
    } else if *kind.kind == *"Event" {
        object.as_object_mut().unwrap().remove("regarding");
    }
    let path = kind.collection_path(Namespace::new(if kind.namespaced { "default" } else { "" }));
    let headers = [("authorization", "Bearer good"), ("content-type", JSON)];
    let answer = server.raw("POST", &path, &headers, object.to_string().as_bytes()).await;
    assert_eq!(answer.code, StatusCode::CREATED.as_u16(), "{path} {}", answer.text);
    let warnings = answer.headers.get_all("warning").iter();
    let warnings = warnings.map(|text| text.to_str().unwrap().to_owned()).collect();
    let item = format!("{path}/x");
    let no_finalizers = json!({ "metadata": { "finalizers": null } });
    if ["PersistentVolume", "PersistentVolumeClaim"].contains(&&*kind.kind) {
        server.patch(&item, &no_finalizers).await;
    }
    let (code, deleted) = server.delete(&item).await;
    assert_eq!(code, 200, "{path} {deleted:#}");
    (warnings, deleted)
}

#[tokio::test]
async fn creates_warn_where_nothing_acts_and_deletes_answer_what_upstream_answers() {
    const RETURNED: &[&str] = &[
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "ResourceQuota",
        "Service",
        "ServiceAccount",
        "StorageClass",
    ];
    const ONLY_STORED: &[&str] = &["Deployment", "PodDisruptionBudget"];
    let server = Server::start().await;
    for kind in registry::built_in() {
        // Definitions and namespaces are kept by finalizers, reviews and measures are not stored.
        let other = ["CustomResourceDefinition", "Namespace"].contains(&&*kind.kind);
        if kind.review.is_some() || kind.is_measured || other {
            continue;
        }
        let (warnings, deleted) = create_and_delete(&server, kind).await;
        let name: &str = &kind.kind;
        let about = format!("this server has no controller for {}", kind.qualified_resource());
        let is_warned = warnings.iter().any(|warning| warning.contains(&about));
        assert_eq!(is_warned, ONLY_STORED.contains(&name), "{name} {warnings:?}");
        let expected = if RETURNED.contains(&name) { name } else { "Status" };
        assert_eq!(deleted["kind"], expected, "{name}");
    }
}

#[tokio::test]
async fn a_config_map_of_more_than_one_mebibyte_is_refused() {
    let server = Server::start().await;
    let body =
        json!({ "metadata": { "name": "big" }, "data": { "k": "x".repeat(1024 * 1024 + 1) } });
    let (code, answer) = server.post("/api/v1/namespaces/default/configmaps", &body).await;
    assert_eq!(code, 422);
    assert_eq!(
        answer["message"],
        "ConfigMap \"big\" is invalid: []: Too long: may not be more than 1048576 bytes"
    );
}

/// Clients in other languages read fields of these structs without asking whether they are there.
#[tokio::test]
async fn built_in_objects_have_the_structs_that_they_have_upstream() {
    let server = Server::start().await;
    let check = async |path: &str, body: Value, pointer: &str, expected: Value| {
        let made = server.make(path, &body).await;
        assert_eq!(made.pointer(pointer), Some(&expected), "{made:#}");
        // A write of the same object changes nothing.
        let own = format!("{path}/{}", made["metadata"]["name"].as_str().unwrap());
        let (code, put) = server.put(&own, &made).await;
        assert_eq!((code, &put), (200, &made));
    };
    let named = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
    let meta = |name: &str| json!({ "metadata": { "name": name } });
    let text = "";
    let status = json!({
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
        "nodeInfo": {
            "architecture": text, "bootID": text, "containerRuntimeVersion": text, "kernelVersion": text,
            "kubeProxyVersion": text, "kubeletVersion": text, "machineID": text, "operatingSystem": text,
            "osImage": text, "systemUUID": text,
        },
    });
    check("/api/v1/nodes", meta("a"), "/status", status).await;
    check("/api/v1/nodes", meta("b"), "/spec", json!({})).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    check(leases, meta("a"), "/spec", json!({})).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let counts = json!({ "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0 });
    check(budgets, meta("a"), "/status", counts).await;
    let labels = json!({ "a": "b" });
    let deployment = json!({ "selector": { "matchLabels": labels }, "template": {
        "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } });
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    check(deployments, named("a", deployment.clone()), "/status", json!({})).await;
    let resources = "/spec/template/spec/containers/0/resources";
    check(deployments, named("b", deployment), resources, json!({})).await;
    let service = json!({ "clusterIP": "None" });
    let services = "/api/v1/namespaces/default/services";
    check(services, named("a", service), "/status", json!({ "loadBalancer": {} })).await;
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let made = server.make(quotas, &meta("a")).await;
    assert_eq!((&made["spec"], &made["status"]), (&json!({}), &json!({})));
}
