//! MXJobs by their definition alone, as a cluster has them before any webhook: what schema and CEL
//! hold of the contract.

use serde_json::{Value, json};

use super::DEFINITIONS;
use crate::server::{JOBS, Server, job};

/// The definition that is installed on clusters.
pub fn definition() -> Value {
    let text = include_bytes!("../../../../../manifests/mxjobs.kubeflow.org.yaml");
    mxjob_machinery::yaml::decode(text).unwrap()
}

async fn defined() -> Server {
    let server = Server::without_mxjobs().await;
    assert_eq!(server.get(JOBS).await.0, 404);
    server.make(DEFINITIONS, &definition()).await;
    server
}

#[tokio::test]
async fn the_definition_of_the_manifests_serves_jobs() {
    let server = defined().await;
    let made = server.make(JOBS, &job("digits")).await;
    assert_eq!(made["spec"], job("digits")["spec"], "nothing is added and nothing lost");
    let path = format!("{JOBS}/digits");
    let status = json!({ "status": { "conditions": [{ "type": "Created", "status": "True" }] } });
    let (code, answer) = server.patch(&format!("{path}/status"), &status).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["metadata"]["generation"], 1);
    let (_, answer) = server.patch(&path, &json!({ "spec": { "activeDeadlineSeconds": 5 } })).await;
    assert_eq!(
        (&answer["metadata"]["generation"], &answer["spec"]["activeDeadlineSeconds"]),
        (&json!(2), &json!(5))
    );
}

#[tokio::test]
async fn the_replaceable_fields_are_replaceable() {
    let server = defined().await;
    server.make(JOBS, &job("digits")).await;
    for (field, value) in [
        ("activeDeadlineSeconds", json!(60)),
        ("ttlSecondsAfterFinished", json!(9)),
        ("cleanPodPolicy", json!("All")),
        ("suspend", json!(true)),
    ] {
        let (code, answer) =
            server.patch(&format!("{JOBS}/digits"), &json!({ "spec": { field: value } })).await;
        assert_eq!(code, 200, "{field}: {answer}");
    }
    let (code, _) = server
        .patch(&format!("{JOBS}/digits"), &json!({ "metadata": { "labels": { "a": "b" } } }))
        .await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn what_the_schema_can_say_is_refused() {
    let server = defined().await;
    for (pointer, value, field) in [
        ("/spec/cleanPodPolicy", json!("Sometimes"), "spec.cleanPodPolicy"),
        ("/spec/jobMode", json!("MXGuess"), "spec.jobMode"),
        ("/spec/activeDeadlineSeconds", json!(0), "spec.activeDeadlineSeconds"),
        ("/spec/backoffLimit", json!(-1), "spec.backoffLimit"),
        // Schema or rule: the one names the role, the other the map of roles.
        ("/spec/mxReplicaSpecs/Worker/replicas", json!(-1), "spec.mxReplicaSpecs.Worker.replicas"),
    ] {
        let mut body = job("digits");
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[last] = value;
        let (code, answer) = server.post(JOBS, &body).await;
        assert_eq!(code, 422, "{pointer}: {answer}");
        let causes = answer["details"]["causes"].as_array().unwrap();
        assert!(
            causes.iter().any(|cause| field.starts_with(cause["field"].as_str().unwrap())),
            "{pointer}: {answer:#}"
        );
    }
}
