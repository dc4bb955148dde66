//! CONTRACT sections 1, 2 and 7, row by row, through the API.

use http::Method;
use serde_json::{Value, json};

use crate::server::{JOBS, Server, job};

/// The documented example: the answer to a replace is the object that was sent (CONTRACT section
/// 2).
#[tokio::test]
async fn the_documented_replace_comes_back_as_documented() {
    let server = Server::start().await;
    let pair: Value =
        serde_json::from_str(include_str!("../../../../examples/replace.json")).unwrap();
    let mut body = pair["request"].clone();
    server.make("/api/v1/namespaces", &json!({"metadata": {"name": "kube-test"}})).await;
    let path = "/apis/kubeflow.org/v1/namespaces/kube-test/mxjobs";
    let mut first = body.clone();
    first["metadata"] = json!({"name": body["metadata"]["name"]});
    first["spec"].as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
    let created = server.make(path, &first).await;
    let own = ["uid", "resourceVersion", "creationTimestamp"];
    for field in own {
        body["metadata"][field] = created["metadata"][field].clone();
    }
    let item = format!("{path}/mxnet-job");
    let (code, answer) = server.put(&item, &body).await;
    assert_eq!(code, 200, "{answer:#}");
    let mut want = pair["response"].clone();
    for field in own {
        want["metadata"][field] = answer["metadata"][field].clone();
    }
    let mut got = answer.clone();
    got["metadata"].as_object_mut().unwrap().remove("managedFields");
    // The status is the controller's: a replace ignores it, and nobody has written one here.
    want.as_object_mut().unwrap().remove("status");
    assert_eq!(got, want);
    // Sent once more, nothing changes: this is what the documented pair shows.
    let (code, again) = server.put(&item, &answer).await;
    assert_eq!((code, &again), (200, &answer));
}

#[tokio::test]
async fn a_create_answers_with_an_empty_status_and_jobs_carry_self_links() {
    let server = Server::start().await;
    let created = server.make(JOBS, &job("a")).await;
    assert_eq!(created["status"], json!({}));
    assert_eq!(created["metadata"]["selfLink"], format!("{JOBS}/a"));
    let (_, list) = server.get(JOBS).await;
    assert_eq!(list["metadata"]["selfLink"], JOBS);
    assert_eq!(list["metadata"]["continue"], "");
    let (_, stored) = server.get(&format!("{JOBS}/a")).await;
    assert_eq!(stored.get("status"), None);
}

/// One row of the table of section 2: a change to the stored job, sent by `PUT`.
async fn check(what: &str, change: impl Fn(&mut Value), want: u16, also: impl Fn(&Value, &Value)) {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let item = format!("{JOBS}/a");
    let (_, before) = server.get(&item).await;
    let mut body = before.clone();
    change(&mut body);
    let (code, answer) = server.put(&item, &body).await;
    assert_eq!(code, want, "{what}: {answer:#}");
    let (_, after) = server.get(&item).await;
    if want == 200 {
        assert_eq!(answer, after, "{what}");
    } else {
        assert_eq!(before, after, "{what}: nothing may be written");
    }
    also(&before, &answer);
}

fn same_version(before: &Value, answer: &Value) {
    assert_eq!(before, answer);
}

fn new_version(before: &Value, answer: &Value) {
    assert_ne!(before["metadata"]["resourceVersion"], answer["metadata"]["resourceVersion"]);
}

fn generation(before: &Value, answer: &Value) -> i64 {
    new_version(before, answer);
    answer["metadata"]["generation"].as_i64().unwrap()
        - before["metadata"]["generation"].as_i64().unwrap()
}

#[tokio::test]
async fn a_replace_may_change_labels_annotations_and_the_three_policies() {
    let counts =
        |by: i64| move |before: &Value, answer: &Value| assert_eq!(generation(before, answer), by);
    check("labels", |job| job["metadata"]["labels"] = json!({"a": "b"}), 200, counts(0)).await;
    check("annotations", |job| job["metadata"]["annotations"] = json!({"a": "b"}), 200, counts(0))
        .await;
    check("deadline", |job| job["spec"]["activeDeadlineSeconds"] = json!(5), 200, counts(1)).await;
    check("ttl", |job| job["spec"]["ttlSecondsAfterFinished"] = json!(5), 200, counts(1)).await;
    check("clean-up", |job| job["spec"]["cleanPodPolicy"] = json!("All"), 200, counts(1)).await;
    check("suspend, ours", |job| job["spec"]["suspend"] = json!(true), 200, counts(1)).await;
    check(
        "nested",
        |job| job["spec"]["runPolicy"] = json!({"cleanPodPolicy": "None"}),
        200,
        counts(1),
    )
    .await;
}

