//! Answers to unusual options, identities and paths, compared with those of a Kubernetes server.

use http::Method;
use serde_json::{Value, json};

use crate::server::{JOBS, Server, config_map, job};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn check(answer: &(u16, Value), code: u16, message: &str) {
    assert_eq!((answer.0, &answer.1["message"]), (code, &json!(message)), "{:#}", answer.1);
}

async fn apply(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let headers =
        [("authorization", "Bearer good"), ("content-type", "application/apply-patch+yaml")];
    let path = format!("{path}?fieldManager=test");
    let answer = server.raw("PATCH", &path, &headers, body.to_string().as_bytes()).await;
    (answer.code, answer.json())
}

#[tokio::test]
async fn an_empty_dry_run_is_invalid() {
    let server = Server::start().await;
    for (query, shown) in
        [("dryRun=", r#"[]string{""}"#), ("dryRun=All&dryRun=Some", r#"[]string{"All", "Some"}"#)]
    {
        let answer = server.post(&format!("{MAPS}?{query}"), &config_map("a")).await;
        let message = format!(
            r#"CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: {shown}: supported values: "All""#
        );
        check(&answer, 422, &message);
    }
    assert_eq!(server.post(&format!("{MAPS}?dryRun=All"), &config_map("a")).await.0, 201);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);
}

#[tokio::test]
async fn a_patch_changes_no_identity() {
    let server = Server::start().await;
    let path = format!("{MAPS}/a");
    server.make(MAPS, &config_map("a")).await;
    let kind = server.patch(&path, &json!({"kind": "Secret"})).await;
    assert_eq!((kind.0, &kind.1["reason"]), (422, &json!("Invalid")));
    let name = server.patch(&path, &json!({"metadata": {"name": "b"}})).await;
    check(&name, 400, "the name of the object (b) does not match the name on the URL (a)");
    let namespace = server.patch(&path, &json!({"metadata": {"namespace": "kube-system"}})).await;
    check(
        &namespace,
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    // Removed, it is the one of the path.
    let (code, map) = server.patch(&path, &json!({"metadata": {"namespace": null}})).await;
    assert_eq!((code, &map["metadata"]["namespace"]), (200, &json!("default")));
}

#[tokio::test]
async fn collections_are_neither_replaced_nor_patched() {
    let server = Server::start().await;
    let refused = "the server does not allow this method on the requested resource";
    for method in [Method::PUT, Method::PATCH] {
        let answer = server.call(method.clone(), MAPS, &config_map("a")).await;
        check(&answer, 405, refused);
        let answer = server.call(method.clone(), "/api/v1/configmaps", &config_map("a")).await;
        check(&answer, 405, refused);
        let answer = server.call(method, JOBS, &job("a")).await;
        check(&answer, 400, "name must be provided");
    }
    check(&server.post("/api/v1/configmaps", &config_map("a")).await, 405, refused);
    check(&server.delete("/api/v1/configmaps").await, 405, refused);
    check(&server.delete("/api/v1/namespaces").await, 405, refused);
}

#[tokio::test]
async fn an_apply_names_the_object_of_its_path() {
    let server = Server::start().await;
    let other = apply(&server, &format!("{MAPS}/a"), &config_map("b")).await;
    check(&other, 400, "the name of the object (b) does not match the name on the URL (a)");
    let mut map = config_map("a");
    map["metadata"]["resourceVersion"] = json!("1234");
    let (code, made) = apply(&server, &format!("{MAPS}/a"), &map).await;
    assert_eq!((code, &made["metadata"]["name"]), (201, &json!("a")), "{made:#}");
    map["metadata"] = json!({"name": "c", "uid": "u"});
    let answer = apply(&server, &format!("{MAPS}/c"), &map).await;
    check(
        &answer,
        409,
        "Operation cannot be fulfilled on configmaps \"c\": uid mismatch: the provided object specified uid u, and no existing object was found",
    );
}

#[tokio::test]
async fn a_replace_of_a_deleted_object_is_a_conflict() {
    let server = Server::start().await;
    let mut job = job("a");
    job["metadata"]["uid"] = json!("u");
    let answer = server.put(&format!("{JOBS}/a"), &job).await;
    check(
        &answer,
        409,
        "Operation cannot be fulfilled on mxjobs.kubeflow.org \"a\": StorageError: invalid object, Code: 4, Key: /registry/kubeflow.org/mxjobs/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: ",
    );
    let mut map = config_map("a");
    map["metadata"]["uid"] = json!("u");
    check(&server.put(&format!("{MAPS}/a"), &map).await, 404, "configmaps \"a\" not found");
}

#[tokio::test]
async fn empty_terms_of_a_field_selector_select_everything() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("a")).await;
    server.make(MAPS, &config_map("b")).await;
    for (selector, found) in
        [("", 2), (",", 2), (",,metadata.name%3Da,", 1), ("metadata.name%3D", 0)]
    {
        let (code, list) = server.get(&format!("{MAPS}?fieldSelector={selector}")).await;
        assert_eq!((code, list["items"].as_array().unwrap().len()), (200, found), "{selector}");
    }
    check(
        &server.get(&format!("{MAPS}?fieldSelector=%3D")).await,
        400,
        "field label not supported: ",
    );
}

