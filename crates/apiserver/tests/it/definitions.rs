//! Custom resources by definition: what can be defined, what is then served, and how it goes.

mod going;
pub mod mxjobs;
mod objects;

use mxjob_apiserver::Extensions;
use serde_json::{Value, json};

use crate::server::Server;

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const GROUPS: &str = "/apis/scheduling.example.com/v1/namespaces/default/podgroups";

/// A kind like the pod groups of schedulers.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "podgroups.scheduling.example.com" },
        "spec": {
            "group": "scheduling.example.com", "scope": "Namespaced",
            "names": { "plural": "podgroups", "kind": "PodGroup", "shortNames": ["pg"], "categories": ["all"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Phase", "type": "string", "jsonPath": ".status.phase" },
                    { "name": "Members", "type": "integer", "jsonPath": ".spec.minMember", "priority": 1 },
                ],
                "selectableFields": [{ "jsonPath": ".spec.queue" }],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": {
                        "type": "object",
                        "properties": {
                            "minMember": { "type": "integer", "format": "int32", "minimum": 1 },
                            "queue": { "type": "string", "default": "default" },
                            "minResources": { "type": "object", "additionalProperties": {
                                "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }],
                            } },
                            "tasks": {
                                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                                "items": { "type": "object", "required": ["name"], "properties": {
                                    "name": { "type": "string" }, "members": { "type": "integer" },
                                } },
                            },
                        },
                        "x-kubernetes-validations": [
                            { "rule": "!has(self.minMember) || self.minMember < 100", "message": "too many members" },
                            { "rule": "self.queue == oldSelf.queue", "message": "queue is immutable", "fieldPath": ".queue", "reason": "FieldValueForbidden" },
                        ],
                    },
                    "status": { "type": "object", "properties": { "phase": { "type": "string" } } },
                } } },
            }],
        },
    })
}

pub fn group(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "scheduling.example.com/v1", "kind": "PodGroup", "metadata": { "name": name }, "spec": spec })
}

