//! The objects of a definition: defaults, pruning, rules, status, tables, apply.

use http::Method;
use serde_json::{Value, json};

use super::{DEFINITIONS, GROUPS, defined, group};
use crate::server::{JSON, Server};

const AUTH: (&str, &str) = ("authorization", "Bearer good");

#[tokio::test]
async fn an_object_is_defaulted_pruned_and_numbered() {
    let server = defined().await;
    let mut body = group("a", &json!({ "minMember": 1, "bogus": 1 }));
    body["status"] = json!({ "phase": "Running" });
    let made = server.make(GROUPS, &body).await;
    assert_eq!(made["spec"], json!({ "minMember": 1, "queue": "default" }));
    assert_eq!((&made["metadata"]["generation"], &made["status"]), (&json!(1), &Value::Null));
    let path = format!("{GROUPS}/a");
    let (_, status) = server
        .patch(
            &format!("{path}/status"),
            &json!({ "status": { "phase": "Running", "bogus": 1 }, "spec": { "minMember": 9 } }),
        )
        .await;
    assert_eq!(status["status"], json!({ "phase": "Running" }));
    assert_eq!(
        (&status["spec"]["minMember"], &status["metadata"]["generation"]),
        (&json!(1), &json!(1))
    );
    let (_, changed) =
        server.patch(&path, &json!({ "spec": { "minMember": 2 }, "status": null })).await;
    assert_eq!(
        (&changed["status"]["phase"], &changed["metadata"]["generation"]),
        (&json!("Running"), &json!(2))
    );
    // A put to a free name creates nothing, and an update needs a version.
    assert_eq!(server.put(&format!("{GROUPS}/b"), &group("b", &json!({}))).await.0, 404);
    assert_eq!(server.put(&path, &group("a", &json!({}))).await.0, 422);
    let mut other = changed.clone();
    other["kind"] = json!("Widget");
    let (code, refused) = server.put(&path, &other).await;
    assert_eq!((code, &refused["details"]["causes"][0]["field"]), (422, &json!("kind")));
    // Null is no value where the schema does not allow it.
    let nulls =
        server.make(GROUPS, &group("nulls", &json!({ "minMember": 1, "queue": null }))).await;
    assert_eq!(nulls["spec"], made["spec"]);
    let nulls = server.make(GROUPS, &group("no-spec", &Value::Null)).await;
    assert_eq!(nulls.get("spec"), None);
    let (code, refused) = server
        .call(
            Method::POST,
            &format!("{GROUPS}?fieldValidation=Strict"),
            &group("c", &json!({ "bogus": 1 })),
        )
        .await;
    assert_eq!(code, 400);
    assert_eq!(
        refused["message"],
        "PodGroup in version \"v1\" cannot be handled as a PodGroup: strict decoding error: unknown field \"spec.bogus\""
    );
}

#[tokio::test]
async fn schema_and_rules_are_held() {
    let server = defined().await;
    let check = async |spec: Value, expected: &str| {
        let (code, answer) = server.post(GROUPS, &group("a", &spec)).await;
        assert_eq!(code, 422, "{answer}");
        assert_eq!(
            answer["message"],
            format!("PodGroup.scheduling.example.com \"a\" is invalid: {expected}")
        );
    };
    check(json!({ "minMember": 0 }), "spec.minMember: Invalid value: 0: spec.minMember in body should be greater than or equal to 1").await;
    check(json!({ "minMember": 100 }), "spec: Invalid value: \"object\": too many members").await;
    check(
        json!({ "minMember": "1" }),
        "[spec.minMember: Invalid value: \"string\": spec.minMember in body must be of type integer: \"string\", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]",
    )
    .await;
    check(
        json!({ "tasks": [{ "name": "a" }, { "name": "a" }] }),
        "spec.tasks[1]: Duplicate value: {\"name\":\"a\"}",
    )
    .await;
    server.make(GROUPS, &group("a", &json!({ "queue": "x" }))).await;
    let (code, answer) =
        server.patch(&format!("{GROUPS}/a"), &json!({ "spec": { "queue": "y" } })).await;
    assert_eq!(code, 422);
    assert_eq!(
        (&answer["details"]["causes"][0]["field"], &answer["details"]["causes"][0]["reason"]),
        (&json!("spec.queue"), &json!("FieldValueForbidden")),
        "{answer:#}"
    );
}

