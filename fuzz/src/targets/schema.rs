//! Schemas of definitions, with an object that each is applied to.

use mxjob_machinery::field::Path;
use mxjob_machinery::schema::{Node, Schema, violations};
use serde_json::Value;

pub(super) const WORDS: &[&str] = &[
    "schema",
    "object",
    "type",
    "string",
    "integer",
    "number",
    "boolean",
    "array",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "default",
    "nullable",
    "enum",
    "pattern",
    "format",
    "int32",
    "date-time",
    "byte",
    "minimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxItems",
    "anyOf",
    "not",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "map",
    "set",
    "spec",
    "a",
];

pub(super) fn run(input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(input) else { return };
    let (schema, object) = (&document["schema"], &document["object"]);
    // A definition with a violation is rejected, so nothing is checked with it.
    if !violations(schema, &Path::new("schema")).is_empty() {
        return;
    }
    let node = Node::read(schema);
    let schema = Schema::new(&node);
    let mut pruned = object.clone();
    schema.prune(&mut pruned);
    assert_eq!(schema.unknown_fields(&pruned), [""; 0], "no unknown field is left");
    schema.drop_nulls(&mut pruned);
    let mut again = pruned.clone();
    schema.drop_nulls(&mut again);
    assert_eq!(again, pruned, "nulls are dropped at once");
    schema.fill(&mut pruned);
    let _ = schema.check_custom(&pruned, None).to_string();
    let _ = schema.check_custom(&pruned, Some(object)).to_string();
}