pub async fn defined() -> Server {
    let server = Server::without_mxjobs().await;
    server.make(DEFINITIONS, &definition()).await;
    server
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array().unwrap();
    all.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_definition_is_established_when_its_writer_hears_of_it() {
    let server = Server::without_mxjobs().await;
    assert_eq!(server.get(GROUPS).await.0, 404);
    let made = server.make(DEFINITIONS, &definition()).await;
    assert_eq!(condition(&made, "Established")["status"], "True", "{made:#}");
    assert_eq!(condition(&made, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "PodGroupList");
    assert_eq!(made["status"]["acceptedNames"]["singular"], "podgroup");
    let (code, list) = server.get(GROUPS).await;
    assert_eq!((code, &list["kind"]), (200, &json!("PodGroupList")));
}

#[tokio::test]
async fn what_is_defined_is_described_as_what_is_built_in() {
    let server = defined().await;
    let (_, groups) = server.get("/apis").await;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names.last(), Some(&"scheduling.example.com"));
    assert!(!names.contains(&"kubeflow.org"));
    let (_, resources) = server.get("/apis/scheduling.example.com/v1").await;
    let row = &resources["resources"][0];
    assert_eq!(
        (&row["name"], &row["shortNames"], &row["categories"]),
        (&json!("podgroups"), &json!(["pg"]), &json!(["all"]))
    );
    assert_eq!(resources["resources"][1]["name"], "podgroups/status");
    let (code, document) = server.get("/openapi/v3/apis/scheduling.example.com/v1").await;
    assert_eq!(code, 200);
    let schema = &document["components"]["schemas"]["com.example.scheduling.v1.PodGroup"];
    assert_eq!(schema["properties"]["spec"]["properties"]["queue"]["default"], "default");
    assert_eq!(server.get("/openapi/v3/apis/kubeflow.org/v1").await.0, 404);
    let (_, v2) = server.get("/openapi/v2").await;
    assert!(v2["definitions"]["com.example.scheduling.v1.PodGroup"].is_object());
}

#[tokio::test]
async fn version_2_of_openapi_lists_no_fields_where_others_may_be() {
    let server = Server::without_mxjobs().await;
    let mut open = definition();
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    let spec = format!("{schema}/properties/spec/properties");
    let fields = open.pointer_mut(&spec).unwrap();
    fields["open"] = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "known": { "type": "string" } } });
    fields["template"] = json!({ "type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true });
    server.make(DEFINITIONS, &open).await;
    let shown = async || {
        let (_, v3) = server.get("/openapi/v3/apis/scheduling.example.com/v1").await;
        let (_, v2) = server.get("/openapi/v2").await;
        let name = "com.example.scheduling.v1.PodGroup";
        (v3["components"]["schemas"][name].clone(), v2["definitions"][name].clone())
    };
    let (v3, v2) = shown().await;
    let metadata = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(v2["properties"]["metadata"]["$ref"], metadata);
    let (v3, v2) =
        (&v3["properties"]["spec"]["properties"], &v2["properties"]["spec"]["properties"]);
    assert_eq!(v3["open"]["properties"]["known"]["type"], "string");
    assert_eq!(v3["template"]["required"], json!(["kind", "apiVersion"]));
    assert_eq!(v2["open"], json!({ "x-kubernetes-preserve-unknown-fields": true }));
    assert_eq!(v2["template"].get("properties"), None);
    assert_eq!(v2["queue"], v3["queue"]);

    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    let (_, mut stored) = server.get(&path).await;
    stored.pointer_mut(schema).unwrap()["x-kubernetes-preserve-unknown-fields"] = json!(true);
    assert_eq!(server.put(&path, &stored).await.0, 200);
    let (v3, v2) = shown().await;
    assert!(v3["properties"]["spec"].is_object());
    let gvk = json!([{ "group": "scheduling.example.com", "version": "v1", "kind": "PodGroup" }]);
    assert_eq!(v2, json!({ "type": "object", "x-kubernetes-group-version-kind": gvk }));
}

#[tokio::test]
async fn an_invalid_definition_is_rejected_with_its_errors() {
    let server = Server::without_mxjobs().await;
    let check = async |path: &str, value: Value, expected: &str| {
        let mut body = definition();
        match path.rsplit_once('/') {
            Some((parent, last)) => {
                let parent = body.pointer_mut(parent).unwrap();
                match last.parse::<usize>() {
                    Ok(index) => parent[index] = value,
                    Err(_) => parent[last] = value,
                }
            }
            None => body = value,
        }
        let (code, answer) = server.post(DEFINITIONS, &body).await;
        assert_eq!(code, 422, "{answer:#}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    };
    check(
        "/metadata/name",
        json!("groups.example.com"),
        "metadata.name: Invalid value: \"groups.example.com\": must be spec.names.plural+\".\"+spec.group",
    )
    .await;
    check("/spec/scope", json!("Galactic"), "spec.scope: Unsupported value: \"Galactic\"").await;
    check(
        "/spec/versions/0/storage",
        json!(false),
        "must have exactly one version marked as storage version",
    )
    .await;
    check(
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        json!({ "properties": {} }),
        "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
    )
    .await;
    check(
        "/spec/versions/0/schema/openAPIV3Schema/properties/status/x-kubernetes-validations",
        json!([{ "rule": "self.phase ==" }]),
        "properties[status].x-kubernetes-validations[0].rule: Invalid value: \"self.phase ==\": compilation failed",
    )
    .await;
    check(
        "/spec/versions/0/schema/openAPIV3Schema/properties/status/x-kubernetes-validations",
        json!([{ "rule": format!("self{} == 1", ".a".repeat(1_000)) }]),
        "compilation failed: an expression may have at most 500 operators",
    )
    .await;
    check(
        "/spec/conversion",
        json!({ "strategy": "Webhook" }),
        "spec.conversion.strategy: Unsupported value: \"Webhook\": supported values: \"None\"",
    )
    .await;
    check(
        "/spec/versions/0/additionalPrinterColumns/0/jsonPath",
        json!("status"),
        "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"status\"",
    )
    .await;
}

#[tokio::test]
async fn what_is_not_served_of_a_definition_is_said() {
    let server = Server::without_mxjobs().await;
    let mut body = definition();
    body["spec"]["versions"][0]["subresources"]["scale"] =
        json!({ "specReplicasPath": ".spec.minMember", "statusReplicasPath": ".status.running" });
    let headers = [("authorization", "Bearer good"), ("content-type", "application/json")];
    let answer = server.raw("POST", DEFINITIONS, &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    assert_eq!(
        answer.headers["warning"],
        "299 - \"this server has no scale subresources, so version v1 is served without\""
    );
    assert_eq!(server.get(&format!("{GROUPS}/a/scale")).await.0, 404);
}

#[tokio::test]
async fn names_that_others_have_are_not_accepted_until_they_go() {
    let server = defined().await;
    let mut other = definition();
    other["metadata"]["name"] = json!("groups.scheduling.example.com");
    other["spec"]["names"] = json!({ "plural": "groups", "kind": "PodGroup" });
    let made = server.make(DEFINITIONS, &other).await;
    let names = condition(&made, "NamesAccepted");
    assert_eq!(
        (&names["reason"], &names["message"]),
        (&json!("SingularConflict"), &json!("\"podgroup\" is already in use"))
    );
    assert_eq!(condition(&made, "Established")["reason"], "NotAccepted");
    let others = GROUPS.replace("podgroups", "groups");
    assert_eq!(server.get(&others).await.0, 404);
    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    assert_eq!(server.delete(&path).await.0, 200);
    server.until(&others, "served", |code, _| code == 200).await;
}

#[tokio::test]
async fn a_definition_goes_after_its_objects() {
    let server = defined().await;
    server.make(GROUPS, &group("free", &json!({}))).await;
    let mut held = group("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.make(GROUPS, &held).await;
    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    let (code, going) = server.delete(&path).await;
    assert_eq!(code, 200);
    assert_eq!(condition(&going, "Terminating")["reason"], "InstanceDeletionPending");
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    server.until(&format!("{GROUPS}/free"), "gone", |code, _| code == 404).await;
    let (code, refused) = server.post(GROUPS, &group("late", &json!({}))).await;
    assert_eq!(code, 405, "{refused}");
    assert_eq!(
        refused["message"],
        "create not allowed while custom resource definition is terminating"
    );
    assert_eq!(server.get(&format!("{GROUPS}/held")).await.0, 200);
    server.patch(&format!("{GROUPS}/held"), &json!({ "metadata": { "finalizers": [] } })).await;
    server.until(&path, "gone", |code, _| code == 404).await;
    server.until(GROUPS, "unknown", |code, _| code == 404).await;
    // The same can be defined again, and is empty.
    server.make(DEFINITIONS, &definition()).await;
    assert_eq!(server.get(GROUPS).await.1["items"], json!([]));
}

#[tokio::test]
async fn definitions_and_their_objects_survive_a_restart() {
    let server = Server::start().await;
    server.make(DEFINITIONS, &definition()).await;
    server.make(GROUPS, &group("a", &json!({ "minMember": 2 }))).await;
    let server = server.again(Extensions::default()).await;
    assert_eq!(server.get(&format!("{GROUPS}/a")).await.1["spec"]["minMember"], 2);
    assert_eq!(server.post(GROUPS, &group("b", &json!({ "minMember": 0 }))).await.0, 422);
}

#[tokio::test]
async fn the_definition_of_what_is_built_in_is_read_only() {
    let server = Server::start().await;
    let path = format!("{DEFINITIONS}/mxjobs.kubeflow.org");
    let (_, own) = server.get(&path).await;
    for (code, answer) in [
        server.delete(&path).await,
        server.patch(&path, &json!({ "metadata": { "labels": { "a": "b" } } })).await,
        server.put(&path, &own).await,
    ] {
        assert_eq!(code, 405, "{answer}");
    }
    assert_eq!(server.post(DEFINITIONS, &mxjobs::definition()).await.0, 409);
    server.make(DEFINITIONS, &definition()).await;
    server.delete(DEFINITIONS).await;
    assert_eq!(server.get(&path).await.1["metadata"]["deletionTimestamp"], Value::Null);
}

#[tokio::test]
async fn versions_differ_by_their_names_alone() {
    let server = Server::without_mxjobs().await;
    let mut both = definition();
    let mut older = both["spec"]["versions"][0].clone();
    older["name"] = json!("v1beta1");
    older["storage"] = json!(false);
    both["spec"]["versions"].as_array_mut().unwrap().push(older);
    server.make(DEFINITIONS, &both).await;
    let beta = GROUPS.replace("/v1/", "/v1beta1/");
    let mut body = group("a", &json!({ "minMember": 2 }));
    body["apiVersion"] = json!("scheduling.example.com/v1beta1");
    let made = server.make(&beta, &body).await;
    assert_eq!(made["apiVersion"], "scheduling.example.com/v1beta1");
    let mut watch = server.watch(&format!("{beta}?watch=true&resourceVersion=0")).await;
    assert_eq!(watch.next().await.unwrap()["object"]["apiVersion"], made["apiVersion"]);
    let (_, stored) = server.get(&format!("{GROUPS}/a")).await;
    assert_eq!(stored["apiVersion"], "scheduling.example.com/v1");
    assert_eq!(server.get(&beta).await.1["items"][0]["apiVersion"], made["apiVersion"]);
    let (code, changed) =
        server.patch(&format!("{beta}/a"), &json!({ "spec": { "minMember": 3 } })).await;
    assert_eq!((code, &changed["apiVersion"]), (200, &made["apiVersion"]), "{changed}");
    assert_eq!(server.get(&format!("{GROUPS}/a")).await.1["spec"]["minMember"], 3);
    // The storage version moves; what is stored is shown in it all the same.
    let path = format!("{DEFINITIONS}/podgroups.scheduling.example.com");
    let (_, mut now) = server.get(&path).await;
    now["spec"]["versions"][0]["storage"] = json!(false);
    now["spec"]["versions"][1]["storage"] = json!(true);
    let (code, now) = server.put(&path, &now).await;
    assert_eq!((code, &now["status"]["storedVersions"]), (200, &json!(["v1", "v1beta1"])));
    assert_eq!(server.get(&format!("{beta}/a")).await.1["apiVersion"], made["apiVersion"]);
    let mut without = now.clone();
    without["spec"]["versions"].as_array_mut().unwrap().remove(0);
    let (code, answer) = server.put(&path, &without).await;
    assert_eq!(code, 422);
    assert!(
        answer["message"].as_str().unwrap().contains("v1 was previously a storage version"),
        "{answer}"
    );
    let (_, groups) = server.get("/apis/scheduling.example.com").await;
    assert_eq!(groups["preferredVersion"]["version"], "v1");
}
