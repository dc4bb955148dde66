//! Wrong types, unknown fields and pruning, over the built-in kinds.

use serde_json::{Value, json};

use super::{Schema, kubernetes};

mod custom;

fn core(kind: &str) -> Schema<'static> {
    kubernetes::kind("", "v1", kind).unwrap()
}

#[track_caller]
fn check_problem(kind: &str, object: &Value, expected: &str) {
    assert_eq!(core(kind).decode_problem(object).unwrap_or_default(), expected, "{object}");
}

#[test]
fn a_wrong_type_is_told_by_struct_path_and_go_type() {
    let wrong = |found: &str, field: &str, go_type: &str| {
        format!("json: cannot unmarshal {found} into Go struct field {field} of type {go_type}")
    };
    for (kind, object, expected) in [
        (
            "Pod",
            json!({"spec": {"nodeName": 1}}),
            wrong("number", "PodSpec.spec.nodeName", "string"),
        ),
        ("Pod", json!({"spec": []}), wrong("array", "Pod.spec", "v1.PodSpec")),
        (
            "Pod",
            json!({"spec": {"containers": {}}}),
            wrong("object", "PodSpec.spec.containers", "[]v1.Container"),
        ),
        (
            "Pod",
            json!({"spec": {"containers": ["a"]}}),
            wrong("string", "PodSpec.spec.containers", "v1.Container"),
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}),
            wrong("number", "EnvVar.spec.containers.env.value", "string"),
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"imagePullPolicy": 1}]}}),
            wrong("number", "Container.spec.containers.imagePullPolicy", "v1.PullPolicy"),
        ),
        (
            "Pod",
            json!({"spec": {"hostNetwork": "yes"}}),
            wrong("string", "PodSpec.spec.hostNetwork", "bool"),
        ),
        (
            "Pod",
            json!({"spec": {"activeDeadlineSeconds": 1.5}}),
            wrong("number 1.5", "PodSpec.spec.activeDeadlineSeconds", "int64"),
        ),
        (
            "Pod",
            json!({"spec": {"priority": 3_000_000_000_u64}}),
            wrong("number 3000000000", "PodSpec.spec.priority", "int32"),
        ),
        (
            "Pod",
            json!({"spec": {"priority": "1"}}),
            wrong("string", "PodSpec.spec.priority", "int32"),
        ),
        (
            "Pod",
            json!({"spec": {"nodeSelector": {"a": 1}}}),
            wrong("number", "PodSpec.spec.nodeSelector", "string"),
        ),
        (
            "Pod",
            json!({"spec": {"nodeSelector": 1}}),
            wrong("number", "PodSpec.spec.nodeSelector", "map[string]string"),
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"resources": {"limits": 1}}]}}),
            wrong(
                "number",
                "ResourceRequirements.spec.containers.resources.limits",
                "v1.ResourceList",
            ),
        ),
        (
            "Pod",
            json!({"metadata": {"labels": {"a": 1}}}),
            wrong("number", "ObjectMeta.metadata.labels", "string"),
        ),
        (
            "Pod",
            json!({"metadata": {"creationTimestamp": 1}}),
            wrong("number", "ObjectMeta.metadata.creationTimestamp", "string"),
        ),
        ("Pod", json!({"kind": 1}), wrong("number", "Pod.kind", "string")),
        (
            "Service",
            json!({"spec": {"ports": [{"targetPort": true}]}}),
            wrong("bool", "ServicePort.spec.ports.targetPort", "int32"),
        ),
        ("ConfigMap", json!({"data": {"a": {}}}), wrong("object", "ConfigMap.data", "string")),
        ("Secret", json!({"data": {"a": 1}}), wrong("number", "Secret.data", "[]uint8")),
        ("Secret", json!({"data": 1}), wrong("number", "Secret.data", "map[string][]uint8")),
    ] {
        check_problem(kind, &object, &expected);
    }
    check_problem("Pod", &json!([]), "json: cannot unmarshal array into Go value of type v1.Pod");
}

