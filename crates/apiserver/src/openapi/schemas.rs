//! Schemas: MXJob's in full, those of `meta/v1`, and for every other kind what all objects have in common.

use serde_json::{Map, Value, json};

use crate::registry::{self, Kind};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// A schema's name: the group's domain backwards, as upstream names the packages of its types.
pub(super) fn name(group: &str, version: &str, kind: &str) -> String {
    let package = match group.strip_suffix(".k8s.io") {
        _ if group.is_empty() => "io.k8s.api.core".to_owned(),
        Some("apiextensions") => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".to_owned(),
        Some(short) => format!("io.k8s.api.{short}"),
        None => group.rsplit('.').collect::<Vec<_>>().join("."),
    };
    format!("{package}.{version}.{kind}")
}

/// Whether there is a schema for a kind.
pub(super) fn is_described(group: &str, version: &str, kind: &str) -> bool {
    let mut kinds = registry::kinds().iter();
    kinds.any(|row| row.group == group && row.version == version && row.kind == kind)
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A kind's schema and its list's.
pub(super) fn of(kind: &Kind) -> [(String, Value); 2] {
    let name = name(kind.group, kind.version, kind.kind);
    let gvk = |kind_name: &str| json!([{ "group": kind.group, "version": kind.version, "kind": kind_name }]);
    let mut own = structural(kind).unwrap_or_else(
        || json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {} }),
    );
    own["x-kubernetes-group-version-kind"] = gvk(kind.kind);
    let properties = &mut own["properties"];
    properties["apiVersion"] =
        described("string", "The version of the schema that this object follows.");
    properties["kind"] = described("string", "What this object is.");
    properties["metadata"] = reference(&format!("{META}.ObjectMeta"));
    let list = json!({
        "type": "object",
        "description": format!("A list of {}.", kind.plural),
        "required": ["items"],
        "properties": {
            "apiVersion": described("string", "The version of the schema that this object follows."),
            "kind": described("string", "What this object is."),
            "metadata": reference(&format!("{META}.ListMeta")),
            "items": { "type": "array", "items": reference(&name) },
        },
        "x-kubernetes-group-version-kind": gvk(&kind.list_kind()),
    });
    [(name.clone(), own), (format!("{name}List"), list)]
}

/// The structural schema of a kind that has one.
fn structural(kind: &Kind) -> Option<Value> {
    use mxjob_api::mxjob::{GROUP, KIND};
    let of_definition = "/spec/versions/0/schema/openAPIV3Schema";
    (kind.group == GROUP && kind.kind == KIND)
        .then(|| mxjob_api::crd::crd().pointer(of_definition).cloned())?
}

fn described(kind: &str, description: &str) -> Value {
    json!({ "type": kind, "description": description })
}

/// The schemas of `meta/v1`, to which the others refer.
pub(super) fn meta() -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    let flag = || json!({ "type": "boolean" });
    let integer = |format: &str| json!({ "type": "integer", "format": format });
    let strings = || json!({ "type": "array", "items": { "type": "string" } });
    let map = || json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let own = |name: &str| reference(&format!("{META}.{name}"));
    let many = |name: &str| json!({ "type": "array", "items": own(name) });
    let object = |required: &[&str], properties: Value| {
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    };
    let schemas = [
        (
            "DeleteOptions",
            object(
                &[],
                json!({
                    "apiVersion": text(), "kind": text(), "dryRun": strings(), "gracePeriodSeconds": integer("int64"),
                    "orphanDependents": flag(), "preconditions": own("Preconditions"), "propagationPolicy": text(),
                }),
            ),
        ),
        (
            "FieldsV1",
            json!({ "type": "object", "description": "A set of fields, as server-side apply writes it." }),
        ),
        (
            "ListMeta",
            object(
                &[],
                json!({
                    "continue": text(), "remainingItemCount": integer("int64"), "resourceVersion": text(), "selfLink": text(),
                }),
            ),
        ),
        (
            "ManagedFieldsEntry",
            object(
                &[],
                json!({
                    "apiVersion": text(), "fieldsType": text(), "fieldsV1": own("FieldsV1"), "manager": text(),
                    "operation": text(), "subresource": text(), "time": own("Time"),
                }),
            ),
        ),
        (
            "ObjectMeta",
            object(
                &[],
                json!({
                    "annotations": map(), "creationTimestamp": own("Time"), "deletionGracePeriodSeconds": integer("int64"),
                    "deletionTimestamp": own("Time"), "finalizers": strings(), "generateName": text(),
                    "generation": integer("int64"), "labels": map(), "managedFields": many("ManagedFieldsEntry"),
                    "name": text(), "namespace": text(), "ownerReferences": many("OwnerReference"),
                    "resourceVersion": text(), "selfLink": text(), "uid": text(),
                }),
            ),
        ),
        (
            "OwnerReference",
            object(
                &["apiVersion", "kind", "name", "uid"],
                json!({
                    "apiVersion": text(), "blockOwnerDeletion": flag(), "controller": flag(), "kind": text(),
                    "name": text(), "uid": text(),
                }),
            ),
        ),
        (
            "Patch",
            json!({ "type": "object", "description": "A patch, in the form that its media type names." }),
        ),
        ("Preconditions", object(&[], json!({ "resourceVersion": text(), "uid": text() }))),
        (
            "Status",
            object(
                &[],
                json!({
                    "apiVersion": text(), "code": integer("int32"), "details": own("StatusDetails"), "kind": text(),
                    "message": text(), "metadata": own("ListMeta"), "reason": text(), "status": text(),
                }),
            ),
        ),
        (
            "StatusCause",
            object(&[], json!({ "field": text(), "message": text(), "reason": text() })),
        ),
        (
            "StatusDetails",
            object(
                &[],
                json!({
                    "causes": many("StatusCause"), "group": text(), "kind": text(), "name": text(),
                    "retryAfterSeconds": integer("int32"), "uid": text(),
                }),
            ),
        ),
        ("Time", json!({ "type": "string", "format": "date-time" })),
    ];
    schemas.into_iter().map(|(name, schema)| (format!("{META}.{name}"), schema)).collect()
}

/// The same schemas with version 2's references.
pub(super) fn to_v2(schemas: Map<String, Value>) -> Map<String, Value> {
    schemas.into_iter().map(|(name, schema)| (name, reference_v2(&schema))).collect()
}

/// A copy with its references pointing to version 2's place for schemas.
pub(super) fn reference_v2(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| match value {
                Value::String(target) if key == "$ref" => {
                    (key.clone(), target.replace("#/components/schemas/", "#/definitions/").into())
                }
                other => (key.clone(), reference_v2(other)),
            };
            members.iter().map(member).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(reference_v2).collect(),
        other => other.clone(),
    }
}
