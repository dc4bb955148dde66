//! Garbage collection and the end of namespaces.

use serde_json::{Value, json};

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
