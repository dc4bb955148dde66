//! Creates, updates and deletes as every kind has them.

use serde_json::{Value, json};

use crate::server::{JOBS, Server, config_map, job};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn nothing_is_posted_to_an_object_of_a_built_in_kind() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    let (code, answer) = server.post(path, &crate::server::config_map("a")).await;
    assert_eq!((code, &answer["reason"]), (405, &json!("MethodNotAllowed")), "{answer}");
    assert_eq!(
        answer["message"],
        "the server does not allow this method on the requested resource"
    );
}

#[tokio::test]
async fn names_are_taken_once_generated_and_checked() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("a")).await;
    assert_eq!(server.post(MAPS, &config_map("a")).await.1["reason"], "AlreadyExists");
    let made = server.make(MAPS, &json!({"metadata": {"generateName": "g-"}})).await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("g-") && name.len() == 7, "{name}");
    assert_eq!(server.post(MAPS, &config_map("Bad_Name")).await.0, 422);
    assert_eq!(server.post(MAPS, &json!({"metadata": {}})).await.0, 422);
    let (code, answer) =
        server.post("/api/v1/namespaces/nowhere/configmaps", &config_map("a")).await;
    assert_eq!((code, &answer["details"]["kind"]), (404, &json!("namespaces")));
}

#[tokio::test]
async fn a_dry_run_answers_and_writes_nothing() {
    let server = Server::start().await;
    assert_eq!(server.post(&format!("{MAPS}?dryRun=All"), &config_map("a")).await.0, 201);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);
    server.make(MAPS, &config_map("a")).await;
    let (_, before) = server.get(&format!("{MAPS}/a")).await;
    assert_eq!(
        server.patch(&format!("{MAPS}/a?dryRun=All"), &json!({"data": {"x": "y"}})).await.0,
        200
    );
    assert_eq!(server.delete(&format!("{MAPS}/a?dryRun=All")).await.0, 200);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.1, before);
    assert_eq!(server.post(&format!("{MAPS}?dryRun=Some"), &config_map("b")).await.0, 422);
}

#[tokio::test]
async fn concurrent_patches_all_count() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("a")).await;
    let path = format!("{MAPS}/a");
    let bodies: Vec<_> = (0..12).map(|index| json!({"data": {format!("k{index}"): "v"}})).collect();
    let answers =
        futures_util::future::join_all(bodies.iter().map(|body| server.patch(&path, body))).await;
    assert!(answers.iter().all(|(code, _)| *code == 200), "{answers:?}");
    let (_, after) = server.get(&path).await;
    assert_eq!(after["data"].as_object().unwrap().len(), bodies.len());
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = Server::start().await;
    let mut body = job("f");
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.make(JOBS, &body).await;
    let item = format!("{JOBS}/f");
    let (code, answer) = server.delete(&item).await;
    assert_eq!(code, 200);
    assert!(answer["metadata"]["deletionTimestamp"].is_string(), "{answer:#}");
    assert_eq!(server.post(JOBS, &job("f")).await.0, 409);
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}});
    assert_eq!(server.patch(&item, &more).await.0, 422);
    assert_eq!(server.patch(&item, &json!({"metadata": {"finalizers": null}})).await.0, 200);
    assert_eq!(server.get(&item).await.0, 404);
}

#[tokio::test]
async fn added_finalizers_must_be_qualified_names_in_every_write() {
    let server = Server::start().await;
    for (path, object) in [(PODS, pod("a")), (MAPS, config_map("a")), (JOBS, job("a"))] {
        server.make(path, &object).await;
        let item = format!("{path}/a");
        for bad in [json!([""]), json!(["!! bad"]), json!([null])] {
            let refused = server.patch(&item, &json!({"metadata": {"finalizers": bad}})).await;
            assert_eq!(refused.0, 422, "{item} {bad}: {:#}", refused.1);
            let message = refused.1["message"].as_str().unwrap();
            assert!(message.contains("metadata.finalizers: Invalid value: "), "{message}");
            let add = json!([{"op": "add", "path": "/metadata/finalizers", "value": bad}]);
            let kind = "application/json-patch+json";
            let (code, refused) =
                server.admin.send(http::Method::PATCH, &item, kind, Some(&add)).await;
            assert_eq!(code, 422, "{item} {bad}: {refused:#}");
            let (_, mut object) = server.get(&item).await;
            object["metadata"]["finalizers"] = bad;
            let (code, refused) = server.put(&item, &object).await;
            assert_eq!(code, 422, "{item}: {refused:#}");
        }
        let good = json!({"metadata": {"finalizers": ["example.com/hold", "orphan"]}});
        let (code, answer) = server.patch(&item, &good).await;
        assert_eq!(code, 200, "{answer:#}");
    }
}

