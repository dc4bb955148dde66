//! Names of containers and volumes, and other parts of paths: refused in every kind and by every
//! way to write.

use http::Method;
use mxjob_store::{Expect, Op, Transaction};
use serde_json::{Value, json};

use crate::server::{JOBS, Server, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const APPLY: &str = "application/apply-patch+yaml";

/// Changes of a good pod spec, and the field of which each is refused.
fn evil() -> Vec<(Value, &'static str)> {
    let main = |more: Value| {
        let mut container = json!({ "name": "mxnet", "image": "i" });
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([container])
    };
    let mounting = |mount: Value| json!({ "volumes": [{ "name": "v", "emptyDir": {} }], "containers": main(json!({ "volumeMounts": [mount] })) });
    vec![
        (
            json!({ "initContainers": [{ "name": "../u/c", "image": "i" }] }),
            "initContainers[0].name",
        ),
        (
            json!({ "initContainers": [{ "name": "mxnet", "image": "i" }] }),
            "initContainers[0].name",
        ),
        (
            json!({ "ephemeralContainers": [{ "name": "..", "image": "i" }] }),
            "ephemeralContainers[0].name",
        ),
        (json!({ "volumes": [{ "name": "../../x", "emptyDir": {} }] }), "volumes[0].name"),
        (json!({ "volumes": [{ "name": "v" }, { "name": "v" }] }), "volumes[1].name"),
        (
            json!({ "volumes": [{ "name": "v", "secret": { "secretName": "s", "items": [{ "key": "k", "path": "../x" }] } }] }),
            "volumes[0].secret.items[0].path",
        ),
        (mounting(json!({ "name": "x", "mountPath": "/m" })), "containers[0].volumeMounts[0].name"),
        (
            mounting(json!({ "name": "v", "mountPath": "/m", "subPath": ".." })),
            "containers[0].volumeMounts.subPath",
        ),
        (
            mounting(json!({ "name": "v", "mountPath": "/m", "subPathExpr": "/$(A)" })),
            "containers[0].volumeMounts.subPathExpr",
        ),
        (
            mounting(json!({ "name": "v", "mountPath": "/m", "subPath": "a", "subPathExpr": "b" })),
            "containers[0].volumeMounts[0].subPathExpr",
        ),
    ]
}

fn spec(change: &Value) -> Value {
    let mut spec =
        json!({ "restartPolicy": "Never", "containers": [{ "name": "mxnet", "image": "i" }] });
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    spec
}

fn pod(name: &str, change: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec(change) })
}

fn job_with(name: &str, change: &Value) -> Value {
    let mut job = job(name);
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"] = spec(change);
    job
}

/// Holds that an answer is a refusal because of this field.
fn refused((code, answer): (u16, Value), field: &str) {
    assert_eq!(code, 422, "{field}: {answer:#}");
    let causes = answer["details"]["causes"].as_array().unwrap();
    assert!(causes.iter().any(|cause| cause["field"] == field), "{field}: {answer:#}");
}

async fn apply(server: &Server, path: &str, object: &Value) -> (u16, Value) {
    let path = format!("{path}?fieldManager=m&force=true");
    let (status, answer) = server.admin.send(Method::PATCH, &path, APPLY, Some(object)).await;
    (status.as_u16(), answer)
}

