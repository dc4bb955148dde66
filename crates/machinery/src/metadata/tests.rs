use serde_json::json;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// The messages without the path's `metadata.`, shortened to where upstream's rule texts begin to
/// repeat.
fn messages(errors: &Errors) -> Vec<String> {
    errors
        .iter()
        .map(|error| {
            let text = error.to_string();
            let end = text.find(" must consist").unwrap_or(text.len());
            text.get("metadata.".len()..end).unwrap_or_default().to_owned()
        })
        .collect()
}

/// Validates the metadata of a new namespaced object with a name and a namespace.
fn check(extra: Value, expected: &[&str]) {
    let mut meta = map(json!({"name": "a", "namespace": "ml"}));
    meta.extend(map(extra));
    assert_eq!(messages(&validate(&meta, true, &Path::new("metadata"))), expected);
}

#[test]
fn names_and_namespaces_are_checked() {
    check(json!({}), &[]);
    check(json!({"name": "a.b"}), &[]);
    check(json!({"name": ""}), &["name: Required value: name or generateName is required"]);
    check(
        json!({"name": "a/b"}),
        &["name: Invalid value: \"a/b\": a lowercase RFC 1123 subdomain"],
    );
    check(json!({"generateName": "gen-"}), &[]);
    check(
        json!({"generateName": "Bad_", "name": "Bad_7xf8g"}),
        &[
            "generateName: Invalid value: \"Bad_\": a lowercase RFC 1123 subdomain",
            "name: Invalid value: \"Bad_7xf8g\": a lowercase RFC 1123 subdomain",
        ],
    );
    check(json!({"namespace": ""}), &["namespace: Required value"]);
    check(
        json!({"namespace": "Bad_NS"}),
        &["namespace: Invalid value: \"Bad_NS\": a lowercase RFC 1123 label"],
    );
    check(
        json!({"generation": -1}),
        &["generation: Invalid value: -1: must be greater than or equal to 0"],
    );

    let cluster = |meta| messages(&validate(&map(meta), false, &Path::new("metadata")));
    assert_eq!(cluster(json!({"name": "n"})), Vec::<String>::new());
    assert_eq!(
        cluster(json!({"name": "n", "namespace": "x"})),
        ["namespace: Forbidden: not allowed on this type"]
    );

    let label = validate_named(
        &map(json!({"name": "a.b"})),
        false,
        names::dns1123_label,
        &Path::new("metadata"),
    );
    assert_eq!(messages(&label), ["name: Invalid value: \"a.b\": must not contain dots"]);
}

#[test]
fn labels_annotations_and_finalizers_are_checked() {
    check(
        json!({"labels": {"bad key": "x", "ok": "bad value!"}}),
        &[
            "labels: Invalid value: \"bad key\": name part",
            "labels: Invalid value: \"bad value!\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    );
    check(
        json!({"annotations": {"bad key": "x"}}),
        &["annotations: Invalid value: \"bad key\": name part"],
    );
    check(json!({"annotations": {"Example.com/K": "x"}}), &[]);
    check(json!({"annotations": {"k": "x".repeat(262_143)}}), &[]);
    check(
        json!({"annotations": {"k": "x".repeat(262_144)}}),
        &["annotations: Too long: may not be more than 262144 bytes"],
    );
    check(json!({"finalizers": ["example.com/hold", "orphan"]}), &[]);
    check(
        json!({"finalizers": ["hold it"]}),
        &["finalizers: Invalid value: \"hold it\": name part"],
    );
    check(
        json!({"finalizers": ["orphan", "foregroundDeletion"]}),
        &[
            "finalizers: Invalid value: []string{\"orphan\", \"foregroundDeletion\"}: finalizer orphan and foregroundDeletion cannot be both set",
        ],
    );
}

#[test]
fn owners_are_checked() {
    let owner = |name: &str, controller: bool| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": "u", "controller": controller});
    check(json!({"ownerReferences": [owner("x", true), owner("y", false)]}), &[]);
    check(
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "", "uid": ""}]}),
        &[
            "ownerReferences.name: Invalid value: \"\": name must not be empty",
            "ownerReferences.uid: Invalid value: \"\": uid must not be empty",
        ],
    );
    check(
        json!({"ownerReferences": [{"name": "x", "uid": "u"}]}),
        &[
            "ownerReferences.apiVersion: Invalid value: \"\": version must not be empty",
            "ownerReferences.kind: Invalid value: \"\": kind must not be empty",
        ],
    );
    check(
        json!({"ownerReferences": [{"apiVersion": "a/b/c", "kind": "K", "name": "x", "uid": "u"}]}),
        &["ownerReferences.apiVersion: Invalid value: \"a/b/c\": version must not be empty"],
    );
    let meta = map(
        json!({"name": "a", "namespace": "ml", "ownerReferences": [owner("x", true), owner("y", true)]}),
    );
    let message = validate(&meta, true, &Path::new("metadata")).to_string();
    assert!(message.ends_with("Only one reference can have Controller set to true. Found \"true\" in references for x and y"), "{message}");
}

