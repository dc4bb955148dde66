//! Stored objects of every kind that no type can decode: they affect no other object.

use mxjob_apiserver::kind::Kind;
use mxjob_apiserver::registry;
use mxjob_machinery::names::{Namespace, ObjectName};
use mxjob_store::{Expect, Options, Store, Transaction, Value as Stored};
use serde_json::{Value, json};

use crate::support::{Place, Server, until, wait_until};

/// Invalid fields, or invalid parts, of an object of any kind.
fn invalid_parts() -> Vec<Value> {
    vec![
        json!({ "metadata": { "labels": { "x": null }, "finalizers": [null], "ownerReferences": [null] } }),
        json!({ "metadata": { "labels": { "x": 5 } } }),
        json!({ "metadata": { "labels": [], "annotations": 5 } }),
        json!({ "metadata": { "ownerReferences": [5] } }),
        json!({ "metadata": { "finalizers": [{}] } }),
        json!({ "metadata": { "creationTimestamp": "yesterday" } }),
        json!({ "metadata": { "managedFields": [null, 5] } }),
        json!({ "spec": 5, "status": [], "data": 5, "rules": {}, "subjects": 5, "webhooks": [null], "value": "x" }),
        json!({ "spec": { "containers": [null], "volumes": [null], "ports": 5, "hard": 5, "limits": [null] } }),
        json!({ "spec": { "mxReplicaSpecs": { "Worker": null } }, "status": { "conditions": [null] } }),
        json!({ "status": { "conditions": 5, "phase": {}, "startTime": "then" } }),
    ]
}

fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    kind.key(Namespace::new(namespace), ObjectName::new(name).unwrap())
}

/// Stores an object without validation.
fn put(store: &Store, kind: &Kind, namespace: &str, name: &str, object: &Value) {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = "@@".into();
    let text = object.to_string();
    let (before, after) = text.split_once("@@").unwrap();
    let value = Stored::stamped(before.as_bytes().to_vec(), after.as_bytes().to_vec());
    let commit = store.commit(Transaction::put(key(kind, namespace, name), Expect::Any, value));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(commit).unwrap();
}

/// Stores unreadable objects of every kind; those of namespaced kinds in `default`.
fn store_unreadable(store: &Store, node: &str) {
    for kind in registry::built_in()
        .iter()
        .filter(|kind| kind.verbs.contains(&"create") && kind.verbs.contains(&"list"))
    {
        for (index, change) in invalid_parts().into_iter().enumerate() {
            let name = format!("unreadable-{index}");
            let mut object = json!({
                "apiVersion": kind.api_version(), "kind": kind.kind,
                "metadata": { "name": name, "uid": format!("{}-{index}", kind.plural) },
            });
            if kind.kind == "Pod" {
                object["spec"] = json!({ "nodeName": node, "containers": [{ "name": "a", "command": ["true"] }] });
            }
            let namespace = if kind.namespaced { "default" } else { "" };
            if kind.namespaced {
                object["metadata"]["namespace"] = namespace.into();
            }
            for (part, members) in change.as_object().unwrap() {
                for (field, value) in members.as_object().into_iter().flatten() {
                    object[part][field] = value.clone();
                }
                if !members.is_object() {
                    object[part] = members.clone();
                }
            }
            put(store, kind, namespace, &name, &object);
        }
    }
}

#[test]
fn unreadable_objects_of_every_kind_do_not_affect_jobs() {
    let place = Place::new();
    let server = Server::up(&place);
    let run = format!("echo ran >> \"$PLACE/$DMLC_ROLE$DMLC_WORKER_ID\"; {}", until("go"));
    server.create(&place.job("before", &run, &run, &run));
    server.wait_for("before", "Running");
    let node = server.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    server.kill();

    let store = Store::open(&place.data().join("store"), Options::default()).unwrap();
    store_unreadable(&store, &node);
    // The node, its lease, and a pod whose processes run.
    let set = |group: &str,
               version: &str,
               plural: &str,
               namespace: &str,
               name: &str,
               field: &str,
               value: Value| {
        let kind = registry::find(group, version, plural).unwrap();
        let entry = store.get(&key(kind, namespace, name)).unwrap();
        let mut object: Value = serde_json::from_slice(&entry.value).unwrap();
        *object.pointer_mut(field).unwrap() = value;
        put(&store, kind, namespace, name, &object);
    };
    set("", "v1", "nodes", "", &node, "/metadata/labels", json!({ "x": null }));
    set("", "v1", "nodes", "", &node, "/status/conditions", json!([null, 5]));
    set("coordination.k8s.io", "v1", "leases", "kube-node-lease", &node, "/spec", json!(5));
    set("", "v1", "pods", "default", "before-worker-0", "/status/startTime", json!("then"));
    store.close();

    let server = Server::up(&place);
    let echo = "true";
    server.create(&place.job("after", echo, echo, echo));
    server.wait_for("after", "Succeeded");

    // The unreadable pod keeps running and has an event.
    let events = wait_until("the pod has its event", || {
        let events = server.kubectl(&[
            "get", "events", "-o", "jsonpath={range .items[?(@.reason==\"Unreadable\")]}{.involvedObject.name}: {.message}{\"\\n\"}{end}",
        ]);
        let has = |name: &str| events.contains(&format!("{name}: cannot read the Pod"));
        (has("before-worker-0") && has("unreadable-1") && has("unreadable-7")).then_some(events)
    });
    assert!(events.contains("startTime") || events.contains("parsing time"), "{events}");
    assert_eq!(events.matches("before-worker-0:").count(), 1, "more than one event: {events}");
    assert!(!place.processes().is_empty(), "the processes of the pod must keep running");

    // Unreadable pods can be deleted. The controller may have created a deleted replica again, with
    // another uid.
    let uid = |name: &str| {
        let path = "jsonpath={.metadata.uid}";
        server.try_kubectl(&["get", "pod", name, "--ignore-not-found", "-o", path]).stdout
    };
    let names = ["before-worker-0", "unreadable-1", "unreadable-10"];
    let before = names.map(uid);
    for name in names {
        server.kubectl(&["delete", "pod", name, "--grace-period=1", "--wait=false"]);
    }
    for (name, before) in names.into_iter().zip(before) {
        wait_until("the pod is deleted", || (uid(name) != before).then_some(()));
    }
    place.write("go", "");
}