#[tokio::test]
async fn a_replace_that_changes_nothing_changes_nothing() {
    check("as it is", |_| {}, 200, same_version).await;
    check(
        "number form",
        |job| job["spec"]["ttlSecondsAfterFinished"] = json!(100.0),
        200,
        same_version,
    )
    .await;
    let without =
        |job: &mut Value| drop(job["metadata"].as_object_mut().unwrap().remove("managedFields"));
    check("without managed fields", without, 200, same_version).await;
    check("status sent along", |job| job["status"] = json!({"startTime": "x"}), 200, same_version)
        .await;
    for field in ["creationTimestamp", "selfLink", "deletionTimestamp"] {
        check(
            field,
            |job| job["metadata"][field] = json!("2001-01-01T00:00:00Z"),
            200,
            same_version,
        )
        .await;
    }
    check("generation", |job| job["metadata"]["generation"] = json!(99), 200, same_version).await;
}

#[tokio::test]
async fn a_replace_of_anything_else_is_refused_with_a_cause_a_field() {
    let cause = |fields: &'static [&'static str]| {
        move |_: &Value, answer: &Value| {
            let causes = answer["details"]["causes"].as_array().unwrap();
            let got: Vec<_> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
            assert_eq!(got, fields, "{answer:#}");
            assert!(causes.iter().all(|cause| cause["reason"] == "FieldValueForbidden"));
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains("spec.ttlSecondsAfterFinished"), "{message}");
        }
    };
    let replicas = |job: &mut Value| job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(2);
    check("replicas", replicas, 422, cause(&["spec.mxReplicaSpecs.Worker.replicas"])).await;
    let both = |job: &mut Value| {
        job["spec"]["jobMode"] = json!("MXTune");
        job["spec"]["backoffLimit"] = json!(2);
        job["spec"]["ttlSecondsAfterFinished"] = json!(7);
    };
    check("two, and an allowed one", both, 422, cause(&["spec.jobMode", "spec.backoffLimit"]))
        .await;
    let image = |job: &mut Value| {
        job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["image"] =
            json!("x");
    };
    check(
        "image",
        image,
        422,
        cause(&["spec.mxReplicaSpecs.Worker.template.spec.containers[0].image"]),
    )
    .await;
}

#[tokio::test]
async fn a_replace_says_which_object_it_means() {
    let nothing = |_: &Value, _: &Value| {};
    check(
        "uid",
        |job| job["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555"),
        409,
        nothing,
    )
    .await;
    check("stale", |job| job["metadata"]["resourceVersion"] = json!("1"), 409, nothing).await;
    let none =
        |job: &mut Value| drop(job["metadata"].as_object_mut().unwrap().remove("resourceVersion"));
    check("no version", none, 422, |_, answer| {
        assert!(answer["message"].as_str().unwrap().contains("must be specified for an update"));
    })
    .await;
    check("name", |job| job["metadata"]["name"] = json!("b"), 400, nothing).await;
    check("namespace", |job| job["metadata"]["namespace"] = json!("b"), 400, nothing).await;
    check("kind", |job| job["kind"] = json!("Pod"), 400, nothing).await;
    check("version", |job| job["apiVersion"] = json!("kubeflow.org/v2"), 400, nothing).await;
    check(
        "finalizers",
        |job| job["metadata"]["finalizers"] = json!(["example.com/f"]),
        200,
        new_version,
    )
    .await;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]);
    check("owners", |job| job["metadata"]["ownerReferences"] = owner.clone(), 200, new_version)
        .await;
}

#[tokio::test]
async fn a_replace_of_a_missing_job_creates_it_unless_it_meant_another() {
    let server = Server::start().await;
    let (code, created) = server.put(&format!("{JOBS}/new"), &job("new")).await;
    assert_eq!((code, &created["status"]), (201, &json!({})));
    let mut with_uid = job("gone");
    with_uid["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    assert_eq!(server.put(&format!("{JOBS}/gone"), &with_uid).await.0, 409);
    let mut with_version = job("gone");
    with_version["metadata"]["resourceVersion"] = json!("5");
    assert_eq!(server.put(&format!("{JOBS}/gone"), &with_version).await.0, 404);
    assert_eq!(server.get(&format!("{JOBS}/gone")).await.0, 404);
}

#[tokio::test]
async fn patches_obey_the_replace_rule_and_strategic_ones_are_refused() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let item = format!("{JOBS}/a");
    let (code, answer) =
        server.patch(&item, &json!({"spec": {"ttlSecondsAfterFinished": 7}})).await;
    assert_eq!((code, &answer["spec"]["ttlSecondsAfterFinished"]), (200, &json!(7)));
    let (code, answer) = server.patch(&item, &json!({"spec": {"jobMode": "MXTune"}})).await;
    assert_eq!(code, 422, "{answer:#}");
    let operations = json!([{"op": "replace", "path": "/spec/cleanPodPolicy", "value": "All"}]);
    let (status, _) = server
        .admin
        .send(Method::PATCH, &item, "application/json-patch+json", Some(&operations))
        .await;
    assert_eq!(status, 200);
    let kind = "application/strategic-merge-patch+json";
    let (status, _) = server.admin.send(Method::PATCH, &item, kind, Some(&json!({}))).await;
    assert_eq!(status, 415);
}

