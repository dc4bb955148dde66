//! Null in maps and lists: the result of every kind of write, and of a null that was stored before.

use mxjob_store::{Expect, Transaction};
use serde_json::{Value, json};

use crate::server::{Answer, JOBS, Server, job};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn patch(server: &Server, path: &str, sort: &str, body: &Value) -> Answer {
    let headers =
        [("authorization", "Bearer good"), ("content-type", sort), ("accept", "application/json")];
    server.raw("PATCH", path, &headers, body.to_string().as_bytes()).await
}

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn pod(change: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "mxnet", "image": "mxnet:1"}]},
    });
    for (name, value) in change.as_object().unwrap() {
        pod["spec"][name] = value.clone();
    }
    pod
}

fn job_with(template: &Value) -> Value {
    let mut job = job("a");
    for (part, members) in template.as_object().unwrap() {
        for (name, value) in members.as_object().unwrap() {
            job["spec"]["mxReplicaSpecs"]["Worker"]["template"][part][name] = value.clone();
        }
    }
    job
}

#[tokio::test]
async fn null_in_a_map_is_the_zero_value_after_every_kind_of_write() {
    let server = Server::start().await;
    let given = json!({"a": null, "b": "x"});
    let stored = json!({"a": "", "b": "x"});
    assert_eq!(server.make(MAPS, &map("m", &given)).await["data"], stored);
    let path = format!("{MAPS}/m");
    let (code, object) = server.put(&path, &map("m", &given)).await;
    assert_eq!((code, &object["data"]), (200, &stored));
    let add = json!([{"op": "add", "path": "/data/c", "value": null}]);
    let answer = patch(&server, &path, JSON_PATCH, &add).await;
    assert_eq!(answer.json()["data"], json!({"a": "", "b": "x", "c": ""}), "{}", answer.text);
    for (sort, expected) in
        [(MERGE, json!({"a": "", "b": "x"})), (STRATEGIC, json!({"a": "", "b": "x"}))]
    {
        // In a merge patch null removes.
        let answer = patch(&server, &path, sort, &json!({"data": {"c": null}})).await;
        assert_eq!(answer.json()["data"], expected, "{sort}: {}", answer.text);
    }
    // Below a list a merge patch removes nothing.
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": null, "b": "aG\nk="}});
    let secret = server.make("/api/v1/namespaces/default/secrets", &secret).await;
    assert_eq!(secret["data"], json!({"a": "", "b": "aGk="}));
    for (config, code) in [(map("n", &given), 201), (map("n", &json!({"a": null, "b": "y"})), 200)]
    {
        let answer = patch(&server, &format!("{MAPS}/n?fieldManager=m"), APPLY, &config).await;
        assert_eq!(
            (answer.code, &answer.json()["data"]["a"]),
            (code, &json!("")),
            "{}",
            answer.text
        );
    }
    let again = patch(
        &server,
        &format!("{MAPS}/n?fieldManager=m"),
        APPLY,
        &map("n", &json!({"a": null, "b": "y"})),
    )
    .await;
    let (_, now) = server.get(&format!("{MAPS}/n")).await;
    assert_eq!(again.json()["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn metadata_keeps_no_null() {
    let server = Server::start().await;
    let mut object = map("m", &json!({}));
    object["metadata"]["labels"] = json!({"a": null});
    object["metadata"]["annotations"] = json!({"a": null});
    let made = server.make(MAPS, &object).await;
    assert_eq!(made["metadata"]["labels"], json!({"a": ""}));
    assert_eq!(made["metadata"]["annotations"], json!({"a": ""}));
    object["metadata"] = json!({"name": "n", "ownerReferences": [null]});
    let (code, refused) = server.post(MAPS, &object).await;
    assert_eq!(code, 422, "{refused:#}");
    object["metadata"] = json!({"name": "n", "finalizers": [null]});
    let (code, refused) = server.post(MAPS, &object).await;
    assert_eq!(code, 422, "{refused:#}");
}

#[tokio::test]
async fn a_null_item_of_a_list_is_validated_as_an_empty_object() {
    let server = Server::start().await;
    for (path, object) in [
        (PODS, pod(&json!({"containers": [null]}))),
        (JOBS, job_with(&json!({"spec": {"containers": [null]}}))),
    ] {
        let (code, refused) = server.post(path, &object).await;
        assert_eq!(code, 422, "{refused:#}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("containers[0].name: Required value"), "{message}");
    }
    let refused = server.post(JOBS, &job_with(&json!({"spec": {"volumes": [null]}}))).await;
    assert_eq!(refused.0, 422, "{:#}", refused.1);
    assert!(
        refused.1["message"].as_str().unwrap().contains("volumes[0].name: Required value"),
        "{:#}",
        refused.1
    );
}

#[tokio::test]
async fn the_templates_of_a_job_keep_no_null_in_maps_and_lists() {
    let server = Server::start().await;
    let given = job_with(&json!({
        "metadata": {"labels": {"pipeline": null}},
        "spec": {"nodeSelector": {"zone": null}, "hostname": null},
    }));
    let made = server.make(JOBS, &given).await;
    let template = &made["spec"]["mxReplicaSpecs"]["Worker"]["template"];
    assert_eq!(template["metadata"]["labels"], json!({"pipeline": ""}));
    assert_eq!(template["spec"]["nodeSelector"], json!({"zone": ""}));
    // A field is stored as it was written.
    assert_eq!(template["spec"]["hostname"], Value::Null);
    assert!(template["spec"].as_object().unwrap().contains_key("hostname"));

    // Repeating it is no change, in either form.
    for mut object in [given, made.clone()] {
        object["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
        let (code, same) = server.put(&format!("{JOBS}/a"), &object).await;
        assert_eq!(code, 200, "{same:#}");
        assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    }
    let add = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": null}}]);
    let answer = patch(&server, &format!("{JOBS}/a"), JSON_PATCH, &add).await;
    assert_eq!(answer.json()["metadata"]["labels"], json!({"a": ""}), "{}", answer.text);
}

#[tokio::test]
async fn a_job_that_was_stored_with_nulls_can_be_changed() {
    let server = Server::start().await;
    let made = server.make(JOBS, &job("a")).await;
    let key = "/registry/kubeflow.org/mxjobs/default/a";
    let store = server.api.store();
    let mut object = made.clone();
    object["spec"]["mxReplicaSpecs"]["Worker"]["template"]["metadata"] =
        json!({"labels": {"x": null}});
    let (before, after) = {
        object["metadata"]["resourceVersion"] = "@".into();
        let text = object.to_string();
        let (before, after) = text.split_once('@').unwrap();
        (before.to_owned(), after.to_owned())
    };
    assert!(store.get(key).is_some(), "the key of an object has changed");
    let value = mxjob_store::Value::stamped(before.into_bytes(), after.into_bytes());
    store.commit(Transaction::put(key, Expect::Any, value)).await.unwrap();

    let change = json!({"metadata": {"labels": {"a": "b"}}});
    let (code, changed) = server.patch(&format!("{JOBS}/a"), &change).await;
    assert_eq!(code, 200, "{changed:#}");
    let template = &changed["spec"]["mxReplicaSpecs"]["Worker"]["template"];
    assert_eq!(template["metadata"]["labels"], json!({"x": ""}));
    assert_eq!(changed["metadata"]["generation"], made["metadata"]["generation"]);
}
