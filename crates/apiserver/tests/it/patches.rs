//! Patches of all sorts through the API: what they change, who owns it then, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use mxjob_apiserver::environment::{Environment, System};
use serde_json::{Value, json};

use crate::server::{Answer, JOBS, Server, config_map, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";

async fn patch(server: &Server, path: &str, sort: &str, body: &str) -> Answer {
    let headers =
        [("authorization", "Bearer good"), ("content-type", sort), ("accept", "application/json")];
    server.raw("PATCH", path, &headers, body.as_bytes()).await
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "mxnet", "image": "mxnet:1", "env": [{"name": "A", "value": "1"}]},
        {"name": "side", "image": "side:1"},
    ]}})
}

#[tokio::test]
async fn a_strategic_merge_patch_changes_one_container_of_a_pod() {
    let server = Server::start().await;
    server.make(PODS, &pod()).await;
    let change = r#"{"spec":{"containers":[{"name":"side","image":"side:2"}]},"metadata":{"labels":{"l":"1"}}}"#;
    let answer = patch(&server, &format!("{PODS}/p"), STRATEGIC, change).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let containers = &answer.json()["spec"]["containers"];
    assert_eq!(containers[0]["image"], "mxnet:1");
    assert_eq!(containers[1]["image"], "side:2");

    let refused = patch(
        &server,
        &format!("{PODS}/p"),
        STRATEGIC,
        r#"{"spec":{"containers":[{"image":"x"}]}}"#,
    )
    .await;
    assert_eq!(refused.code, 400, "{}", refused.text);
}

#[tokio::test]
async fn custom_resources_take_no_strategic_merge_patch() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    assert_eq!(patch(&server, &format!("{JOBS}/a"), STRATEGIC, "{}").await.code, 415);
}

#[tokio::test]
async fn the_fields_of_a_pod_are_owned_by_the_names_of_its_parts() {
    let server = Server::start().await;
    let pod = server.make(PODS, &pod()).await;
    let spec = &pod["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert!(spec.get(".").is_none(), "{spec:#}");
    let container = &spec["f:containers"][r#"k:{"name":"mxnet"}"#];
    assert_eq!(container["f:image"], json!({}), "{spec:#}");
    assert_eq!(container["f:env"][r#"k:{"name":"A"}"#]["f:value"], json!({}), "{spec:#}");
}

#[tokio::test]
async fn applying_the_same_twice_writes_nothing() {
    let server = Server::start().await;
    for (path, config) in [
        (format!("{JOBS}/a?fieldManager=m"), job("a")),
        (format!("{PODS}/p?fieldManager=m"), pod()),
        ("/api/v1/namespaces/default/configmaps/c?fieldManager=m".to_owned(), config_map("c")),
    ] {
        let config = config.to_string();
        let first = patch(&server, &path, APPLY, &config).await;
        assert_eq!(first.code, 201, "{}", first.text);
        let second = patch(&server, &path, APPLY, &config).await;
        assert_eq!(second.code, 200, "{}", second.text);
        let version = |answer: &Answer| answer.json()["metadata"]["resourceVersion"].clone();
        assert_eq!(version(&first), version(&second), "{path}");
    }
}

/// A clock that never shows the same second twice.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Environment for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.fetch_add(1, Ordering::Relaxed)).unwrap()
    }

    fn uid(&self) -> String {
        System.uid()
    }

    fn name_suffix(&self) -> String {
        System.name_suffix()
    }
}

#[tokio::test]
async fn applying_a_status_beside_other_fields_twice_writes_nothing() {
    let server = Server::start_in(Arc::new(Ticking(AtomicI64::new(1_800_000_000)))).await;
    server.make(JOBS, &job("a")).await;
    let mut config = job("a");
    config["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(5);
    config["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
    let path = format!("{JOBS}/a/status?fieldManager=m&force=true");
    let first = patch(&server, &path, APPLY, &config.to_string()).await;
    assert_eq!(first.code, 200, "{}", first.text);
    let second = patch(&server, &path, APPLY, &config.to_string()).await;
    assert_eq!(second.json(), first.json());
}

#[tokio::test]
async fn strict_validation_of_a_patch_is_a_422_about_the_patch() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let path = format!("{JOBS}/a?fieldValidation=Strict");
    for (sort, body, fault) in [
        (
            MERGE,
            r#"{"spec":{"ttlSecondsAfterFinished":1,"ttlSecondsAfterFinished":2}}"#,
            "duplicate field \\\"spec.ttl",
        ),
        (MERGE, r#"{"bogus":1}"#, "unknown field \\\"bogus\\\""),
        (
            JSON_PATCH,
            r#"[{"op":"test","path":"/kind","value":"MXJob","x":1}]"#,
            "json patch unknown field \\\"[0].x\\\"",
        ),
        (JSON_PATCH, r#"[{"op":"remove","path":"/kind"}]"#, "Object 'Kind' is missing"),
        (MERGE, r#"{"kind":"Pod"}"#, "no kind \\\"Pod\\\" is registered"),
        (MERGE, r#"{"metadata":{"labels":{"a":1}}}"#, "cannot unmarshal number"),
    ] {
        let answer = patch(&server, &path, sort, body).await;
        assert_eq!(answer.code, 422, "{body}: {}", answer.text);
        assert!(answer.text.contains(fault), "{body}: {}", answer.text);
        assert_eq!(answer.json()["details"]["causes"][0]["field"], "patch", "{body}");
    }
}

#[tokio::test]
async fn a_patch_cannot_make_an_object_that_cannot_be_read_again() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let (open, close) = ("[".repeat(120), "]".repeat(120));

    let body = format!(
        r#"[{{"op":"add","path":"/spec/mxReplicaSpecs/Worker/template/deep","value":{open}{close}}}]"#
    );
    let answer = patch(&server, &format!("{JOBS}/a"), JSON_PATCH, &body).await;
    assert!(answer.code < 500, "{}", answer.text);
    let (code, stored) = server.get(&format!("{JOBS}/a")).await;
    assert_eq!(code, 200);
    assert_eq!(stored["metadata"]["name"], "a");
}