#[test]
fn entries_of_managed_fields_are_checked() {
    check(
        json!({"managedFields": [{}, {"operation": "Apply", "fieldsType": "V0", "manager": "m".repeat(129)}]}),
        &[
            "managedFields[0].operation: Invalid value: \"\": must be `Apply` or `Update`",
            "managedFields[1].fieldsType: Invalid value: \"V0\": must be `FieldsV1`",
            "managedFields[1].manager: Too long: may not be more than 128 bytes",
        ],
    );
    let errors = validate_field_manager("a\nb", &Path::new("fieldManager"));
    assert_eq!(
        errors.to_string(),
        "fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at position 1)"
    );
}

/// Validates an update of an object that has a resource version and a uid.
fn check_update(old: Value, new: Value, expected: &[&str]) {
    let mut base = map(
        json!({"name": "a", "namespace": "ml", "uid": "u", "resourceVersion": "5", "generation": 2}),
    );
    base.extend(map(old));
    let mut changed = base.clone();
    changed.extend(map(new));
    assert_eq!(messages(&validate_update(&changed, &base, &Path::new("metadata"))), expected);
}

#[test]
fn an_update_keeps_what_identifies_the_object() {
    check_update(json!({}), json!({"labels": {"a": "b"}}), &[]);
    check_update(
        json!({}),
        json!({"name": "b"}),
        &["name: Invalid value: \"b\": field is immutable"],
    );
    check_update(
        json!({}),
        json!({"uid": "v"}),
        &["uid: Invalid value: \"v\": field is immutable"],
    );
    check_update(
        json!({}),
        json!({"namespace": "x"}),
        &["namespace: Invalid value: \"x\": field is immutable"],
    );
    check_update(
        json!({}),
        json!({"resourceVersion": ""}),
        &["resourceVersion: Invalid value: \"\": must be specified for an update"],
    );
    check_update(
        json!({}),
        json!({"generation": 1}),
        &["generation: Invalid value: 1: must not be decremented"],
    );
    check_update(
        json!({}),
        json!({"labels": {"": "x"}}),
        &[
            "labels: Invalid value: \"\": name part must be non-empty",
            "labels: Invalid value: \"\": name part",
        ],
    );
}

#[test]
fn a_terminating_object_gets_no_new_finalizers() {
    let terminating =
        json!({"deletionTimestamp": "2026-11-24T00:00:00Z", "finalizers": ["example.com/hold"]});
    check_update(terminating.clone(), json!({"finalizers": []}), &[]);
    check_update(
        terminating,
        json!({"finalizers": ["example.com/hold", "example.com/new"]}),
        &[
            "finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/new\"}",
        ],
    );
    check_update(json!({}), json!({"finalizers": ["example.com/new"]}), &[]);
}

#[test]
fn added_finalizers_are_checked_and_stored_ones_stay_removable() {
    let stored = json!({"finalizers": ["hold it", "", "orphan"]});
    check_update(stored.clone(), stored.clone(), &[]);
    check_update(stored.clone(), json!({"finalizers": ["hold it", "example.com/new"]}), &[]);
    check_update(
        stored.clone(),
        json!({"finalizers": ["hold it", "!! bad"]}),
        &["finalizers: Invalid value: \"!! bad\": name part"],
    );
    check_update(
        stored,
        json!({"finalizers": ["orphan", "foregroundDeletion"]}),
        &[
            "finalizers: Invalid value: []string{\"orphan\", \"foregroundDeletion\"}: finalizer orphan and foregroundDeletion cannot be both set",
        ],
    );
    check_update(
        json!({}),
        json!({"finalizers": [""]}),
        &[
            "finalizers: Invalid value: \"\": name part must be non-empty",
            "finalizers: Invalid value: \"\": name part",
        ],
    );
}