#[tokio::test]
async fn what_an_older_schema_allowed_can_stay() {
    let server = defined().await;
    server.make(GROUPS, &group("a", &json!({ "minMember": 50 }))).await;
    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    let (_, mut definition) = server.get(&path).await;
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let spec = definition.pointer_mut(spec).unwrap();
    spec["properties"]["minMember"]["maximum"] = json!(10);
    spec["properties"]["minMember"]["x-kubernetes-validations"] =
        json!([{ "rule": "self < 10", "message": "small, please" }]);
    assert_eq!(server.put(&path, &definition).await.0, 200);
    let own = format!("{GROUPS}/a");
    let (code, answer) =
        server.patch(&own, &json!({ "spec": { "minResources": { "cpu": 1 } } })).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = server.patch(&own, &json!({ "spec": { "minMember": 49 } })).await;
    assert_eq!(code, 422);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("less than or equal to 10") && message.contains("small, please"),
        "{message}"
    );
}

#[tokio::test]
async fn a_read_shows_the_defaults_and_fields_of_the_present_schema() {
    let server = defined().await;
    let made = server.make(GROUPS, &group("a", &json!({ "minMember": 5 }))).await;
    let version = made["metadata"]["resourceVersion"].clone();
    let (_, before) = server.get(&format!("{GROUPS}/a")).await; // the answer must not be kept
    assert_eq!(before, made);
    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    let (_, mut definition) = server.get(&path).await;
    let new = &mut definition["spec"]["versions"][0];
    let spec = new.pointer_mut("/schema/openAPIV3Schema/properties/spec").unwrap();
    spec.as_object_mut().unwrap().remove("x-kubernetes-validations");
    let fields = spec["properties"].as_object_mut().unwrap();
    fields.remove("minMember");
    fields.insert("size".to_owned(), json!({ "type": "integer", "default": 3 }));
    new["additionalPrinterColumns"] =
        json!([{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }]);
    new["selectableFields"] = json!([{ "jsonPath": ".spec.size" }]);
    assert_eq!(server.put(&path, &definition).await.0, 200);

    let expected = json!({ "queue": "default", "size": 3 });
    for _ in 0..2 {
        let (_, read) = server.get(&format!("{GROUPS}/a")).await;
        assert_eq!((&read["spec"], &read["metadata"]["resourceVersion"]), (&expected, &version));
    }
    for query in ["", "?fieldSelector=spec.size%3D3"] {
        let (_, list) = server.get(&format!("{GROUPS}{query}")).await;
        assert_eq!(list["items"][0]["spec"], expected, "{query}");
        let mut watch = server
            .watch(&format!(
                "{GROUPS}{}watch=1",
                if query.is_empty() { "?".to_owned() } else { format!("{query}&") }
            ))
            .await;
        let event = watch.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["spec"]), (&json!("ADDED"), &expected));
        assert_eq!(event["object"]["metadata"]["resourceVersion"], version);
    }
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = server.raw("GET", GROUPS, &[AUTH, accept], b"").await.json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3]));

    // A write that changes nothing stores the object in its present form, once.
    let (_, read) = server.get(&format!("{GROUPS}/a")).await;
    let (code, stored) = server.put(&format!("{GROUPS}/a"), &read).await;
    assert_eq!((code, &stored["spec"]), (200, &expected));
    assert_ne!(stored["metadata"]["resourceVersion"], version);
    assert_eq!(stored["metadata"]["generation"], 1);
    let (_, again) = server.put(&format!("{GROUPS}/a"), &stored).await;
    assert_eq!(again, stored);
}

