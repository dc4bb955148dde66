//! Section 4 of the contract: names, labels, environment, pods and services.

use mxjob_api::{Role, env, labels, pods};
use serde_json::{Value, json};

use crate::jobs::{alone, read, training, tuning, with, worker_patch};

fn variables(object: &Value, role: Role, index: u32) -> Vec<(String, String)> {
    env::for_replica(&read(object), role, index)
}

fn check(found: &[(String, String)], expected: &[(&str, &str)]) {
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_worker_has_exactly_this_environment() {
    let job = with(&training(), &worker_patch(&json!({ "replicas": 2 })));
    check(
        &variables(&job, Role::Worker, 1),
        &[
            (
                "MX_CONFIG",
                r#"{"cluster":{"scheduler":[{"url":"digits-scheduler-0","port":9091}],"server":[{"url":"digits-server-0","port":9091}],"worker":[{"url":"digits-worker-0","port":9091},{"url":"digits-worker-1","port":9091}]},"labels":{"scheduler":"","server":"","worker":""},"task":{"type":"worker","index":1}}"#,
            ),
            ("DMLC_PS_ROOT_PORT", "9091"),
            ("DMLC_PS_ROOT_URI", "digits-scheduler-0"),
            ("DMLC_NUM_SERVER", "1"),
            ("DMLC_NUM_WORKER", "2"),
            ("DMLC_ROLE", "worker"),
            ("DMLC_USE_KUBERNETES", "1"),
            ("DMLC_WORKER_ID", "1"),
        ],
    );
}

#[test]
fn only_workers_have_a_worker_id() {
    for (job, role) in
        [(training(), Role::Scheduler), (training(), Role::Server), (tuning(), Role::Tuner)]
    {
        let found = variables(&job, role, 0);
        assert_eq!(found.len(), 7);
        assert_eq!(found[5], ("DMLC_ROLE".to_owned(), role.lower().to_owned()));
        assert_eq!(found[6].0, "DMLC_USE_KUBERNETES");
    }
}

#[test]
fn without_a_scheduler_there_is_no_root() {
    check(
        &variables(&alone(), Role::Worker, 0),
        &[
            (
                "MX_CONFIG",
                r#"{"cluster":{"worker":[{"url":"digits-worker-0","port":9091}]},"labels":{"worker":""},"task":{"type":"worker","index":0}}"#,
            ),
            ("DMLC_PS_ROOT_PORT", "0"),
            ("DMLC_PS_ROOT_URI", ""),
            ("DMLC_NUM_SERVER", "0"),
            ("DMLC_NUM_WORKER", "1"),
            ("DMLC_ROLE", "worker"),
            ("DMLC_USE_KUBERNETES", "1"),
            ("DMLC_WORKER_ID", "0"),
        ],
    );
    let none = json!({ "mxReplicaSpecs": { "Scheduler": { "replicas": 0 }, "Server": { "replicas": 0 } } });
    let found = variables(&with(&training(), &none), Role::Worker, 0);
    assert_eq!(
        found[0].1,
        r#"{"cluster":{"scheduler":[],"server":[],"worker":[{"url":"digits-worker-0","port":9091}]},"labels":{"scheduler":"","server":"","worker":""},"task":{"type":"worker","index":0}}"#
    );
    assert_eq!((found[1].1.as_str(), found[2].1.as_str()), ("0", ""));
}

#[test]
fn the_config_of_a_tuning_job_has_its_keys_with_gos_escapes() {
    let port = json!({ "spec": { "containers": [
        { "name": "mxnet", "image": "i", "ports": [{ "name": "mxjob-port", "containerPort": 9190 }] },
    ] } });
    let job = with(
        &tuning(),
        &json!({ "mxReplicaSpecs": { "TunerServer": { "label": "<2080&ti>\"\u{2028}é" }, "TunerTracker": { "template": port } } }),
    );
    assert_eq!(
        env::mx_config(&read(&job), Role::TunerServer, 0),
        r#"{"cluster":{"tuner":[{"url":"digits-tuner-0","port":9091}],"tunerserver":[{"url":"digits-tunerserver-0","port":9091}],"tunertracker":[{"url":"digits-tunertracker-0","port":9190}]},"labels":{"tuner":"","tunerserver":"\u003c2080\u0026ti\u003e\"\u2028é","tunertracker":""},"task":{"type":"tunerserver","index":0}}"#
    );
}

#[test]
fn both_families_of_labels_are_written() {
    let job = read(&training());
    let expected = json!({
        "training.kubeflow.org/operator-name": "mxjob-controller",
        "training.kubeflow.org/job-name": "digits",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": "7",
        "group-name": "kubeflow.org",
        "mxnet-job-name": "digits",
        "mxnet-replica-type": "worker",
        "mxnet-replica-index": "7",
    });
    assert_eq!(json!(labels::for_replica(&job, Role::Worker, 7)), expected);
    assert_eq!(
        json!(labels::replica_selector(&job, Role::TunerTracker, 0)),
        json!({
            "training.kubeflow.org/job-name": "digits",
            "training.kubeflow.org/replica-type": "tunertracker",
            "training.kubeflow.org/replica-index": "0",
        })
    );
    assert_eq!(
        labels::selector(&job),
        "training.kubeflow.org/operator-name=mxjob-controller,training.kubeflow.org/job-name=digits"
    );
}

#[test]
fn a_replica_is_identified_by_its_labels() {
    let job = read(&training());
    let written = labels::for_replica(&job, Role::Server, 3);
    assert_eq!(
        labels::replica_of(|key| written.get(key).map(String::as_str)),
        Some((Role::Server, 3))
    );
    assert_eq!(labels::replica_of(|_| None), None);
    assert_eq!(labels::replica_of(|key| (key == labels::REPLICA_TYPE).then_some("worker")), None);
}

fn owners() -> Value {
    json!([{
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "digits", "uid": "7d1f", "controller": true, "blockOwnerDeletion": true,
    }])
}

#[test]
fn a_pod_is_its_template_with_the_contracts_fields_set_over_it() {
    let template = json!({
        "metadata": {
            "name": "ignored",
            "labels": { "team": "vision", "training.kubeflow.org/job-name": "forged" },
            "annotations": { "note": "kept" },
            "finalizers": ["example.com/hold"],
        },
        "spec": {
            "restartPolicy": "Always",
            "initContainers": [{ "name": "setup", "image": "i" }],
            "containers": [
                { "name": "side", "image": "i" },
                { "name": "mxnet", "image": "i", "env": [{ "name": "DMLC_ROLE", "value": "mine" }], "ports": [{ "containerPort": 80 }] },
            ],
            "volumes": [{ "name": "v", "emptyDir": {} }],
        },
    });
    let object = with(&training(), &worker_patch(&json!({ "template": null })));
    let job = read(&with(&object, &worker_patch(&json!({ "template": template }))));
    let pod = pods::pod(&job, Role::Worker, 0).unwrap();
    assert_eq!((&pod["apiVersion"], &pod["kind"]), (&json!("v1"), &json!("Pod")));
    let metadata = &pod["metadata"];
    assert_eq!(
        (&metadata["name"], &metadata["namespace"]),
        (&json!("digits-worker-0"), &json!("default"))
    );
    assert_eq!(metadata["ownerReferences"], owners());
    assert_eq!(metadata["annotations"], json!({ "note": "kept" }));
    assert_eq!(metadata["finalizers"], json!(["example.com/hold"]));
    let mut expected = json!(labels::for_replica(&job, Role::Worker, 0));
    expected["team"] = "vision".into();
    assert_eq!(metadata["labels"], expected);

    let spec = &pod["spec"];
    assert_eq!(spec["restartPolicy"], "Never");
    assert_eq!(spec["volumes"], json!([{ "name": "v", "emptyDir": {} }]));
    let ours: Vec<_> = env::for_replica(&job, Role::Worker, 0)
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    assert_eq!(spec["initContainers"], json!([{ "name": "setup", "image": "i", "env": ours }]));
    assert_eq!(spec["containers"][0], json!({ "name": "side", "image": "i", "env": ours }));
    let found = spec["containers"][1]["env"].as_array().unwrap();
    assert_eq!(
        (&found[0], &found[1..]),
        (&json!({ "name": "DMLC_ROLE", "value": "mine" }), ours.as_slice())
    );
    assert_eq!(
        spec["containers"][1]["ports"],
        json!([{ "containerPort": 80 }, { "name": "mxjob-port", "containerPort": 9091 }])
    );
}

#[test]
fn an_existing_port_is_not_added_again() {
    let containers = json!([{ "name": "mxnet", "image": "i", "env": null, "ports": [{ "name": "mxjob-port", "containerPort": 9991 }] }]);
    let patch = worker_patch(&json!({ "template": { "spec": { "containers": containers } } }));
    let job = read(&with(&alone(), &patch));
    let pod = pods::pod(&job, Role::Worker, 0).unwrap();
    assert_eq!(
        pod["spec"]["containers"][0]["ports"],
        json!([{ "name": "mxjob-port", "containerPort": 9991 }])
    );
    assert_eq!(pod["spec"]["containers"][0]["env"].as_array().unwrap().len(), 8);
    assert_eq!(pods::service(&job, Role::Worker, 0).unwrap()["spec"]["ports"][0]["port"], 9991);
}

#[test]
fn a_pod_has_no_null_in_its_maps_and_lists() {
    let template = json!({
        "metadata": { "labels": { "pipeline": null }, "annotations": { "note": null }, "finalizers": [null] },
        "spec": {
            "nodeSelector": { "zone": null }, "volumes": [null],
            "containers": [null, { "name": "mxnet", "image": "i", "env": [null], "args": ["a", null] }],
        },
    });
    let patch = worker_patch(&json!({ "template": null }));
    let mut object = with(&alone(), &patch);
    object["spec"]["mxReplicaSpecs"]["Worker"]["template"] = template;
    let pod = pods::pod(&read(&object), Role::Worker, 0).unwrap();
    assert_eq!(pod["metadata"]["labels"]["pipeline"], "");
    assert_eq!(pod["metadata"]["annotations"]["note"], "");
    assert_eq!(pod["metadata"]["finalizers"], json!([""]));
    assert_eq!(pod["spec"]["nodeSelector"]["zone"], "");
    assert_eq!(pod["spec"]["volumes"], json!([{}]));
    assert_eq!(pod["spec"]["containers"][0], json!({}));
    assert_eq!(pod["spec"]["containers"][1]["env"][0], json!({}));
    assert_eq!(pod["spec"]["containers"][1]["args"], json!(["a", ""]));
}

#[test]
fn the_kubelet_restarts_pods_only_where_the_controller_does_not() {
    let cases = [
        ("Replica", "Always", "Always"),
        ("Replica", "OnFailure", "OnFailure"),
        ("Replica", "Never", "Never"),
        ("Replica", "ExitCode", "Never"),
        ("Job", "Always", "Never"),
        ("Job", "OnFailure", "Never"),
        ("Job", "Never", "Never"),
        ("Job", "ExitCode", "Never"),
    ];
    for (scope, policy, expected) in cases {
        let patch = json!({ "restartScope": scope, "mxReplicaSpecs": { "Worker": { "restartPolicy": policy } } });
        let pod = pods::pod(&read(&with(&training(), &patch)), Role::Worker, 0).unwrap();
        assert_eq!(pod["spec"]["restartPolicy"], expected, "{scope} {policy}");
    }
}

#[test]
fn a_service_is_headless_and_publishes_pods_before_they_are_ready() {
    let job = read(&training());
    assert_eq!(
        pods::service(&job, Role::Scheduler, 0).unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "digits-scheduler-0",
                "namespace": "default",
                "labels": labels::for_replica(&job, Role::Scheduler, 0),
                "ownerReferences": owners(),
            },
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": labels::replica_selector(&job, Role::Scheduler, 0),
                "ports": [{ "name": "mxjob-port", "port": 9091, "protocol": "TCP", "targetPort": 9091 }],
            },
        })
    );
}

#[test]
fn a_role_that_the_job_lacks_has_neither_pod_nor_service() {
    let job = read(&alone());
    assert_eq!(pods::pod(&job, Role::Scheduler, 0), None);
    assert_eq!(pods::service(&job, Role::Scheduler, 0), None);
}
