//! The rules of structural schemas, as an API server checks them when a definition is created.

use serde_json::{Value, json};

use super::schema;

/// The keywords of structural schemas.
const KNOWN: [&str; 24] = [
    "type",
    "properties",
    "items",
    "additionalProperties",
    "required",
    "description",
    "title",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "nullable",
    "pattern",
    "default",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-validations",
];
const TYPES: [&str; 6] = ["object", "array", "string", "integer", "number", "boolean"];
const FORMATS: [(&str, &str); 6] = [
    ("int32", "integer"),
    ("int64", "integer"),
    ("date-time", "string"),
    ("byte", "string"),
    ("double", "number"),
    ("float", "number"),
];
const REASONS: [&str; 4] =
    ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];

/// The violations in a schema.
fn violations(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", &mut found);
    let metadata = schema["properties"]["metadata"].as_object().cloned().unwrap_or_default();
    for keyword in metadata.keys().filter(|keyword| *keyword != "type") {
        found.push(format!(".metadata: {keyword} is not for a definition to say"));
    }
    if schema["type"] != "object" {
        found.push("the root is no object".to_owned());
    }
    found
}

fn walk(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else {
        return found.push(format!("{path}: no schema"));
    };
    let mut violation = |text: &str| found.push(format!("{path}: {text}"));
    let has = |keyword: &str| keywords.contains_key(keyword);
    let is_on = |keyword: &str| keywords.get(keyword) == Some(&Value::Bool(true));
    for keyword in keywords.keys().filter(|keyword| !KNOWN.contains(&keyword.as_str())) {
        violation(&format!("{keyword} is not in the vocabulary"));
    }
    let kind = keywords.get("type").and_then(Value::as_str).unwrap_or_default();
    if is_on("x-kubernetes-int-or-string") {
        if has("type") || has("properties") || has("items") {
            violation("an int-or-string has no type");
        }
    } else if !TYPES.contains(&kind) && !is_on("x-kubernetes-preserve-unknown-fields") {
        violation("no type");
    }
    for extension in
        keywords.keys().filter(|name| name.starts_with("x-") && *name != "x-kubernetes-validations")
    {
        if !is_on(extension) {
            violation(&format!("{extension} must be true or absent"));
        }
    }
    if has("properties") && has("additionalProperties") {
        violation("both named and unnamed fields");
    }
    if (has("properties") || has("additionalProperties") || has("required") || has("maxProperties"))
        && kind != "object"
    {
        violation("fields of something other than an object");
    }
    if is_on("x-kubernetes-preserve-unknown-fields") && kind != "object" {
        violation("unknown fields of something other than an object");
    }
    if has("items") != (kind == "array") {
        violation("a list has items, and nothing else has");
    }
    if (has("maxLength") || has("minLength") || has("pattern"))
        && kind != "string"
        && !is_on("x-kubernetes-int-or-string")
    {
        violation("the length of something other than a text");
    }
    if (has("minimum") || has("maximum")) && !["integer", "number"].contains(&kind) {
        violation("bounds of something other than a number");
    }
    if let Some(format) = keywords.get("format").and_then(Value::as_str)
        && !FORMATS.contains(&(format, kind))
    {
        violation(&format!("format {format} of a {kind}"));
    }
    if let Some(values) = keywords.get("enum") {
        let values = values.as_array().map_or(&[][..], Vec::as_slice);
        if values.is_empty() || !values.iter().all(|value| value.is_string() == (kind == "string"))
        {
            violation("an enumeration of another type");
        }
        if is_on("nullable") && !values.contains(&Value::Null) {
            violation("nullable, but null is not among its values");
        }
    }
    let fields = keywords.get("properties").and_then(Value::as_object);
    for name in keywords.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !fields.is_some_and(|fields| name.as_str().is_some_and(|name| fields.contains_key(name)))
        {
            violation(&format!("{name} is required and not known"));
        }
    }
    if let (Some(default), Some(fields)) =
        (keywords.get("default").and_then(Value::as_object), fields)
        && default.keys().any(|name| !fields.contains_key(name))
    {
        violation("a default that would be pruned");
    }
    for rule in
        keywords.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
    {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let message = text("message");
        if text("rule").trim().is_empty()
            || message.trim().is_empty()
            || message.contains('\n')
            || message.len() > 2048
        {
            violation("a rule without text, or without a message of one line");
        }
        if !REASONS.contains(&text("reason")) {
            violation(&format!("no reason {}", text("reason")));
        }
        if rule.get("fieldPath").is_some() && !leads(schema, text("fieldPath")) {
            violation(&format!("no field {}", text("fieldPath")));
        }
        for name in rule.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !["rule", "message", "reason", "fieldPath"].contains(&name.as_str()) {
                violation(&format!("a rule has no {name} everywhere"));
            }
        }
    }
    for (name, field) in fields.into_iter().flatten() {
        walk(field, &format!("{path}.{name}"), found);
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(schema) = keywords.get(inner) {
            walk(schema, &format!("{path}{mark}"), found);
        }
    }
}

/// Whether a path of named fields exists.
fn leads(schema: &Value, path: &str) -> bool {
    let Some(path) = path.strip_prefix('.') else { return false };
    let found =
        path.split('.').try_fold(schema, |schema, name| schema.get("properties")?.get(name));
    found.is_some()
}

#[test]
fn the_schema_of_the_definition_is_structural() {
    assert_eq!(violations(&schema()), Vec::<String>::new());
    assert_eq!(violations(mxjob_api::schema::open_api()), Vec::<String>::new());
}

#[test]
fn violations_of_structural_schemas_are_detected() {
    let cases = [
        (json!({}), ": no type"),
        (json!({ "$ref": "#/x", "type": "string" }), ": $ref is not in the vocabulary"),
        (
            json!({ "type": "string", "anyOf": [{ "type": "string" }] }),
            ": anyOf is not in the vocabulary",
        ),
        (
            json!({ "type": "object", "properties": {}, "additionalProperties": { "type": "string" } }),
            ": both named",
        ),
        (json!({ "type": "array" }), ": a list has items"),
        (json!({ "type": "array", "items": {} }), "[]: no type"),
        (json!({ "type": "object", "additionalProperties": { "type": "text" } }), ".*: no type"),
        (
            json!({ "type": "string", "x-kubernetes-int-or-string": true }),
            ": an int-or-string has no type",
        ),
        (
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": false }),
            "must be true or absent",
        ),
        (
            json!({ "type": "object", "properties": {}, "required": ["a"] }),
            "\"a\" is required and not known",
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "default": { "b": 1 } }),
            "pruned",
        ),
        (json!({ "type": "string", "enum": ["a"], "nullable": true }), ": nullable, but null"),
        (json!({ "type": "string", "format": "int32" }), ": format int32 of a string"),
        (
            json!({ "type": "string", "x-kubernetes-validations": [{ "rule": "true" }] }),
            "without a message",
        ),
        (
            json!({ "type": "object", "x-kubernetes-validations": [{ "rule": "true", "message": "m", "reason": "FieldValueInvalid", "fieldPath": ".a" }] }),
            ": no field .a",
        ),
    ];
    for (inner, words) in cases {
        let schema = json!({ "type": "object", "properties": { "spec": inner } });
        let violations = violations(&schema);
        assert!(
            violations
                .iter()
                .any(|violation| violation.starts_with(".spec") && violation.contains(words)),
            "{words}: {violations:?}"
        );
    }
    let named = json!({ "type": "object", "properties": { "metadata": { "type": "object", "required": ["name"] } } });
    assert!(
        violations(&named).iter().any(|violation| violation.starts_with(".metadata: required"))
    );
}