#[tokio::test]
async fn unknown_paths_below_built_in_groups_are_api_errors() {
    let server = Server::start().await;
    for path in [
        "/api/v2",
        "/api/v1/nopes",
        "/api/v1/namespaces/default/nopes/a",
        "/apis/apps/v9",
        "/apis/apps/v1/nopes",
        "/api/v1/namespaces/default/configmaps/a/nope",
    ] {
        let (code, status) = server.get(path).await;
        let message = "the server could not find the requested resource";
        assert_eq!((code, &status["message"]), (404, &json!(message)), "{path}");
        assert_eq!((&status["reason"], &status["details"]), (&json!("NotFound"), &json!({})));
    }
    for path in [
        "/nope",
        "/apis/nope",
        "/apis/nope/v1/things",
        "/apis/kubeflow.org/v1/nopes",
        "/openapi/v3/apis/nope/v1",
    ] {
        let answer = server.raw("GET", path, &[("authorization", "Bearer good")], b"").await;
        assert_eq!((answer.code, answer.text.as_str()), (404, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn only_the_first_table_of_a_watch_defines_columns() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("a")).await;
    let mut watch = server.watch_as(&format!("{MAPS}?watch=true"), TABLE).await;
    let first = watch.next().await.unwrap();
    assert!(first["object"]["columnDefinitions"].is_array(), "{first:#}");
    server.make(MAPS, &config_map("b")).await;
    let second = watch.next().await.unwrap();
    assert_eq!(second["object"].get("columnDefinitions"), Some(&Value::Null), "{second:#}");
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn the_bookmark_after_the_initial_events_says_so() {
    let server = Server::start().await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = server.watch(&format!("{JOBS}?{query}")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    let mut object = event["object"].clone();
    let version = object["metadata"]["resourceVersion"].take();
    assert!(version.as_str().is_some_and(|version| version.parse::<u64>().is_ok()));
    let expected = json!({
        "kind": "MXJob", "apiVersion": "kubeflow.org/v1", "metadata": {
            "resourceVersion": null, "creationTimestamp": null,
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    });
    assert_eq!(object, expected);
}

#[tokio::test]
async fn rights_to_one_object_suffice_to_list_and_watch_it_by_name() {
    let server = Server::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["list", "watch", "deletecollection"]});
    server
        .make(&format!("{rbac}/roles"), &json!({"metadata": {"name": "r"}, "rules": [rule]}))
        .await;
    let binding = json!({
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}],
    });
    server.make(&format!("{rbac}/rolebindings"), &binding).await;
    server.make(MAPS, &config_map("a")).await;
    server.make(MAPS, &config_map("b")).await;
    let headers = [("authorization", "Bearer limited")];
    let get = async |query: &str| {
        server.raw("GET", &format!("{MAPS}?timeoutSeconds=1&{query}"), &headers, b"").await
    };
    let listed = get("fieldSelector=metadata.name%3Da").await;
    assert_eq!(listed.code, 200);
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(get("watch=true&fieldSelector=metadata.name%3Da").await.code, 200);
    for query in
        ["", "fieldSelector=metadata.name%21%3Da", "watch=true", "fieldSelector=metadata.name%3D"]
    {
        assert_eq!(get(query).await.code, 403, "{query}");
    }
    let refused = get("fieldSelector=metadata.name%3Db").await;
    assert_eq!(
        refused.json()["message"],
        "configmaps \"b\" is forbidden: User \"limited\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let path = format!("{MAPS}?fieldSelector=metadata.name%3Da");
    assert_eq!(server.raw("DELETE", &path, &headers, b"").await.code, 403);
}

#[tokio::test]
async fn reviews_are_not_answered_as_tables() {
    let server = Server::start().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = async |accept: &str| {
        let headers = [
            ("authorization", "Bearer good"),
            ("content-type", "application/json"),
            ("accept", accept),
        ];
        server.raw("POST", path, &headers, b"{}").await
    };
    let refused = ask(TABLE).await;
    assert_eq!(refused.code, 406);
    assert_eq!(
        refused.json()["message"],
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    let answered = ask(&format!("{TABLE},application/json")).await;
    assert_eq!((answered.code, &answered.json()["kind"]), (201, &json!("SelfSubjectReview")));
}
