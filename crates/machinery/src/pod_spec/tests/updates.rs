//! Updates of pods and of their status (`TestValidatePodUpdate`, `TestValidatePodStatusUpdate`).

use serde_json::{Value, json};

use super::super::{defaults, validate_status_update, validate_update};
use crate::field::Errors;

fn pod(spec: &Value) -> Value {
    let mut pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    defaults::fill_pod(&mut pod);
    pod
}

fn kinds(errors: &Errors) -> Vec<String> {
    errors.iter().map(|error| format!("{} {:?}", error.path, error.kind)).collect()
}

#[test]
fn an_update_changes_only_what_it_may() {
    let gate = json!([{ "name": "a" }]);
    let gated = |more: Value| {
        let mut spec = json!({ "schedulingGates": gate });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let terms = |terms: Value| json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
    let term = |values: &[&str]| json!([{ "matchExpressions": values.iter().map(|key| json!({ "key": key, "operator": "Exists" })).collect::<Vec<_>>() }]);
    let image = |image: &str| json!({ "containers": [{ "name": "c", "image": image, "imagePullPolicy": "Always" }] });
    let taint = |key: &str, seconds: i64| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds });
    let cpu = |cpu: Value| json!({ "containers": [{ "name": "c", "image": "i", "resources": { "limits": { "cpu": cpu } } }] });
    const DEADLINE: &str = "spec.activeDeadlineSeconds Invalid";
    const SPEC: &str = "spec Forbidden";
    let cases: Vec<(Value, Value, &[&str])> = vec![
        (json!({}), json!({}), &[]),
        (image("i"), image("j"), &[]),
        (image("i"), image(""), &["spec.containers[0].image Required"]),
        (image("i"), image(" j"), &["spec.containers[0].image Invalid"]),
        (
            json!({}),
            json!({ "containers": [{ "name": "c", "image": "i" }, { "name": "d", "image": "i" }] }),
            &["spec.containers Forbidden"],
        ),
        (
            json!({}),
            json!({ "initContainers": [{ "name": "d", "image": "i" }] }),
            &["spec.initContainers Forbidden"],
        ),
        (json!({}), json!({ "containers": [{ "name": "d", "image": "i" }] }), &[SPEC]),
        (json!({}), json!({ "restartPolicy": "Never" }), &[SPEC]),
        (json!({}), json!({ "nodeName": "n" }), &[SPEC]),
        (json!({}), json!({ "terminationGracePeriodSeconds": 1 }), &[SPEC]),
        (
            json!({ "terminationGracePeriodSeconds": -1 }),
            json!({ "terminationGracePeriodSeconds": 1 }),
            &[],
        ),
        (
            json!({ "terminationGracePeriodSeconds": -1 }),
            json!({ "terminationGracePeriodSeconds": 2 }),
            &[SPEC],
        ),
        (json!({}), json!({ "activeDeadlineSeconds": 20 }), &[]),
        (json!({ "activeDeadlineSeconds": 20 }), json!({ "activeDeadlineSeconds": 10 }), &[]),
        (
            json!({ "activeDeadlineSeconds": 20 }),
            json!({ "activeDeadlineSeconds": 30 }),
            &[DEADLINE],
        ),
        (
            json!({ "activeDeadlineSeconds": 20 }),
            json!({ "activeDeadlineSeconds": -1 }),
            &[DEADLINE],
        ),
        (json!({ "activeDeadlineSeconds": 20 }), json!({}), &[DEADLINE]),
        (json!({}), json!({ "activeDeadlineSeconds": i64::MIN }), &[DEADLINE]),
        (json!({}), json!({ "tolerations": [taint("a", 1)] }), &[]),
        (
            json!({ "tolerations": [taint("a", 1)] }),
            json!({ "tolerations": [taint("b", 1), taint("a", 9)] }),
            &[],
        ),
        (
            json!({ "tolerations": [taint("a", 1)] }),
            json!({ "tolerations": [taint("b", 1)] }),
            &["spec.tolerations Forbidden"],
        ),
        (
            json!({}),
            json!({ "tolerations": [{ "key": "a b", "operator": "Exists" }] }),
            &["spec.tolerations[0].key Invalid"],
        ),
        (gated(json!({})), json!({}), &[]),
        (
            gated(json!({})),
            json!({ "schedulingGates": [{ "name": "b" }] }),
            &["spec.schedulingGates[0].name Forbidden"],
        ),
        (json!({}), gated(json!({})), &["spec.schedulingGates[0].name Forbidden"]),
        (gated(json!({})), gated(json!({ "nodeSelector": { "a": "b" } })), &[]),
        (json!({}), json!({ "nodeSelector": { "a": "b" } }), &[SPEC]),
        (
            gated(json!({ "nodeSelector": { "a": "b" } })),
            gated(json!({ "nodeSelector": { "a": "c" } })),
            &["spec.nodeSelector Invalid"],
        ),
        (gated(json!({})), gated(json!({ "affinity": terms(term(&["a"])) })), &[]),
        (
            gated(json!({ "affinity": terms(term(&["a"])) })),
            gated(json!({ "affinity": terms(term(&["a", "b"])) })),
            &[],
        ),
        (
            gated(json!({ "affinity": terms(term(&["a"])) })),
            gated(json!({ "affinity": terms(term(&["b"])) })),
            &[
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0] Invalid",
            ],
        ),
        (
            gated(json!({ "affinity": terms(term(&["a"])) })),
            gated(json!({})),
            &[
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms Invalid",
            ],
        ),
        (cpu(json!("1000m")), cpu(json!(1)), &[]),
        (cpu(json!("1000m")), cpu(json!(2)), &[SPEC]),
        (json!({ "hostAliases": [] }), json!({ "hostAliases": null }), &[]),
    ];
    let mut wrong = String::new();
    for (old, new, expected) in &cases {
        let errors = validate_update(&pod(old), &pod(new));
        if kinds(&errors) != *expected {
            wrong.push_str(&format!("{old} to {new}: {errors}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases.len() >= 35);
}

#[test]
fn the_message_lists_the_changed_fields() {
    let changed = |old: Value, new: Value| {
        let errors = validate_update(&pod(&old), &pod(&new)).to_string();
        let (_, changed) = errors.split_once("\nchanged: ").unwrap();
        changed.to_owned()
    };
    let container = |cpu: &str| json!({ "name": "c", "image": "i", "resources": { "limits": { "cpu": cpu, "a.b/c": 1 } } });
    assert_eq!(
        changed(
            json!({ "hostname": "a", "volumes": [], "containers": [container("1")] }),
            json!({ "volumes": [{ "name": "v", "emptyDir": {} }], "containers": [container("2")] })
        ),
        "spec.containers[0].resources.limits.cpu, spec.containers[0].resources.requests.cpu, spec.hostname, spec.volumes"
    );
    let selector = |value: &str| (0..50).map(|key| (format!("k{key:02}"), value.into())).collect();
    let selector = |value: &str| json!({ "nodeSelector": Value::Object(selector(value)) });
    let many = changed(selector("a"), selector("b"));
    assert!(many.ends_with("spec.nodeSelector.k08, spec.nodeSelector.k09, …"), "{many}");
}

#[test]
fn what_was_wrong_before_does_not_block_a_change() {
    let old = json!({ "hostname": "A", "containers": [{ "name": "c", "image": "i" }] });
    let mut new = old.clone();
    new["containers"][0]["image"] = "j".into();
    // As an earlier release has stored it: without today's defaults.
    let stored = json!({ "metadata": { "name": "p" }, "spec": old });
    assert_eq!(kinds(&validate_update(&stored, &pod(&new))), [""; 0]);
    new["subdomain"] = "B".into();
    assert_eq!(
        kinds(&validate_update(&stored, &pod(&new))),
        ["spec.subdomain Invalid", "spec Forbidden"]
    );
    let mirror = |annotations: Value| json!({ "metadata": { "annotations": annotations }, "spec": pod(&json!({ "nodeName": "n" }))["spec"] });
    let key = "kubernetes.io/config.mirror";
    for (old, new) in [
        (json!({ key: "a" }), json!({})),
        (json!({}), json!({ key: "a" })),
        (json!({ key: "a" }), json!({ key: "b" })),
    ] {
        let errors = validate_update(&mirror(old), &mirror(new));
        assert_eq!(kinds(&errors), [format!("metadata.annotations[{key}] Forbidden")]);
    }
}

#[test]
fn a_status_has_its_rules_too() {
    let state =
        |state: &str, code: i64| json!({ "name": "c", "state": { state: { "exitCode": code } } });
    let list = |status: Value| json!({ "containerStatuses": [status] });
    const ENDED: &str = "status.containerStatuses[0].state Forbidden";
    let of = |policy: &str, status: Value| json!({ "spec": { "restartPolicy": policy, "initContainers": [{ "name": "c", "restartPolicy": "Always" }] }, "status": status });
    let cases: Vec<(&str, Value, Value, &[&str])> = vec![
        ("Never", json!({}), list(state("running", 0)), &[]),
        ("Never", list(state("terminated", 1)), list(state("running", 0)), &[ENDED]),
        ("Never", list(state("terminated", 1)), list(state("terminated", 1)), &[]),
        ("OnFailure", list(state("terminated", 1)), list(state("running", 0)), &[]),
        ("OnFailure", list(state("terminated", 0)), list(state("waiting", 0)), &[ENDED]),
        ("Always", list(state("terminated", 0)), list(state("running", 0)), &[]),
        (
            "Never",
            json!({ "initContainerStatuses": [state("terminated", 0)] }),
            json!({ "initContainerStatuses": [state("running", 0)] }),
            &[],
        ),
        (
            "Always",
            json!({ "ephemeralContainerStatuses": [state("terminated", 0)] }),
            json!({ "ephemeralContainerStatuses": [state("running", 0)] }),
            &["status.ephemeralContainerStatuses[0].state Forbidden"],
        ),
        ("Never", json!({ "qosClass": "Burstable" }), json!({ "qosClass": "Burstable" }), &[]),
        ("Never", json!({ "qosClass": "Burstable" }), json!({}), &[]),
        (
            "Never",
            json!({ "qosClass": "Burstable" }),
            json!({ "qosClass": "BestEffort" }),
            &["status.qosClass Invalid"],
        ),
        (
            "Never",
            json!({}),
            json!({ "conditions": [{ "type": "Ready" }, { "type": "example.com/a" }] }),
            &[],
        ),
        (
            "Never",
            json!({}),
            json!({ "conditions": [{ "type": "a b" }] }),
            &["status.conditions[0].Type Invalid"],
        ),
        (
            "Never",
            json!({}),
            json!({ "observedGeneration": -1 }),
            &["status.observedGeneration Invalid"],
        ),
        (
            "Never",
            json!({}),
            json!({ "nominatedNodeName": "A" }),
            &["status.nominatedNodeName Invalid"],
        ),
        ("Never", json!({}), json!({ "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "::1" }] }), &[]),
        (
            "Never",
            json!({}),
            json!({ "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }] }),
            &["status.podIPs Invalid"],
        ),
        ("Never", json!({}), json!({ "podIPs": [{ "ip": "x" }] }), &["status.podIPs[0] Invalid"]),
        (
            "Never",
            json!({}),
            json!({ "hostIP": "10.0.0.1", "hostIPs": [{ "ip": "10.0.0.2" }] }),
            &["status.hostIPs[0].ip Invalid"],
        ),
    ];
    for (policy, old, new, expected) in &cases {
        let errors = validate_status_update(&of(policy, old.clone()), &of(policy, new.clone()));
        assert_eq!(kinds(&errors), *expected, "{policy}: {old} to {new}: {errors}");
    }
}
