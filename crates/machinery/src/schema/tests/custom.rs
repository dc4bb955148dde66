//! Custom resources: checks, unknown fields, defaults, and the rules for schemas themselves.

use serde_json::{Value, json};

use super::super::{Node, Schema, violations};
use crate::field::Path;

fn of(field: &Value) -> Node {
    Node::read(&json!({ "type": "object", "properties": {
        "spec": { "type": "object", "properties": { "x": field } },
    } }))
}

/// What is said of `spec.x`.
#[track_caller]
fn check(field: &Value, value: &Value, expected: &str) {
    let errors = Schema::new(&of(field)).check_custom(&json!({ "spec": { "x": value } }), None);
    let text = if errors.is_empty() { String::new() } else { errors.to_string() };
    assert_eq!(text, expected, "{field} {value}");
}

#[test]
fn values_are_checked_in_the_words_of_upstream() {
    let text = json!({ "type": "string", "minLength": 2, "maxLength": 3, "pattern": "^a" });
    check(&text, &json!("ab"), "");
    check(&text, &json!("äöü"), "spec.x: Invalid value: \"äöü\": spec.x in body should match '^a'");
    check(&text, &json!("abcd"), "spec.x: Too long: may not be more than 3 bytes");
    check(
        &text,
        &json!("a"),
        "spec.x: Invalid value: \"a\": spec.x in body should be at least 2 chars long",
    );
    check(
        &text,
        &json!(1),
        "spec.x: Invalid value: \"integer\": spec.x in body must be of type string: \"integer\"",
    );
    check(
        &text,
        &Value::Null,
        "spec.x: Invalid value: \"null\": spec.x in body must be of type string: \"null\"",
    );
    check(&json!({ "type": "string", "nullable": true }), &Value::Null, "");
    let number = json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 9, "exclusiveMaximum": true, "multipleOf": 2 });
    check(&number, &json!(4), "");
    check(&number, &json!(4.0), "");
    check(
        &number,
        &json!(0),
        "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
    );
    check(&number, &json!(5), "spec.x: Invalid value: 5: spec.x in body should be a multiple of 2");
    check(&number, &json!(10), "spec.x: Invalid value: 10: spec.x in body should be less than 9");
    check(
        &number,
        &json!(5_000_000_000_i64),
        "spec.x: Invalid value: 5000000000: Checked value must be of type integer with format int32 in spec.x",
    );
    check(
        &json!({ "type": "string", "enum": ["A", "B"] }),
        &json!("C"),
        "spec.x: Unsupported value: \"C\": supported values: \"A\", \"B\"",
    );
    let either = json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] });
    check(&either, &json!("1"), "");
    check(&either, &json!(1), "");
    check(
        &either,
        &json!(true),
        "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
    );
}

#[test]
fn lists_maps_and_alternatives_are_checked() {
    let list = json!({ "type": "array", "maxItems": 2, "minItems": 1, "x-kubernetes-list-type": "set", "items": { "type": "string" } });
    check(&list, &json!(["a", "b"]), "");
    check(&list, &json!(["a", "a"]), "spec.x[1]: Duplicate value: \"a\"");
    check(&list, &json!(["a", "b", "c"]), "spec.x: Too many: 3: must have at most 2 items");
    check(
        &list,
        &json!([]),
        "spec.x: Invalid value: []: spec.x in body should have at least 1 items",
    );
    let map = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } } });
    check(
        &map,
        &json!([{ "name": "a" }, { "name": "a" }]),
        "spec.x[1]: Duplicate value: {\"name\":\"a\"}",
    );
    check(&map, &json!([{}]), "spec.x[0].name: Required value");
    let fields = json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
        "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] });
    check(&fields, &json!({ "a": 1 }), "");
    check(
        &fields,
        &json!({}),
        "spec.x: Invalid value: {}: \"spec.x\" must validate one and only one schema (oneOf). Found none valid",
    );
    check(
        &fields,
        &json!({ "a": 1, "b": 1 }),
        "spec.x: Invalid value: {\"a\":1,\"b\":1}: \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
    );
    check(
        &json!({ "type": "object", "maxProperties": 1, "additionalProperties": { "type": "string" } }),
        &json!({ "a": "1", "b": "2" }),
        "spec.x: Too many: 2: must have at most 1 items",
    );
}

