//! Section 3 of the contract: unknown fields are reported by path and dropped.

use mxjob_api::unknown;
use serde_json::{Value, json};

use crate::jobs::{training, with};

/// Asserts that these are the unknown fields, and that dropping them leaves the rest.
fn check(object: &Value, fields: &[&str]) {
    assert_eq!(unknown::fields(object), fields);
    let mut pruned = object.clone();
    unknown::prune(&mut pruned);
    assert_eq!(unknown::fields(&pruned), Vec::<String>::new());
    assert_eq!(pruned == *object, fields.is_empty());
}

#[test]
fn an_unknown_field_is_named_at_every_depth() {
    let worker = |patch: Value| json!({ "mxReplicaSpecs": { "Worker": patch } });
    let container = |field: &str| {
        worker(
            json!({ "template": { "spec": { "containers": [{ "name": "mxnet", "image": "i", field: [{ "x": 1 }] }] } } }),
        )
    };
    let cases: &[(Value, &[&str])] = &[
        (json!({}), &[]),
        (
            json!({ "notAField": { "x": 1 }, "runPolicy": { "nope": 1 } }),
            &["spec.notAField", "spec.runPolicy.nope"],
        ),
        // The documentation has this spelling in one place; it was never a field.
        (json!({ "activeDeadlineSecond": 5 }), &["spec.activeDeadlineSecond"]),
        (json!({ "runPolicy": { "successPolicy": "" } }), &["spec.runPolicy.successPolicy"]),
        (json!({ "schedulingPolicy": { "minMember": 1 } }), &["spec.schedulingPolicy.minMember"]),
        (json!({ "schedulingPolicy": { "minResources": { "example.com/any": 1 } } }), &[]),
        (worker(json!({ "replica": 1 })), &["spec.mxReplicaSpecs.Worker.replica"]),
        (
            json!({ "mxReplicaSpecs": { "Master": { "template": {}, "x": 1 } } }),
            &["spec.mxReplicaSpecs.Master.x"],
        ),
        (
            worker(json!({ "template": { "specs": {} } })),
            &["spec.mxReplicaSpecs.Worker.template.specs"],
        ),
        (
            worker(json!({ "template": { "spec": { "volume": [] } } })),
            &["spec.mxReplicaSpecs.Worker.template.spec.volume"],
        ),
        (
            container("imagePullPolice"),
            &["spec.mxReplicaSpecs.Worker.template.spec.containers[0].imagePullPolice"],
        ),
        (
            container("volumeMounts"),
            &["spec.mxReplicaSpecs.Worker.template.spec.containers[0].volumeMounts[0].x"],
        ),
        (
            worker(
                json!({ "template": { "metadata": { "labels": { "any/key": "v" }, "lables": {} } } }),
            ),
            &["spec.mxReplicaSpecs.Worker.template.metadata.lables"],
        ),
        (worker(json!({ "template": { "spec": { "nodeSelector": { "any": "v" } } } })), &[]),
    ];
    for (patch, fields) in cases {
        check(&with(&training(), patch), fields);
    }
}

#[test]
fn the_whole_object_is_checked_except_its_metadata() {
    let mut object = training();
    object["bogus"] = json!(1);
    object["metadata"]["bogus"] = json!(1);
    object["status"] = json!({
        "phase": "Done", "conditions": [{ "type": "A", "status": "True", "observedGeneration": 1 }],
        "completedIndexes": { "Worker": "0-2" }, "restartState": { "attempt": 1, "counted": { "u": 1 } },
        "mxReplicaStatuses": { "Worker": { "active": 1, "ready": 1 } },
    });
    check(
        &object,
        &[
            "bogus",
            "status.conditions[0].observedGeneration",
            "status.mxReplicaStatuses.Worker.ready",
            "status.phase",
        ],
    );
}

#[test]
fn pruning_removes_only_unknown_fields() {
    let object = with(
        &training(),
        &json!({ "cleanPodPolicy": "All", "backoffLimit": "wrong type", "runPolicy": "wrong type" }),
    );
    check(&object, &[]);
    let mut pruned = with(&object, &json!({ "nope": { "cleanPodPolicy": "All" } }));
    unknown::prune(&mut pruned);
    assert_eq!(pruned, object);
}

#[test]
fn any_json_can_be_checked() {
    for value in [json!(null), json!([]), json!("x"), json!({ "spec": [{ "a": 1 }] })] {
        check(&value, &[]);
    }
}