#[tokio::test]
async fn a_pod_with_such_names_cannot_be_made_or_become_one() {
    let server = Server::start().await;
    server.make(PODS, &pod("good", &json!({}))).await;
    let good = format!("{PODS}/good");
    for (change, field) in evil() {
        let field = format!("spec.{field}");
        refused(server.post(PODS, &pod("evil", &change)).await, &field);
        refused(apply(&server, &format!("{PODS}/evil"), &pod("evil", &change)).await, &field);
        assert_eq!(server.get(&format!("{PODS}/evil")).await.0, 404);
        // The spec of a pod that exists is fixed.
        for answer in [
            server.put(&good, &pod("good", &change)).await,
            server.patch(&good, &json!({ "spec": change })).await,
            apply(&server, &good, &pod("good", &change)).await,
        ] {
            assert_eq!(answer.0, 422, "{field}: {:#}", answer.1);
        }
    }
    let (_, answer) = server.post(PODS, &pod("evil", &evil()[0].0)).await;
    assert_eq!(
        answer["message"],
        "Pod \"evil\" is invalid: spec.initContainers[0].name: Invalid value: \"../u/c\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    );
}

#[tokio::test]
async fn a_job_with_such_names_in_a_template_cannot_be_made_or_become_one() {
    let server = Server::start().await;
    let good = server.make(JOBS, &job("good")).await;
    let path = format!("{JOBS}/good");
    for (change, field) in evil() {
        let field = format!("spec.mxReplicaSpecs.Worker.template.spec.{field}");
        refused(server.post(JOBS, &job_with("evil", &change)).await, &field);
        refused(apply(&server, &format!("{JOBS}/evil"), &job_with("evil", &change)).await, &field);
        assert_eq!(server.get(&format!("{JOBS}/evil")).await.0, 404);
        let mut replaced = job_with("good", &change);
        replaced["metadata"]["resourceVersion"] = good["metadata"]["resourceVersion"].clone();
        for answer in [
            server.put(&path, &replaced).await,
            server.patch(&path, &json!({ "spec": replaced["spec"] })).await,
            apply(&server, &path, &job_with("good", &change)).await,
        ] {
            assert_eq!(answer.0, 422, "{field}: {:#}", answer.1);
        }
    }
}

#[tokio::test]
async fn what_was_stored_before_names_were_checked_can_be_changed_and_removed() {
    let server = Server::start().await;
    let change = json!({ "initContainers": [{ "name": "good-name", "image": "i" }] });
    for (collection, key, object) in [
        (JOBS, "/registry/kubeflow.org/mxjobs/default/old", job_with("old", &change)),
        (PODS, "/registry/pods/default/old", pod("old", &change)),
    ] {
        // Past the API, as an older version has stored it.
        let mut object = server.make(collection, &object).await;
        object["metadata"]["finalizers"] = json!(["example.com/f"]);
        object["metadata"]["resourceVersion"] = json!("REVISION");
        let text = object.to_string().replace("\"good-name\"", "\"../u/c\"");
        let (before, after) = text.split_once("REVISION").unwrap();
        let value = mxjob_store::Value::stamped(before.to_owned(), after.to_owned());
        let put = Op::Put { key: key.into(), expect: Expect::Any, value };
        server.api.store().commit(Transaction(vec![put])).await.unwrap();
        let path = format!("{collection}/old");
        let label = json!({ "metadata": { "labels": { "a": "b" } } });
        let (code, answer) = server.patch(&path, &label).await;
        assert_eq!(code, 200, "{answer:#}");
        let named =
            if collection == JOBS { "/spec/mxReplicaSpecs/Worker/template/spec" } else { "/spec" };
        let name = format!("{named}/initContainers/0/name");
        assert_eq!(answer.pointer(&name), Some(&json!("../u/c")));
        if collection == JOBS {
            let (code, answer) =
                server.patch(&path, &json!({ "spec": { "ttlSecondsAfterFinished": 5 } })).await;
            assert_eq!(code, 200, "{answer:#}");
        }
        let (code, answer) =
            server.patch(&path, &json!({ "metadata": { "finalizers": null } })).await;
        assert_eq!(code, 200, "{answer:#}");
        assert_eq!(server.delete(&path).await.0, 200);
        assert_eq!(server.get(&path).await.0, 404);
    }
}

#[tokio::test]
async fn a_deployment_with_such_names_in_its_template_is_refused() {
    let server = Server::start().await;
    let deployment = |name: &str, change: &Value| {
        let mut spec = spec(change);
        spec["restartPolicy"] = json!("Always");
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": {
                "selector": { "matchLabels": { "app": "d" } },
                "template": { "metadata": { "labels": { "app": "d" } }, "spec": spec },
            },
        })
    };
    server.make(DEPLOYMENTS, &deployment("good", &json!({}))).await;
    let good = format!("{DEPLOYMENTS}/good");
    for (change, field) in evil() {
        let field = format!("spec.template.spec.{field}");
        refused(server.post(DEPLOYMENTS, &deployment("evil", &change)).await, &field);
        refused(server.put(&good, &deployment("good", &change)).await, &field);
        refused(apply(&server, &good, &deployment("good", &change)).await, &field);
        let patch = json!({ "spec": { "template": { "spec": change } } });
        refused(server.patch(&good, &patch).await, &field);
    }
}

#[tokio::test]
async fn keys_of_config_maps_and_secrets_are_names_of_files() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let secrets = "/api/v1/namespaces/default/secrets";
    for (path, field, value) in [
        (maps, "data", "x"),
        (maps, "binaryData", "eA=="),
        (secrets, "data", "eA=="),
        (secrets, "stringData", "x"),
    ] {
        let made = server
            .make(
                path,
                &json!({ "metadata": { "generateName": "good-" }, field: { "a.b_C-1": value } }),
            )
            .await;
        let item = format!("{path}/{}", made["metadata"]["name"].as_str().unwrap());
        let shown = if field == "stringData" { "data" } else { field };
        for key in ["../x", "a/b", "..", ".", ""] {
            let body = json!({ "metadata": { "name": "evil" }, field: { key: value } });
            refused(server.post(path, &body).await, &format!("{shown}[{key}]"));
            let patch = json!({ field: { key: value } });
            refused(server.patch(&item, &patch).await, &format!("{shown}[{key}]"));
        }
    }
}