#[test]
fn what_has_not_changed_is_not_looked_at_again() {
    let node = of(
        &json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": { "type": "object", "properties": { "name": { "type": "string" }, "size": { "type": "integer", "minimum": 5 } } } }),
    );
    let schema = Schema::new(&node);
    let with = |items: &Value| json!({ "spec": { "x": items } });
    let old = with(&json!([{ "name": "a", "size": 1 }]));
    let moved = with(&json!([{ "name": "b", "size": 6 }, { "name": "a", "size": 1 }]));
    assert!(schema.check_custom(&moved, Some(&old)).is_empty());
    assert_eq!(schema.is_same_at("spec.x[1].size", &moved, &old), Some(true));
    assert_eq!(schema.is_same_at("spec.x[0]", &moved, &old), Some(false));
    assert_eq!(schema.is_same_at("spec.y", &moved, &old), None);
    let changed = with(&json!([{ "name": "a", "size": 2 }]));
    assert_eq!(schema.check_custom(&changed, Some(&old)).len(), 1);
    assert_eq!(schema.check_custom(&changed, None).len(), 1);
}

#[test]
fn unknown_fields_go_unless_the_schema_is_open() {
    let node = Node::read(&json!({ "type": "object", "properties": {
        "spec": { "type": "object", "properties": {
            "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "known": { "type": "object" } } },
            "pod": { "type": "object", "x-kubernetes-embedded-resource": true, "properties": { "spec": { "type": "object" } } },
            "map": { "type": "object", "additionalProperties": { "type": "object" } },
            "any": { "type": "object", "additionalProperties": true },
        } },
    } }));
    let schema = Schema::new(&node);
    let mut object = json!({
        "apiVersion": "v1", "kind": "K", "metadata": { "name": "n", "x": 1 }, "bogus": 1,
        "spec": {
            "open": { "a": 1, "known": { "b": 1 } },
            "pod": { "apiVersion": "v1", "metadata": { "name": "p" }, "spec": { "c": 1 }, "d": 1 },
            "map": { "e": { "f": 1 } }, "any": { "g": 1 },
        },
    });
    let mut found = schema.unknown_fields(&object);
    found.sort();
    assert_eq!(
        found,
        ["bogus", "spec.map.e.f", "spec.open.known.b", "spec.pod.d", "spec.pod.spec.c"]
    );
    schema.prune(&mut object);
    assert!(schema.unknown_fields(&object).is_empty());
    assert_eq!(object["spec"]["pod"]["metadata"]["name"], "p");
    assert_eq!(object["metadata"]["x"], 1);
    assert_eq!(object["spec"]["any"]["g"], 1);
}

#[test]
fn defaults_fill_what_is_missing_or_may_not_be_null() {
    let node = of(&json!({ "type": "object", "default": {}, "properties": {
        "a": { "type": "integer", "default": 1 },
        "b": { "type": "integer", "default": 2, "nullable": true },
        "c": { "type": "array", "items": { "type": "object", "properties": { "d": { "type": "string", "default": "e" } } } },
    } }));
    let schema = Schema::new(&node);
    for (given, wanted) in [
        (json!({ "spec": {} }), json!({ "spec": { "x": { "a": 1, "b": 2 } } })),
        (
            json!({ "spec": { "x": { "a": null, "b": null, "c": [{}] } } }),
            json!({ "spec": { "x": { "a": 1, "b": null, "c": [{ "d": "e" }] } } }),
        ),
        (json!({}), json!({})),
    ] {
        let mut object = given.clone();
        schema.fill(&mut object);
        assert_eq!(object, wanted, "{given}");
    }
}