#[test]
fn types_with_a_decoder_of_their_own_have_their_own_messages() {
    let quantity = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let limits =
        |cpu: Value| json!({"spec": {"containers": [{"resources": {"limits": {"cpu": cpu}}}]}});
    check_problem("Pod", &limits(json!("two")), quantity);
    check_problem("Pod", &limits(json!({})), quantity);
    check_problem(
        "Secret",
        &json!({"data": {"a": "plain text"}}),
        "illegal base64 data at input byte 5",
    );
    check_problem(
        "Pod",
        &json!({"metadata": {"creationTimestamp": "x"}}),
        r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#,
    );
}

#[test]
fn what_go_would_decode_is_no_problem() {
    for (kind, object) in [
        ("Pod", json!({"spec": null, "status": {"phase": null}, "nope": [1]})),
        (
            "Pod",
            json!({"spec": {"containers": [null, {"resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}]}}),
        ),
        (
            "Service",
            json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"targetPort": 8080}]}}),
        ),
        ("Secret", json!({"data": {"a": "aGk="}, "stringData": {"b": "text"}})),
        ("Pod", json!({"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {}}}]}})),
    ] {
        check_problem(kind, &object, "");
    }
    let definition = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {
        "properties": {"a": {"items": {"type": "string"}, "default": 1, "additionalProperties": false}},
    }}}]}});
    let schema =
        kubernetes::kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    assert_eq!(schema.decode_problem(&definition), None);
    assert_eq!(schema.unknown_fields(&definition), [""; 0]);
}

#[test]
fn unknown_fields_are_named_and_pruned_wherever_they_are() {
    for (kind, object, unknown, pruned) in [
        ("Pod", json!({"bogus": 1, "spec": {}}), &["bogus"][..], json!({"spec": {}})),
        ("Pod", json!({"spec": {"bogus": {"a": 1}}}), &["spec.bogus"], json!({"spec": {}})),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "a"}, {"nam": "b"}], "volumes": [{"emptyDir": {"x": 1}}]}}),
            &["spec.containers[1].nam", "spec.volumes[0].emptyDir.x"],
            json!({"spec": {"containers": [{"name": "a"}, {}], "volumes": [{"emptyDir": {}}]}}),
        ),
        // Names in maps are data.
        (
            "Pod",
            json!({"spec": {"nodeSelector": {"a": "b"}}}),
            &[],
            json!({"spec": {"nodeSelector": {"a": "b"}}}),
        ),
        // The object's own metadata is looked after elsewhere.
        ("Pod", json!({"metadata": {"bogus": 1}}), &[], json!({"metadata": {"bogus": 1}})),
        (
            "ConfigMap",
            json!({"data": {"any": "x"}, "spec": {}}),
            &["spec"],
            json!({"data": {"any": "x"}}),
        ),
        (
            "Event",
            json!({"series": {"count": 1, "cout": 2}}),
            &["series.cout"],
            json!({"series": {"count": 1}}),
        ),
        (
            "Namespace",
            json!({"spec": {"finalizers": ["kubernetes"]}}),
            &[],
            json!({"spec": {"finalizers": ["kubernetes"]}}),
        ),
    ] {
        assert_eq!(core(kind).unknown_fields(&object), unknown, "{object}");
        let mut object = object;
        core(kind).prune(&mut object);
        assert_eq!(object, pruned);
        assert_eq!(core(kind).unknown_fields(&object), [""; 0]);
    }
}

#[test]
fn what_is_no_object_has_no_unknown_fields() {
    for mut value in [json!(null), json!([1]), json!("x")] {
        let before = value.clone();
        assert_eq!(core("Pod").unknown_fields(&value), [""; 0]);
        core("Pod").prune(&mut value);
        assert_eq!(value, before);
    }
}