#[test]
fn a_finalizer_without_a_domain_is_warned_about() {
    let meta = map(json!({"finalizers": ["hold", "orphan", "example.com/hold"]}));
    assert_eq!(
        warnings(&meta),
        [
            "metadata.finalizers: \"hold\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
        ]
    );
}

#[test]
fn wrong_json_types_are_told_as_go_tells_them() {
    for (metadata, expected) in [
        (
            json!({"name": "a", "labels": {"a": "b"}, "finalizers": [], "creationTimestamp": null}),
            None,
        ),
        (json!(null), None),
        (json!("x"), Some("json: cannot unmarshal string into Go value of type v1.ObjectMeta")),
        (
            json!({"name": 5}),
            Some(
                "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string",
            ),
        ),
        (
            json!({"labels": {"n": 5}}),
            Some(
                "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
            ),
        ),
        (
            json!({"labels": []}),
            Some(
                "json: cannot unmarshal array into Go struct field ObjectMeta.labels of type map[string]string",
            ),
        ),
        (
            json!({"finalizers": "x"}),
            Some(
                "json: cannot unmarshal string into Go struct field ObjectMeta.finalizers of type []string",
            ),
        ),
        (
            json!({"generation": "x"}),
            Some(
                "json: cannot unmarshal string into Go struct field ObjectMeta.generation of type int64",
            ),
        ),
        (
            json!({"generation": 1.5}),
            Some(
                "json: cannot unmarshal number 1.5 into Go struct field ObjectMeta.generation of type int64",
            ),
        ),
        (
            json!({"ownerReferences": [{"uid": 1}]}),
            Some(
                "json: cannot unmarshal number into Go struct field OwnerReference.ownerReferences.uid of type string",
            ),
        ),
        (
            json!({"ownerReferences": [1]}),
            Some(
                "json: cannot unmarshal number into Go struct field ObjectMeta.ownerReferences of type v1.OwnerReference",
            ),
        ),
        (
            json!({"creationTimestamp": "x"}),
            Some(
                "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"",
            ),
        ),
    ] {
        assert_eq!(decode_problem(&metadata).as_deref(), expected, "{metadata}");
    }
}

#[test]
fn fields_that_metadata_does_not_have_are_named() {
    let meta = map(
        json!({"name": "a", "bogusMeta": 1, "ownerReferences": [{"uid": "u", "x": 1}], "labels": {"any": "y"}}),
    );
    assert_eq!(
        unknown_fields(&meta, "metadata"),
        ["metadata.bogusMeta", "metadata.ownerReferences[0].x"]
    );
}

#[test]
fn stored_metadata_has_neither_empty_nor_unknown_fields() {
    let mut meta = map(json!({
        "name": "a", "bogus": 1, "labels": {}, "finalizers": [], "creationTimestamp": null, "uid": "", "generation": 0,
        "annotations": {"a": ""}, "deletionGracePeriodSeconds": 0,
    }));
    normalize(&mut meta);
    assert_eq!(
        Value::Object(meta),
        json!({"name": "a", "annotations": {"a": ""}, "deletionGracePeriodSeconds": 0})
    );
}

/// A recorded refusal of a new object.
#[derive(serde::Deserialize)]
struct Refusal {
    name: String,
    metadata: Map<String, Value>,
    response: Value,
}

#[derive(serde::Deserialize)]
struct Recorded {
    invalid: Vec<Refusal>,
}

#[test]
fn refusals_are_those_a_real_server_recorded() {
    let recorded: Recorded =
        serde_json::from_str(include_str!("../../tests/data/recorded.json")).unwrap();
    assert!(recorded.invalid.len() > 5);
    for Refusal { name, metadata, response } in recorded.invalid {
        let errors = validate(&metadata, true, &Path::new("metadata"));
        let status = crate::status::Status::invalid(
            "kubeflow.org",
            "MXJob",
            text(&metadata, "name"),
            &errors,
        );
        assert_eq!(serde_json::to_value(status).unwrap(), response, "{name}");
    }
}
