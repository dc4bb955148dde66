//! Schemas of custom resources.
//!
//! Version 3 shows them as the definition has them. Version 2 has no unions and no null, and its
//! readers (`kubectl` before validation on the server) take a list of fields for a complete one. So
//! it leaves out whatever would make them reject a valid object, as upstream does
//! (`ToStructuralOpenAPIV2`).

use serde_json::{Map, Value, json};

use super::{GROUP_VERSION_KIND, api_version, gvk, kind_field, meta, reference, reference_v2};
use crate::kind::Kind;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const METADATA: &str = "Name, labels and the other metadata of objects.";

/// The schema of a custom resource in version 3.
pub(super) fn v3(kind: &Kind) -> Value {
    // Keywords beside a reference are ignored, so a reference with a description is wrapped.
    let metadata = json!({ "description": METADATA, "allOf": [reference(&meta("ObjectMeta"))] });
    let mut schema = schema(kind);
    embed(&mut schema, &metadata, false);
    complete(schema, metadata, kind)
}

/// The same in version 2.
pub(super) fn v2(kind: &Kind) -> Value {
    let mut schema = schema(kind);
    if is_set(&schema, PRESERVE) {
        // Any field here would make all other fields unknown.
        return json!({ "type": "object", GROUP_VERSION_KIND: gvk(kind, &kind.kind) });
    }
    let mut metadata = reference_v2(&reference(&meta("ObjectMeta")));
    metadata["description"] = METADATA.into();
    reduce(&mut schema);
    embed(&mut schema, &metadata, true);
    complete(schema, metadata, kind)
}

/// The structural schema of a definition; one for everything if it has none.
fn schema(kind: &Kind) -> Value {
    let given = kind.strategy.open_api().filter(Value::is_object);
    given.unwrap_or_else(|| json!({ "type": "object", PRESERVE: true }))
}

/// Adds the fields that every object has.
fn complete(mut schema: Value, metadata: Value, kind: &Kind) -> Value {
    schema[GROUP_VERSION_KIND] = gvk(kind, &kind.kind);
    set_fields(&mut schema, metadata);
    schema
}

fn set_fields(schema: &mut Value, metadata: Value) {
    if !schema["properties"].is_object() {
        schema["properties"] = Map::new().into();
    }
    schema["properties"]["apiVersion"] = api_version();
    schema["properties"]["kind"] = kind_field();
    schema["properties"]["metadata"] = metadata;
}

/// Adds the fields of objects within the object. In version 2 not where other fields may be, which
/// readers would then reject.
fn embed(schema: &mut Value, metadata: &Value, reduced: bool) {
    for below in places(schema) {
        embed(below, metadata, reduced);
    }
    if !is_set(schema, EMBEDDED) || reduced && is_set(schema, PRESERVE) {
        return;
    }
    set_fields(schema, metadata.clone());
    let mut required = schema["required"].as_array().cloned().unwrap_or_default();
    for name in ["kind", "apiVersion"] {
        if !required.iter().any(|known| known == name) {
            required.push(name.into());
        }
    }
    schema["required"] = required.into();
}

/// Removes what version 2 cannot express, here and below.
fn reduce(schema: &mut Value) {
    let (preserves, nullable) = (is_set(schema, PRESERVE), is_set(schema, "nullable"));
    let nullable_entries = schema.get("additionalProperties").is_some_and(is_nullable);
    let Some(members) = schema.as_object_mut() else { return };
    for keyword in ["allOf", "anyOf", "oneOf", "not", "nullable"] {
        members.remove(keyword);
    }
    if nullable {
        members.remove("type");
    }
    if nullable || preserves {
        members.remove("items");
        members.remove("properties");
    }
    let kind = members.get("type").and_then(Value::as_str);
    if kind == Some("array") && !members.contains_key("items")
        || kind == Some("object") && preserves
    {
        members.remove("type");
    }
    let required = require_no_null(members, nullable_entries);
    match required {
        Some(required) if !required.is_empty() => {
            members.insert("required".to_owned(), required.into());
        }
        _ => {
            members.remove("required");
        }
    }
    for below in places(schema) {
        reduce(below);
    }
}

