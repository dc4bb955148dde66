//! Garbage collection and the end of namespaces.

use serde_json::{Value, json};

use crate::definitions::{DEFINITIONS, GROUPS, definition, group};
use crate::server::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn collecting() -> Server {
    let server = Server::start().await;
    server.collect_garbage();
    server
}

fn owned(name: &str, owners: &[&Value]) -> Value {
    let mut body = config_map(name);
    let reference = |owner: &&Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true, "controller": false,
        })
    };
    body["metadata"]["ownerReferences"] = owners.iter().map(reference).collect();
    body
}

fn gone(code: u16, _: &Value) -> bool {
    code == 404
}

#[tokio::test]
async fn dependents_go_after_their_owner_in_the_background() {
    let server = collecting().await;
    let owner = server.make(MAPS, &config_map("owner")).await;
    let child = server.make(MAPS, &owned("child", &[&owner])).await;
    server.make(MAPS, &owned("grandchild", &[&child])).await;
    assert_eq!(server.delete(&format!("{MAPS}/owner")).await.0, 200);
    for name in ["child", "grandchild"] {
        server.until(&format!("{MAPS}/{name}"), "collected", gone).await;
    }
}

#[tokio::test]
async fn a_dependent_stays_while_one_owner_is_left() {
    let server = collecting().await;
    let one = server.make(MAPS, &config_map("one")).await;
    let two = server.make(MAPS, &config_map("two")).await;
    server.make(MAPS, &owned("child", &[&one, &two])).await;
    server.delete(&format!("{MAPS}/one")).await;
    let left = |_: u16, child: &Value| {
        child["metadata"]["ownerReferences"].as_array().is_some_and(|list| list.len() == 1)
    };
    server.until(&format!("{MAPS}/child"), "with one owner", left).await;
    server.delete(&format!("{MAPS}/two")).await;
    server.until(&format!("{MAPS}/child"), "collected", gone).await;
}

fn owned_by_unknown(name: &str, api_version: &str, kind: &str) -> Value {
    let mut body = config_map(name);
    body["metadata"]["ownerReferences"] = json!([{"apiVersion": api_version, "kind": kind, "name": "o", "uid": format!("no-{kind}")}]);
    body
}

#[tokio::test]
async fn a_dependent_of_an_owner_that_does_not_exist_is_deleted_if_its_kind_is_served() {
    let server = collecting().await;
    server.make(MAPS, &owned_by_unknown("foreign", "example.com/v1", "Widget")).await;
    // Another object has the name of the owner, but not its uid.
    server.make(MAPS, &config_map("o")).await;
    server.make(MAPS, &owned_by_unknown("child", "v1", "ConfigMap")).await;
    server.make(MAPS, &owned_by_unknown("pods-child", "v1", "Pod")).await;
    for name in ["child", "pods-child"] {
        server.until(&format!("{MAPS}/{name}"), "collected", gone).await;
    }
    assert_eq!(server.get(&format!("{MAPS}/foreign")).await.0, 200);
    assert_eq!(server.get(&format!("{MAPS}/o")).await.0, 200);
}

/// As upstream: nobody knows whether an owner of an unknown kind exists, until the kind is known.
#[tokio::test]
async fn a_dependent_of_a_kind_whose_definition_is_gone_stays_until_the_kind_is_served_again() {
    let server = Server::start().await;
    tokio::spawn(server.api.clone().finalize_definitions(std::future::pending()));
    server.make(DEFINITIONS, &definition()).await;
    let owner = server.make(GROUPS, &group("owner", &json!({}))).await;
    let mut child = config_map("child");
    child["metadata"]["ownerReferences"] = json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": "owner",
        "uid": owner["metadata"]["uid"],
    }]);
    server.make(MAPS, &child).await;
    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    server.delete(&path).await;
    server.until(&path, "deleted", gone).await;

    server.collect_garbage();
    server.make(MAPS, &owned_by_unknown("listed-later", "v1", "ConfigMap")).await;
    server.until(&format!("{MAPS}/listed-later"), "collected", gone).await;
    assert_eq!(server.get(&format!("{MAPS}/child")).await.0, 200);

    server.make(DEFINITIONS, &definition()).await;
    server.until(&format!("{MAPS}/child"), "collected", gone).await;
}

#[tokio::test]
async fn foreground_deletion_waits_for_the_dependents() {
    let server = collecting().await;
    let owner = server.make(MAPS, &config_map("owner")).await;
    let mut child = owned("child", &[&owner]);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.make(MAPS, &child).await;
    let (_, answer) = server.delete(&format!("{MAPS}/owner?propagationPolicy=Foreground")).await;
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]), "{answer:#}");
    let terminating = |_: u16, child: &Value| child["metadata"]["deletionTimestamp"].is_string();
    server.until(&format!("{MAPS}/child"), "terminating", terminating).await;
    assert_eq!(server.get(&format!("{MAPS}/owner")).await.0, 200);
    server.patch(&format!("{MAPS}/child"), &json!({"metadata": {"finalizers": null}})).await;
    server.until(&format!("{MAPS}/owner"), "gone", gone).await;
}

