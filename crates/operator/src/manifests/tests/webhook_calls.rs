//! When the webhook is called: its match condition, on the requests of a cluster.

use kube_cel::KubeCelExt as _;
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::json;

use super::*;

fn is_called(operation: &str, object: &Value, old: &Value) -> bool {
    let mut context = Context::default().with_all();
    let program = Program::compile(admission::CONDITION).unwrap();
    let request = json!({ "operation": operation });
    for (name, value) in [("request", &request), ("object", object), ("oldObject", old)] {
        context.add_variable(name, value).unwrap();
    }
    match program.execute(&context).unwrap() {
        Cel::Bool(called) => called,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_webhook_is_called_for_new_jobs_and_changed_specs_only() {
    let job = json!({
        "metadata": { "name": "digits", "finalizers": ["a"], "resourceVersion": "1" },
        "spec": { "suspend": true, "mxReplicaSpecs": { "Worker": { "replicas": 1 } } },
        "status": { "conditions": [] },
    });
    let changed = |pointer: &str, value: Value| {
        let mut job = job.clone();
        *job.pointer_mut(pointer).unwrap() = value;
        job
    };
    let mut without = job.clone();
    without.as_object_mut().unwrap().remove("spec");
    assert!(is_called("CREATE", &job, &Value::Null));
    assert!(is_called("CREATE", &without, &Value::Null));
    for (new, called) in [
        (changed("/spec/suspend", json!(false)), true),
        (changed("/spec/mxReplicaSpecs/Worker/replicas", json!(2)), true),
        (changed("/spec", json!({})), true),
        (without.clone(), true),
        (job.clone(), false),
        (changed("/metadata/finalizers", json!([])), false),
        (changed("/metadata", json!({ "name": "digits", "labels": { "a": "b" } })), false),
        (changed("/metadata", json!({ "deletionTimestamp": "2026-11-24T08:00:00Z" })), false),
        (changed("/status", json!({ "startTime": "2026-11-24T08:00:00Z" })), false),
    ] {
        assert_eq!(is_called("UPDATE", &new, &job), called, "{new}");
    }
    assert!(!is_called("UPDATE", &without, &without), "an old job without a spec can be deleted");
    assert!(is_called("UPDATE", &job, &without));
}

/// A request as an API server of 1.32 sent it.
fn recorded(name: &str) -> Value {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/data/reviews");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let review: Value = serde_json::from_str(&text).unwrap();
    review["request"].clone()
}

#[test]
fn the_webhook_is_called_for_recorded_requests_that_change_a_spec() {
    for (name, called) in [
        ("create", true),
        ("apply", true),
        ("update-of-fixed-fields", true),
        ("queue", true),
        ("finalizer", false),
        ("garbage-collector", false),
        // The rules exclude it before the condition is evaluated.
        ("status", false),
    ] {
        let request = recorded(name);
        let operation = request["operation"].as_str().unwrap();
        let found = is_called(operation, &request["object"], &request["oldObject"]);
        assert_eq!(found, called, "{name}");
    }
}

#[test]
fn the_configuration_has_instructions_and_is_limited_to_its_namespace() {
    let objects = all(&Settings {
        namespace: "own".into(),
        watch_namespace: Some("team".into()),
        gang_scheduler: "volcano".into(),
        ..Settings::default()
    });
    let configuration = find(&objects, "ValidatingWebhookConfiguration", "mxjob").unwrap();
    let instructions =
        &configuration["metadata"]["annotations"]["mxjob.kubeflow.org/when-it-is-down"];
    let command = "kubectl delete validatingwebhookconfiguration mxjob";
    assert!(instructions.as_str().unwrap().contains(command), "{instructions}");
    let restore = "mxjob manifests --only webhook --namespace own --watch-namespace team --gang-scheduler volcano | kubectl apply -f -";
    assert!(instructions.as_str().unwrap().ends_with(restore), "{instructions}");
    let webhook = &configuration["webhooks"][0];
    assert_eq!(webhook["failurePolicy"], "Fail");
    assert_eq!(webhook["rules"][0]["resources"], json!(["mxjobs"]), "no subresource");
    let selector = &webhook["namespaceSelector"]["matchLabels"];
    assert_eq!(*selector, json!({ "kubernetes.io/metadata.name": "team" }));
}