#[tokio::test]
async fn status_takes_the_status_and_nothing_else() {
    let server = Server::start().await;
    let created = server.make(JOBS, &job("a")).await;
    let item = format!("{JOBS}/a");
    let mut body = created.clone();
    body["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
    body["spec"]["ttlSecondsAfterFinished"] = json!(1);
    body["metadata"]["labels"] = json!({"from": "status"});
    let (code, answer) = server.put(&format!("{item}/status"), &body).await;
    assert_eq!(code, 200, "{answer:#}");
    assert_eq!(answer["status"]["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(answer["spec"], created["spec"]);
    assert_eq!(answer["metadata"].get("labels"), None);
    assert_eq!(answer["metadata"]["generation"], 1);
    let (_, read) = server.get(&format!("{item}/status")).await;
    assert_eq!(read, answer);
}

#[tokio::test]
async fn only_the_known_get_in_and_health_is_open_to_all() {
    let server = Server::start().await;
    let check = async |path: &str, headers: &[(&str, &str)], want: u16| {
        let answer = server.raw("GET", path, headers, b"").await;
        assert_eq!(answer.code, want, "{path} {headers:?} {}", answer.text);
        if want == 401 {
            assert_eq!(answer.json()["reason"], "Unauthorized");
        }
    };
    check(JOBS, &[], 401).await;
    check(JOBS, &[("authorization", "Bearer bad")], 401).await;
    check(JOBS, &[("authorization", "Basic YTpi")], 401).await;
    check(JOBS, &[("authorization", "Bearer good")], 200).await;
    check(JOBS, &[("x-auth-token", "good")], 200).await;
    check(JOBS, &[("x-auth-token", "bad")], 401).await;
    check(JOBS, &[("authorization", "Bearer limited")], 403).await;
    check("/apis", &[], 401).await;
    check("/version", &[("authorization", "Bearer bad")], 401).await;
    check("/nope", &[("authorization", "Bearer good")], 404).await;
    for path in ["/healthz", "/livez", "/readyz", "/version", "/version/"] {
        check(path, &[], 200).await;
    }
}

#[tokio::test]
async fn what_is_in_no_namespace_cannot_be_reached_through_one() {
    let server = Server::start().await;
    let role = json!({"metadata": {"name": "x"}, "rules": []});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    assert_eq!(server.post(&format!("{rbac}/clusterroles"), &role).await.0, 404);
    for path in ["clusterroles/cluster-admin", "clusterrolebindings"] {
        assert_eq!(server.get(&format!("{rbac}/{path}")).await.0, 404, "{path}");
    }
    assert_eq!(server.get("/api/v1/namespaces/default/namespaces/kube-system").await.0, 404);
    assert_eq!(server.get("/api/v1/namespaces/default/nodes").await.0, 404);
}

#[tokio::test]
async fn a_create_under_a_name_creates_that_name() {
    let server = Server::start().await;
    assert_eq!(server.post(&format!("{JOBS}/a"), &job("b")).await.0, 400);
    assert_eq!(server.get(&format!("{JOBS}/b")).await.0, 404);
    assert_eq!(server.post(&format!("{JOBS}/a"), &job("a")).await.0, 201);
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_about_or_dropped_as_asked() {
    let server = Server::start().await;
    let mut body = job("a");
    body["spec"]["nonsense"] = json!(1);
    let text = serde_json::to_vec(&body).unwrap();
    let auth = [("authorization", "Bearer good")];
    let strict = server.raw("POST", &format!("{JOBS}?fieldValidation=Strict"), &auth, &text).await;
    assert_eq!(strict.code, 400, "{}", strict.text);
    assert!(strict.text.contains("unknown field \\\"spec.nonsense\\\""), "{}", strict.text);
    let warn = server.raw("POST", JOBS, &auth, &text).await;
    assert_eq!((warn.code, &warn.json()["spec"]["nonsense"]), (201, &Value::Null));
    assert_eq!(warn.headers["warning"], "299 - \"unknown field \\\"spec.nonsense\\\"\"");
    body["metadata"]["name"] = json!("b");
    let text = serde_json::to_vec(&body).unwrap();
    let ignore = server.raw("POST", &format!("{JOBS}?fieldValidation=Ignore"), &auth, &text).await;
    assert_eq!((ignore.code, ignore.headers.get("warning")), (201, None));
}
