//! What is thought of the definition that a cluster has.

use mxjob_api::crd::{self, MENDING, SCHEMA_ANNOTATION, Verdict, judge};
use serde_json::{Value, json};

fn annotated(id: Value) -> Value {
    let mut definition = crd::crd();
    definition["metadata"]["annotations"][SCHEMA_ANNOTATION] = id;
    definition
}

/// The definition of the last operator, as far as it matters: flat fields are not in it.
fn last_operator() -> Value {
    let mut definition = crd::crd();
    definition["metadata"]["annotations"] =
        json!({ "controller-gen.kubebuilder.io/version": "v0.14.0" });
    definition["status"] = json!({ "storedVersions": ["v1"] });
    let schema =
        definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties").unwrap();
    let spec = schema["spec"]["properties"].as_object_mut().unwrap();
    spec.retain(|name, _| ["jobMode", "mxReplicaSpecs", "runPolicy"].contains(&name.as_str()));
    schema["status"]["properties"].as_object_mut().unwrap().remove("mxReplicaStatuses");
    definition
}

#[test]
fn our_own_is_up_to_date_also_as_a_server_gives_it_back() {
    let mut served = crd::crd();
    served["metadata"]["uid"] = json!("u");
    // A server leaves out what is false.
    served["spec"].as_object_mut().unwrap().remove("preserveUnknownFields");
    served["status"] = json!({ "storedVersions": ["v1"] });
    assert_eq!(judge(&served), Verdict::Same);
    assert!(Verdict::Same.is_usable());
    assert_eq!(Verdict::Same.to_string(), "The definition mxjobs.kubeflow.org is up to date.");
}

#[test]
fn earlier_and_later_ones_are_told_apart() {
    let older = judge(&annotated(json!("0.0123456789abcdef")));
    assert!(matches!(older, Verdict::Older(_)) && older.is_usable());
    assert_eq!(
        older.to_string(),
        format!(
            "The definition mxjobs.kubeflow.org is of an earlier mxjob, and lacks nothing that the controller needs; put that in its place with: {MENDING}"
        )
    );
    let newer = judge(&annotated(json!("999.0123456789abcdef")));
    assert!(matches!(newer, Verdict::Newer(_)) && newer.is_usable());
    assert!(newer.to_string().contains("of a later mxjob"));
    for id in [json!("what"), json!(7), Value::Null] {
        assert!(matches!(judge(&annotated(id)), Verdict::Foreign(_)));
    }
}

#[test]
fn the_last_operators_is_foreign_and_what_it_would_lose_is_named() {
    let verdict = judge(&last_operator());
    assert!(matches!(verdict, Verdict::Foreign(_)) && !verdict.is_usable());
    assert_eq!(
        verdict.to_string(),
        format!(
            "The definition mxjobs.kubeflow.org is not the one of mxjob: it does not know spec.activeDeadlineSeconds, spec.backoffLimit, \
             spec.cleanPodPolicy, spec.restartScope, spec.schedulingPolicy, spec.successPolicy and 3 more, which are lost on the way; \
             put that in its place with: {MENDING}"
        )
    );
    // An annotation that stayed where somebody else's schema was put over ours does not deceive.
    let mut kept = last_operator();
    kept["metadata"]["annotations"] = json!({ SCHEMA_ANNOTATION: crd::schema_id() });
    assert!(matches!(judge(&kept), Verdict::Foreign(_)));
}

#[test]
fn the_first_operators_keeps_all_fields_and_must_forget_a_version() {
    let first = json!({
        "metadata": { "name": "mxjobs.kubeflow.org" },
        "spec": {
            "group": "kubeflow.org", "scope": "Namespaced", "preserveUnknownFields": true,
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} } }, { "name": "v1beta1", "served": true, "storage": false }],
        },
        "status": { "storedVersions": ["v1beta1", "v1"] },
    });
    let verdict = judge(&first);
    assert!(verdict.is_usable());
    assert!(
        verdict.to_string().contains(
            "--subresource status --type merge -p '{\"status\":{\"storedVersions\":[\"v1\"]}}' && "
        ),
        "{verdict}"
    );
}

#[test]
fn what_stops_the_controller_is_named() {
    let mut definition = last_operator();
    definition["spec"]["versions"][0]["subresources"] = json!({});
    definition["spec"]["scope"] = json!("Cluster");
    let verdict = judge(&definition).to_string();
    assert!(
        verdict.contains(
            "its objects are not namespaced, it has no status subresource, it does not know"
        ),
        "{verdict}"
    );
    definition["spec"]["versions"][0]["name"] = json!("v2");
    assert!(judge(&definition).to_string().contains("it does not serve v1;"));
    for any in [json!(null), json!([]), json!({ "spec": { "versions": [1] } })] {
        assert!(!judge(&any).is_usable());
    }
}

#[test]
fn a_definition_that_the_cluster_does_not_serve_is_not_up_to_date() {
    let condition = |kind: &str, status: &str, message: &str| json!({ "type": kind, "status": status, "message": message });
    let judged = |mut definition: Value, conditions: &[Value]| {
        definition["status"] = json!({ "storedVersions": ["v1"], "conditions": conditions });
        judge(&definition)
    };
    let well = [condition("NamesAccepted", "True", ""), condition("Established", "True", "")];
    assert_eq!(judged(crd::crd(), &well), Verdict::Same);
    let other =
        [condition("NonStructuralSchema", "False", ""), condition("Terminating", "False", "")];
    assert_eq!(judged(crd::crd(), &other), Verdict::Same, "says nothing about that");
    let taken = [
        condition("NamesAccepted", "False", "\"mxjobs\" is already in use"),
        condition("Established", "False", ""),
    ];
    let verdict = judged(crd::crd(), &taken);
    assert!(matches!(verdict, Verdict::Unserved(_)) && !verdict.is_usable());
    assert_eq!(
        verdict.to_string(),
        "The definition mxjobs.kubeflow.org is up to date, but the cluster does not serve it: NamesAccepted is False \
         (\"mxjobs\" is already in use), Established is False; take away what is in its way, such as another definition \
         with its names, which `kubectl get crd` shows"
    );
    let verdict = judged(last_operator(), &taken).to_string();
    assert!(verdict.contains("is not the one of mxjob: it does not know"), "{verdict}");
    assert!(verdict.contains("NamesAccepted is False"), "{verdict}");
    let newer = judged(annotated(json!("999.0123456789abcdef")), &taken);
    assert!(matches!(newer, Verdict::Newer(_)) && !newer.is_usable());
}

#[test]
fn another_definition_has_another_name() {
    let (revision, hash) = crd::schema_id().split_once('.').unwrap();
    assert!(
        revision.parse::<u32>().is_ok()
            && hash.len() == 16
            && hash.chars().all(|digit| digit.is_ascii_hexdigit())
    );
    assert_eq!(crd::crd()["metadata"]["annotations"][SCHEMA_ANNOTATION], crd::schema_id());
}
