//! From the strict schema to the one that a CustomResourceDefinition carries: it takes everything
//! that any operator has ever stored.
//!
//! A cluster checks the whole object at each write, of the status too, against today's definition.
//! So what an older operator stored must pass, or its job could neither be looked after nor be let
//! go. What a new job must be besides is said by the rules of [`super::rules`], which leave jobs
//! alone that somebody has begun with, and by admission, which says it in full.

use serde_json::{Value, json};

use super::{generate, rules};

/// Words that older operators never checked. They are bounded all the same, which keeps the
/// estimated cost of comparing them low.
const WORDS: [&str; 5] = [
    "/properties/spec/properties/jobMode",
    "/properties/spec/properties/successPolicy",
    "/properties/spec/properties/cleanPodPolicy",
    "/properties/spec/properties/runPolicy/properties/cleanPodPolicy",
    "/properties/spec/properties/mxReplicaSpecs/additionalProperties/properties/restartPolicy",
];
const WORD_LIMIT: u32 = 64;

/// Objects of which older operators demanded less.
const DEMANDING: [&str; 3] =
    ["", "/properties/spec", "/properties/spec/properties/mxReplicaSpecs/additionalProperties"];

/// Objects whose numbers older operators did not bound.
const NUMBERS: [&str; 5] = [
    "/properties/spec",
    "/properties/spec/properties/schedulingPolicy",
    "/properties/spec/properties/runPolicy",
    "/properties/spec/properties/runPolicy/properties/schedulingPolicy",
    "/properties/spec/properties/mxReplicaSpecs/additionalProperties",
];

/// The schema.
pub(super) fn object() -> Value {
    let mut schema = generate::object();
    for pointer in WORDS {
        open_word(&mut schema, pointer);
    }
    for pointer in DEMANDING {
        if let Some(object) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) {
            object.remove("required");
        }
    }
    for pointer in NUMBERS {
        let fields = schema.pointer_mut(pointer).and_then(|object| object.get_mut("properties"));
        for field in
            fields.and_then(Value::as_object_mut).into_iter().flat_map(serde_json::Map::values_mut)
        {
            if let Some(field) = field.as_object_mut() {
                field.remove("minimum");
                field.remove("maximum");
            }
        }
    }
    if let Some(roles) = schema.pointer_mut("/properties/spec/properties/mxReplicaSpecs") {
        roles["maxProperties"] = rules::ROLE_LIMIT.into();
    }
    keep_selectors(&mut schema);
    describe_template(&mut schema);
    rules::put(&mut schema);
    schema
}

/// An enumeration as text that says which words it knows.
fn open_word(schema: &mut Value, pointer: &str) {
    let Some(word) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) else { return };
    let values = word.remove("enum").unwrap_or_default();
    let values: Vec<_> =
        values.as_array().into_iter().flatten().map(|value| format!("`{value}`")).collect();
    let description = word.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{description} One of {}.", values.join(", "));
    word.insert("description".to_owned(), description.into());
    word.insert("maxLength".to_owned(), WORD_LIMIT.into());
    word.insert("nullable".to_owned(), true.into());
}

/// What the last operators wrote beside the counts.
fn keep_selectors(schema: &mut Value) {
    for name in ["replicaStatuses", "mxReplicaStatuses"] {
        let pointer =
            format!("/properties/status/properties/{name}/additionalProperties/properties");
        let Some(counts) = schema.pointer_mut(&pointer) else { continue };
        counts["selector"] = json!({
            "description": "Of older operators: how to find the pods, as text.", "type": "string", "nullable": true,
        });
        counts["labelSelector"] = json!({
            "description": "Of older operators: how to find the pods.",
            "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true,
        });
    }
}

/// The parts of the template that a job gives a meaning of its own; the rest is as in a pod, and
/// described there.
fn describe_template(schema: &mut Value) {
    const TEMPLATE: &str =
        "/properties/spec/properties/mxReplicaSpecs/additionalProperties/properties/template";
    for (pointer, description) in [
        (
            "/properties/metadata",
            "Labels, annotations and finalizers for the pods. Labels of the contract win.",
        ),
        (
            "/properties/spec",
            "As `kubectl explain pod.spec` says. `restartPolicy` is given by the role.",
        ),
        (
            "/properties/spec/properties/containers",
            "One must be named `mxnet`: its port `mxjob-port` is advertised (9091 is added where there is none), and its exit code decides. All get the environment of the role.",
        ),
        (
            "/properties/spec/properties/initContainers",
            "They get nothing of the role's environment.",
        ),
    ] {
        if let Some(part) = schema.pointer_mut(&format!("{TEMPLATE}{pointer}")) {
            part["description"] = description.into();
        }
    }
}
