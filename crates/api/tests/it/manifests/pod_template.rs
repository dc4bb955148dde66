//! The structural schema of a PodTemplateSpec, from the schemas of the built-in kinds.
//!
//! References are inlined (a CustomResourceDefinition may have none), descriptions and patch
//! strategies are dropped, and quantities get a pattern. Optional fields may be null, which counts
//! as absent: older operators stored templates unchanged, and Go clients write a null
//! `creationTimestamp` into each.

use mxjob_machinery::schema::{QUANTITY_PATTERN, REFERENCE, kubernetes};
use serde_json::{Map, Value, json};

const TEMPLATE: &str = "io.k8s.api.core.v1.PodTemplateSpec";
/// The keywords of a schema that are kept: those that check or describe a shape.
const KEPT: [&str; 7] = [
    "type",
    "format",
    "required",
    "minimum",
    "maximum",
    "enum",
    "x-kubernetes-preserve-unknown-fields",
];
/// Fields of metadata that nobody writes into a template and that would only enlarge the schema.
const DROPPED: [&str; 2] = ["managedFields", "selfLink"];

/// Fields that the Kubernetes types have always and that validation does not ask for: where they
/// are missing they count as empty.
const OPTIONAL: [(&str, &str); 7] = [
    ("io.k8s.api.core.v1.HTTPHeader", "value"),
    ("io.k8s.api.core.v1.ISCSIVolumeSource", "lun"),
    ("io.k8s.api.core.v1.LocalObjectReference", "name"),
    ("io.k8s.api.core.v1.PreferredSchedulingTerm", "preference"),
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "secretRef"),
    ("io.k8s.api.core.v1.SleepAction", "seconds"),
    ("io.k8s.api.core.v1.Sysctl", "value"),
];

/// The schema.
pub(crate) fn schema() -> Value {
    definition(TEMPLATE)
}

fn definition(name: &str) -> Value {
    let json = kubernetes::definitions().json(name).unwrap();
    let mut schema: Value = serde_json::from_str(json).unwrap();
    let optional = OPTIONAL.iter().filter(|(of, _)| *of == name).map(|(_, field)| *field);
    for field in optional {
        let required = schema["required"].as_array_mut().unwrap();
        required.retain(|required| required != field);
        if required.is_empty() {
            schema.as_object_mut().unwrap().remove("required");
        }
    }
    inline(&schema)
}

fn inline(schema: &Value) -> Value {
    let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
    if let Some(reference) = reference.and_then(Value::as_str) {
        return definition(reference.trim_start_matches(REFERENCE));
    }
    match schema.get("format").and_then(Value::as_str) {
        Some("quantity") => {
            return json!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY_PATTERN });
        }
        Some("int-or-string") => return json!({ "x-kubernetes-int-or-string": true }),
        _ => {}
    }
    let mut kept = Map::new();
    for keyword in KEPT {
        if let Some(value) = schema.get(keyword) {
            kept.insert(keyword.to_owned(), value.clone());
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword) {
            kept.insert(keyword.to_owned(), inline(inner));
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required =
            |name: &String| required.is_some_and(|names| names.iter().any(|other| other == name));
        let properties = properties
            .iter()
            .filter(|(name, _)| !DROPPED.contains(&name.as_str()))
            .map(|(name, property)| {
                let mut property = inline(property);
                // An enumeration would also have to list null.
                if !is_required(name) && property.get("enum").is_none() {
                    property["nullable"] = true.into();
                }
                (name.clone(), property)
            })
            .collect::<Map<_, _>>();
        kept.insert("properties".to_owned(), properties.into());
    }
    kept.into()
}