#[tokio::test]
async fn orphans_lose_their_owner_and_live() {
    let server = collecting().await;
    let owner = server.make(MAPS, &config_map("owner")).await;
    server.make(MAPS, &owned("child", &[&owner])).await;
    server.delete(&format!("{MAPS}/owner?propagationPolicy=Orphan")).await;
    server.until(&format!("{MAPS}/owner"), "gone", gone).await;
    let (code, child) = server.get(&format!("{MAPS}/child")).await;
    assert_eq!(code, 200);
    assert!(child["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty), "{child:#}");
}

#[tokio::test]
async fn a_namespace_goes_with_all_its_content() {
    let server = collecting().await;
    server.make("/api/v1/namespaces", &json!({"metadata": {"name": "short"}})).await;
    let maps = "/api/v1/namespaces/short/configmaps";
    server.make(maps, &config_map("a")).await;
    let (_, answer) = server.delete("/api/v1/namespaces/short").await;
    assert_eq!(answer["status"]["phase"], "Terminating", "{answer:#}");
    server.until("/api/v1/namespaces/short", "gone", gone).await;
    assert_eq!(server.post(maps, &config_map("b")).await.0, 404);
    assert_eq!(server.get("/api/v1/configmaps").await.1["items"], json!([]));
}

#[tokio::test]
async fn an_owner_that_waits_for_a_dependent_with_another_owner_is_deleted() {
    let server = collecting().await;
    let one = server.make(MAPS, &config_map("one")).await;
    let two = server.make(MAPS, &config_map("two")).await;
    server.make(MAPS, &owned("child", &[&one, &two])).await;
    server.delete(&format!("{MAPS}/one?propagationPolicy=Foreground")).await;
    server.until(&format!("{MAPS}/one"), "gone", gone).await;
    let (code, child) = server.get(&format!("{MAPS}/child")).await;
    assert_eq!(code, 200);
    let owners = child["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(owners.len(), 1, "{child:#}");
    assert_eq!(owners[0]["name"], "two");
    assert_eq!(server.get(&format!("{MAPS}/two")).await.0, 200);
}

#[tokio::test]
async fn a_circle_of_blocking_owners_is_deleted() {
    let server = collecting().await;
    let one = server.make(MAPS, &config_map("one")).await;
    let two = server.make(MAPS, &owned("two", &[&one])).await;
    let three = server.make(MAPS, &owned("three", &[&two])).await;
    let owners = owned("one", &[&three])["metadata"]["ownerReferences"].clone();
    server.patch(&format!("{MAPS}/one"), &json!({"metadata": {"ownerReferences": owners}})).await;
    server.delete(&format!("{MAPS}/two?propagationPolicy=Foreground")).await;
    for name in ["one", "two", "three"] {
        server.until(&format!("{MAPS}/{name}"), "gone", gone).await;
    }
}

#[tokio::test]
async fn an_object_that_owns_itself_is_deleted() {
    let server = collecting().await;
    let own = server.make(MAPS, &config_map("own")).await;
    let owners = owned("own", &[&own])["metadata"]["ownerReferences"].clone();
    server.patch(&format!("{MAPS}/own"), &json!({"metadata": {"ownerReferences": owners}})).await;
    server.delete(&format!("{MAPS}/own?propagationPolicy=Foreground")).await;
    server.until(&format!("{MAPS}/own"), "gone", gone).await;
}

#[tokio::test]
async fn a_terminating_namespace_says_what_is_left() {
    let server = collecting().await;
    server.make("/api/v1/namespaces", &json!({"metadata": {"name": "held"}})).await;
    let maps = "/api/v1/namespaces/held/configmaps";
    let mut map = config_map("a");
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.make(maps, &map).await;
    server.delete("/api/v1/namespaces/held").await;
    let condition = |namespace: &Value, kind: &str| {
        let conditions = namespace["status"]["conditions"].as_array();
        conditions?.iter().find(|it| it["type"] == kind).cloned()
    };
    let finalizers = "NamespaceFinalizersRemaining";
    let reported = |_: u16, namespace: &Value| {
        condition(namespace, finalizers).is_some_and(|it| it["status"] == "True")
    };
    let namespace = server.until("/api/v1/namespaces/held", "reports finalizers", reported).await;
    assert_eq!(
        condition(&namespace, finalizers).unwrap()["message"],
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    assert_eq!(
        condition(&namespace, "NamespaceContentRemaining").unwrap()["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(
        condition(&namespace, "NamespaceDeletionContentFailure").unwrap()["status"],
        "False"
    );
    assert_eq!(namespace["status"]["phase"], "Terminating");

    for (name, shown) in [("name", "b"), ("generateName", "c-")] {
        let (code, status) = server.post(maps, &json!({"metadata": {name: shown}})).await;
        let message = format!(
            "configmaps \"{shown}\" is forbidden: unable to create new content in namespace held because it is being terminated"
        );
        assert_eq!((code, &status["message"]), (403, &json!(message)));
        let expected = json!({
            "name": shown, "kind": "configmaps", "causes": [{
                "reason": "NamespaceTerminating", "message": "namespace held is being terminated", "field": "metadata.namespace",
            }],
        });
        assert_eq!(status["details"], expected);
    }
    server.patch(&format!("{maps}/a"), &json!({"metadata": {"finalizers": null}})).await;
    server.until("/api/v1/namespaces/held", "gone", gone).await;
}