#[test]
fn nulls_that_are_not_allowed_count_as_missing() {
    let node = of(
        &json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "a": { "type": "integer" },
        "b": { "type": "integer", "default": 2 },
        "c": { "type": "integer", "nullable": true },
        "d": { "type": "array", "items": { "type": "object", "properties": { "e": { "type": "string" } } } },
        "f": { "type": "object", "additionalProperties": { "type": "string" } },
    } }),
    );
    let mut object = json!({ "spec": { "x": {
        "a": null, "b": null, "c": null, "d": [{ "e": null }, null], "f": { "g": null, "h": "i" }, "unknown": null,
    } } });
    Schema::new(&node).drop_nulls(&mut object);
    let wanted =
        json!({ "b": null, "c": null, "d": [{}, null], "f": { "h": "i" }, "unknown": null });
    assert_eq!(object["spec"]["x"], wanted);
    let mut object = json!({ "kind": "A", "spec": null });
    Schema::new(&node).drop_nulls(&mut object);
    assert_eq!(object, json!({ "kind": "A" }));
}

#[test]
fn schemas_that_are_not_structural_are_named_with_what_is_wrong() {
    #[track_caller]
    fn check(field: &Value, expected: &[&str]) {
        let schema = json!({ "type": "object", "properties": { "x": field } });
        let errors = violations(&schema, &Path::new("schema"));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let expected: Vec<String> =
            expected.iter().map(|text| format!("schema.properties[x]{text}")).collect();
        assert_eq!(errors, expected, "{field}");
    }
    check(&json!({ "type": "string" }), &[]);
    check(&json!({}), &[".type: Required value: must not be empty for specified object fields"]);
    check(&json!({ "x-kubernetes-preserve-unknown-fields": true }), &[]);
    check(
        &json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
        &[],
    );
    check(&json!({ "type": "array" }), &[".items: Required value: must be specified"]);
    check(
        &json!({ "type": "object", "properties": { "y": { "type": "string" } }, "additionalProperties": { "type": "string" } }),
        &[
            ".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ],
    );
    check(
        &json!({ "type": "integer", "default": "a" }),
        &[
            ".default: Invalid value: \"string\": default in body must be of type integer: \"string\"",
        ],
    );
    check(
        &json!({ "type": "string", "anyOf": [{ "type": "string" }] }),
        &[".anyOf[0].type: Forbidden: must be empty to be structural"],
    );
    check(
        &json!({ "type": "array", "items": { "type": "object" }, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"] }),
        &[
            ".x-kubernetes-list-map-keys[0]: Invalid value: \"a\": entries must all be names of item properties",
        ],
    );
    check(&json!({ "type": "string", "$ref": "x" }), &[".$ref: Forbidden: $ref is not supported"]);
    check(
        &json!({ "type": "text" }),
        &[
            ".type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
    let errors = violations(&json!({ "type": "string" }), &Path::new("schema"));
    assert_eq!(
        errors.to_string(),
        "schema.type: Invalid value: \"string\": must be object at the root"
    );
}

#[test]
fn a_large_list_in_which_everything_is_wrong_is_told_of_in_part() {
    let list = |item: &Value| json!(vec![item; 5_000]);
    for (field, item) in [
        (json!({ "type": "array", "items": { "type": "string" } }), json!(1)),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } }),
            json!("a"),
        ),
    ] {
        let errors =
            Schema::new(&of(&field)).check_custom(&json!({ "spec": { "x": list(&item) } }), None);
        assert_eq!(errors.len(), 1_000, "{field}");
    }
}

#[test]
fn items_are_held_against_those_with_their_keys() {
    let node = of(&json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"],
        "items": { "type": "object", "properties": {
            "name": { "type": "string" }, "port": { "type": "integer" }, "size": { "type": "integer", "maximum": 3 },
        } },
    }));
    let schema = Schema::new(&node);
    let check = |old: Value, new: Value, expected: usize| {
        let (old, new) = (json!({ "spec": { "x": old } }), json!({ "spec": { "x": new } }));
        assert_eq!(schema.check_custom(&new, Some(&old)).len(), expected, "{old} {new}");
    };
    let large = json!({ "name": "a", "port": 1, "size": 9 });
    check(json!([large]), json!([{ "name": "b", "port": 1 }, large]), 0);
    check(json!([large]), json!([{ "name": "a", "port": 2, "size": 9 }]), 1);
    check(json!([large]), json!([{ "name": "a", "size": 9 }]), 1);
    check(
        json!([{ "name": "a", "size": 9 }]),
        json!([{ "size": 8 }, { "name": "a", "size": 9 }]),
        1,
    );
    check(json!([]), json!([large]), 1);
}