#[tokio::test]
async fn tables_have_the_defined_columns_and_fields_select() {
    let server = defined().await;
    server.make(GROUPS, &group("a", &json!({ "minMember": 3, "queue": "x" }))).await;
    server.make(GROUPS, &group("b", &json!({}))).await;
    server.patch(&format!("{GROUPS}/a/status"), &json!({ "status": { "phase": "Running" } })).await;
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = server.raw("GET", GROUPS, &[AUTH, accept], b"").await.json();
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Phase", "Members"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "Running", 3]));
    assert_eq!(table["rows"][1]["cells"], json!(["b", null, null]));
    let (_, some) = server.get(&format!("{GROUPS}?fieldSelector=spec.queue%3Dx")).await;
    assert_eq!(some["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&format!("{GROUPS}?fieldSelector=spec.minMember%3D3")).await.0, 400);
}

#[tokio::test]
async fn lists_with_keys_are_applied_item_by_item() {
    let server = defined().await;
    let apply = async |manager: &str, tasks: Value| {
        let body = group("a", &json!({ "tasks": tasks })).to_string();
        let path = format!("{GROUPS}/a?fieldManager={manager}");
        let headers = [AUTH, ("content-type", "application/apply-patch+yaml")];
        server.raw("PATCH", &path, &headers, body.as_bytes()).await
    };
    assert_eq!(apply("one", json!([{ "name": "x", "members": 1 }])).await.code, 201);
    let answer = apply("two", json!([{ "name": "y", "members": 2 }])).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    assert_eq!(
        answer.json()["spec"]["tasks"],
        json!([{ "name": "x", "members": 1 }, { "name": "y", "members": 2 }])
    );
    let answer = apply("two", json!([{ "name": "x", "members": 2 }])).await;
    assert_eq!(answer.code, 409, "{}", answer.text);
    assert_eq!(answer.json()["details"]["causes"][0]["field"], ".spec.tasks[name=\"x\"].members");
    let strategic = [AUTH, ("content-type", "application/strategic-merge-patch+json")];
    assert_eq!(server.raw("PATCH", &format!("{GROUPS}/a"), &strategic, b"{}").await.code, 415);
}

#[tokio::test]
async fn custom_resources_obey_rights_quotas_and_owners() {
    let server = defined().await;
    let limited = [("authorization", "Bearer limited"), ("content-type", JSON)];
    let body = group("a", &json!({})).to_string();
    assert_eq!(server.raw("POST", GROUPS, &limited, body.as_bytes()).await.code, 403);
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" },
        "spec": { "hard": { "count/podgroups.scheduling.example.com": "1" } } });
    server.make("/api/v1/namespaces/default/resourcequotas", &quota).await;
    let owner = server.make(GROUPS, &group("a", &json!({}))).await;
    assert_eq!(server.post(GROUPS, &group("b", &json!({}))).await.0, 403);
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m", "ownerReferences": [{
        "apiVersion": "scheduling.example.com/v1", "kind": "PodGroup", "name": "a", "uid": owner["metadata"]["uid"],
    }] } });
    server.make("/api/v1/namespaces/default/configmaps", &map).await;
    server.delete(&format!("{GROUPS}/a")).await;
    server
        .until("/api/v1/namespaces/default/configmaps/m", "collected", |code, _| code == 404)
        .await;
}

#[tokio::test]
async fn a_namespace_goes_with_its_custom_resources() {
    let server: Server = defined().await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } });
    server.make("/api/v1/namespaces", &namespace).await;
    server.make(&GROUPS.replace("default", "n"), &group("a", &json!({}))).await;
    server.delete("/api/v1/namespaces/n").await;
    server.until("/api/v1/namespaces/n", "gone", |code, _| code == 404).await;
}