/// The required fields without those that may be null.
fn require_no_null(members: &Map<String, Value>, nullable_entries: bool) -> Option<Vec<Value>> {
    let required = members.get("required")?.as_array()?;
    let fields = members.get("properties");
    let may_be_null = |name: &Value| {
        let field = name.as_str().and_then(|name| fields?.get(name));
        nullable_entries || field.is_some_and(is_nullable)
    };
    Some(required.iter().filter(|name| !may_be_null(name)).cloned().collect())
}

/// The schemas directly below a schema.
fn places(schema: &mut Value) -> impl Iterator<Item = &mut Value> {
    let members = schema.as_object_mut().into_iter().flatten();
    members.flat_map(|(keyword, value)| -> Box<dyn Iterator<Item = &mut Value>> {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(fields)) => Box::new(fields.iter_mut().map(|(_, it)| it)),
            ("items" | "additionalProperties", below @ Value::Object(_)) => {
                Box::new(std::iter::once(below))
            }
            _ => Box::new(std::iter::empty()),
        }
    })
}

fn is_nullable(schema: &Value) -> bool {
    is_set(schema, "nullable")
}

fn is_set(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_leaves_out_what_its_readers_misread() {
        let check = |given: Value, expected: Value| {
            let mut reduced = given.clone();
            reduce(&mut reduced);
            assert_eq!(reduced, expected, "{given}");
        };
        let text = || json!({ "type": "string" });
        check(text(), text());
        // Unknown fields are preserved: no fields, no type.
        check(
            json!({ "type": "object", PRESERVE: true, "properties": { "a": text() }, "required": ["a"] }),
            json!({ PRESERVE: true, "required": ["a"] }),
        );
        check(
            json!({ "type": "object", "properties": { "a": { "type": "object", PRESERVE: true } } }),
            json!({ "type": "object", "properties": { "a": { PRESERVE: true } } }),
        );
        // A list without items, of no type.
        check(
            json!({ "type": "array", PRESERVE: true, "items": text() }),
            json!({ PRESERVE: true }),
        );
        // Null is of no type, and a field that may be null is not required.
        check(
            json!({ "type": "object", "required": ["a", "b"], "properties": {
                "a": { "type": "array", "nullable": true, "items": text() }, "b": text(),
            } }),
            json!({ "type": "object", "required": ["b"], "properties": { "a": {}, "b": text() } }),
        );
        check(
            json!({ "type": "object", "required": ["a"], "additionalProperties": { "type": "string", "nullable": true } }),
            json!({ "type": "object", "additionalProperties": {} }),
        );
        // Unions.
        check(
            json!({ "type": "array", "items": {
                "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, text()],
                "allOf": [{}], "oneOf": [{}], "not": {},
            } }),
            json!({ "type": "array", "items": { "x-kubernetes-int-or-string": true } }),
        );
        // Fields with the names of keywords are fields, and values are no schemas.
        let named = json!({ "type": "object", "default": { "anyOf": [], "items": { "nullable": true } },
            "properties": { "anyOf": text(), "nullable": text(), "items": text() } });
        check(named.clone(), named);
    }

    #[test]
    fn an_object_within_an_object_has_the_fields_of_objects() {
        let metadata = json!({ "$ref": "#/definitions/ObjectMeta" });
        let embedded = |preserve: bool| json!({ "type": "object", "properties": { "a": { "type": "object", EMBEDDED: true, PRESERVE: preserve } } });
        let shown = |mut schema: Value, reduced| {
            embed(&mut schema, &metadata, reduced);
            schema["properties"]["a"].take()
        };
        for (preserve, reduced) in [(false, false), (false, true), (true, false)] {
            let a = shown(embedded(preserve), reduced);
            assert_eq!(a["properties"]["metadata"], metadata, "{preserve} {reduced}");
            assert_eq!(a["required"], json!(["kind", "apiVersion"]), "{preserve} {reduced}");
        }
        assert_eq!(shown(embedded(true), true).get("properties"), None);
    }
}
