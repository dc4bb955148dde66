//! Comparison of a cluster's definition with ours.

use mxjob_api::crd::{self, FIX_COMMAND, SCHEMA_ANNOTATION, Verdict, compare};
use serde_json::{Value, json};

fn annotated(id: Value) -> Value {
    let mut definition = crd::crd();
    definition["metadata"]["annotations"][SCHEMA_ANNOTATION] = id;
    definition
}

/// The definition of the last operator, as far as it matters: it lacks the flat fields.
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
fn our_definition_is_up_to_date_also_as_a_server_returns_it() {
    let mut served = crd::crd();
    served["metadata"]["uid"] = json!("u");
    // A server omits fields that are false.
    served["spec"].as_object_mut().unwrap().remove("preserveUnknownFields");
    served["status"] = json!({ "storedVersions": ["v1"] });
    assert_eq!(compare(&served), Verdict::Same);
    assert!(Verdict::Same.is_usable());
    assert_eq!(Verdict::Same.to_string(), "The definition mxjobs.kubeflow.org is up to date.");
}

#[test]
fn earlier_and_later_definitions_are_recognized() {
    let older = compare(&annotated(json!("0.0123456789abcdef")));
    assert!(matches!(older, Verdict::Older(_)) && older.is_usable());
    assert_eq!(
        older.to_string(),
        format!(
            "The definition mxjobs.kubeflow.org is from an earlier mxjob, and has everything that the controller needs; replace it with: {FIX_COMMAND}"
        )
    );
    let newer = compare(&annotated(json!("999.0123456789abcdef")));
    assert!(matches!(newer, Verdict::Newer(_)) && newer.is_usable());
    assert!(newer.to_string().contains("from a later mxjob"));
    for id in [json!("what"), json!(7), Value::Null] {
        assert!(matches!(compare(&annotated(id)), Verdict::Foreign(_)));
    }
}

#[test]
fn last_operators_definition_is_foreign_and_its_dropped_fields_are_listed() {
    let verdict = compare(&last_operator());
    assert!(matches!(verdict, Verdict::Foreign(_)) && !verdict.is_usable());
    assert_eq!(
        verdict.to_string(),
        format!(
            "The definition mxjobs.kubeflow.org is not the one of mxjob: it would drop the fields spec.activeDeadlineSeconds, spec.backoffLimit, \
             spec.cleanPodPolicy, spec.restartScope, spec.schedulingPolicy, spec.successPolicy and 3 more; \
             replace it with: {FIX_COMMAND}"
        )
    );
    // Our annotation on a foreign schema (kept by an apply of another owner) is not trusted.
    let mut kept = last_operator();
    kept["metadata"]["annotations"] = json!({ SCHEMA_ANNOTATION: crd::schema_id() });
    assert!(matches!(compare(&kept), Verdict::Foreign(_)));
}

#[test]
fn first_operators_definition_keeps_all_fields_and_needs_a_stored_version_removed() {
    let first = json!({
        "metadata": { "name": "mxjobs.kubeflow.org" },
        "spec": {
            "group": "kubeflow.org", "scope": "Namespaced", "preserveUnknownFields": true,
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} } }, { "name": "v1beta1", "served": true, "storage": false }],
        },
        "status": { "storedVersions": ["v1beta1", "v1"] },
    });
    let verdict = compare(&first);
    assert!(verdict.is_usable());
    assert!(
        verdict.to_string().contains(
            "--subresource status --type merge -p '{\"status\":{\"storedVersions\":[\"v1\"]}}' && "
        ),
        "{verdict}"
    );
}

#[test]
fn obstacles_for_the_controller_are_listed() {
    let mut definition = last_operator();
    definition["spec"]["versions"][0]["subresources"] = json!({});
    definition["spec"]["scope"] = json!("Cluster");
    let verdict = compare(&definition).to_string();
    assert!(
        verdict.contains(
            "its objects are not namespaced, it has no status subresource, it would drop the fields"
        ),
        "{verdict}"
    );
    definition["spec"]["versions"][0]["name"] = json!("v2");
    assert!(compare(&definition).to_string().contains("it does not serve v1;"));
    for any in [json!(null), json!([]), json!({ "spec": { "versions": [1] } })] {
        assert!(!compare(&any).is_usable());
    }
}

#[test]
fn unserved_definition_is_not_up_to_date() {
    let condition = |kind: &str, status: &str, message: &str| json!({ "type": kind, "status": status, "message": message });
    let compared = |mut definition: Value, conditions: &[Value]| {
        definition["status"] = json!({ "storedVersions": ["v1"], "conditions": conditions });
        compare(&definition)
    };
    let well = [condition("NamesAccepted", "True", ""), condition("Established", "True", "")];
    assert_eq!(compared(crd::crd(), &well), Verdict::Same);
    let other =
        [condition("NonStructuralSchema", "False", ""), condition("Terminating", "False", "")];
    assert_eq!(compared(crd::crd(), &other), Verdict::Same, "other conditions are ignored");
    let taken = [
        condition("NamesAccepted", "False", "\"mxjobs\" is already in use"),
        condition("Established", "False", ""),
    ];
    let verdict = compared(crd::crd(), &taken);
    assert!(matches!(verdict, Verdict::Unserved(_)) && !verdict.is_usable());
    assert_eq!(
        verdict.to_string(),
        "The definition mxjobs.kubeflow.org is up to date, but the cluster does not serve it: NamesAccepted is False \
         (\"mxjobs\" is already in use), Established is False; remove what is blocking it, for example another definition \
         with the same names (`kubectl get crd` lists them)"
    );
    let verdict = compared(last_operator(), &taken).to_string();
    assert!(verdict.contains("is not the one of mxjob: it would drop the fields"), "{verdict}");
    assert!(verdict.contains("NamesAccepted is False"), "{verdict}");
    let newer = compared(annotated(json!("999.0123456789abcdef")), &taken);
    assert!(matches!(newer, Verdict::Newer(_)) && !newer.is_usable());
}

#[test]
fn schema_id_has_revision_and_hash() {
    let (revision, hash) = crd::schema_id().split_once('.').unwrap();
    assert!(
        revision.parse::<u32>().is_ok()
            && hash.len() == 16
            && hash.chars().all(|digit| digit.is_ascii_hexdigit())
    );
    assert_eq!(crd::crd()["metadata"]["annotations"][SCHEMA_ANNOTATION], crd::schema_id());
}