#[tokio::test]
async fn deletes_respect_preconditions_and_collections_respect_selectors() {
    let server = Server::start().await;
    let made = server.make(MAPS, &config_map("a")).await;
    let delete = async |preconditions: Value| {
        let body =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions});
        server.call(http::Method::DELETE, &format!("{MAPS}/a"), &body).await.0
    };
    assert_eq!(delete(json!({"uid": "wrong"})).await, 409);
    assert_eq!(delete(json!({"resourceVersion": "1"})).await, 409);
    assert_eq!(delete(json!({"uid": made["metadata"]["uid"]})).await, 200);
    assert_eq!(delete(json!({})).await, 404);
    for (name, group) in [("x", "q"), ("y", "q"), ("z", "other")] {
        let mut body = config_map(name);
        body["metadata"]["labels"] = json!({"group": group});
        server.make(MAPS, &body).await;
    }
    let (_, deleted) = server.delete(&format!("{MAPS}?labelSelector=group%3Dq")).await;
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.get(MAPS).await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bound_pod_is_deleted_gracefully_and_an_unbound_one_immediately() {
    let server = Server::start().await;
    server.make(PODS, &pod("free")).await;
    assert_eq!(server.delete(&format!("{PODS}/free")).await.0, 200);
    assert_eq!(server.get(&format!("{PODS}/free")).await.0, 404);

    server.make(PODS, &pod("bound")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "here"}});
    assert_eq!(server.post(&format!("{PODS}/bound/binding"), &binding).await.0, 201);
    assert_eq!(server.post(&format!("{PODS}/bound/binding"), &binding).await.0, 409);
    let (_, answer) = server.delete(&format!("{PODS}/bound?gracePeriodSeconds=5")).await;
    assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 5, "{answer:#}");
    assert_eq!(server.get(&format!("{PODS}/bound")).await.1["spec"]["nodeName"], "here");
    assert_eq!(server.delete(&format!("{PODS}/bound?gracePeriodSeconds=0")).await.0, 200);
    assert_eq!(server.get(&format!("{PODS}/bound")).await.0, 404);
}

#[tokio::test]
async fn no_body_makes_a_server_error_or_a_change() {
    let server = Server::start().await;
    let auth = ("authorization", "Bearer good");
    let check = async |body: &[u8], content_type: &str, want: u16| {
        let headers = [auth, ("content-type", content_type)];
        let answer = server.raw("POST", JOBS, &headers, body).await;
        assert_eq!(
            answer.code,
            want,
            "{} {}",
            String::from_utf8_lossy(&body[..body.len().min(80)]),
            answer.text
        );
        assert_eq!(answer.json()["kind"], "Status");
    };
    let before = server.api.store().revision();
    check(b"", "application/json", 400).await;
    check(b"{", "application/json", 400).await;
    check(b"[]", "application/json", 400).await;
    check(b"null", "application/json", 400).await;
    check(b"\xff\xfe", "application/json", 400).await;
    check(b"a: [", "application/yaml", 400).await;
    check(b"{}", "text/plain", 415).await;
    check(b"k8s\0", "application/vnd.kubernetes.protobuf", 415).await;
    check("{\"a\":".repeat(20_000).as_bytes(), "application/json", 400).await;
    check(&vec![b' '; 3 * 1024 * 1024 + 1], "application/json", 413).await;
    let mut huge = job("huge");
    huge["spec"]["ttlSecondsAfterFinished"] = json!(1.0e300);
    check(&serde_json::to_vec(&huge).unwrap(), "application/json", 422).await;
    assert_eq!(server.api.store().revision(), before, "nothing was written");
}
