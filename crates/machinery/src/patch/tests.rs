use proptest::prelude::*;
use serde_json::json;

use super::*;

fn document() -> Value {
    json!({"kind": "MXJob", "metadata": {"labels": {"l": "1"}}, "spec": {"ttl": 5, "list": [1, 2], "a/b": 1, "m~n": 2}})
}

/// Applies the operations to [`document`] and looks at one pointer of the result.
#[expect(clippy::needless_pass_by_value, reason = "the cases read better")]
fn check(patch: Value, pointer: &str, expected: Value) {
    let patched =
        json_patch(&document(), &patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
    assert_eq!(patched.pointer(pointer).unwrap_or(&Value::Null), &expected, "{patch}");
}

#[test]
fn operations_change_what_they_point_at() {
    check(json!([]), "/spec/ttl", json!(5));
    check(json!([{"op": "replace", "path": "/spec/ttl", "value": 6}]), "/spec/ttl", json!(6));
    check(
        json!([{"op": "add", "path": "/metadata/labels/k", "value": "v"}]),
        "/metadata/labels",
        json!({"l": "1", "k": "v"}),
    );
    check(json!([{"op": "remove", "path": "/metadata/labels/l"}]), "/metadata/labels", json!({}));
    check(
        json!([{"op": "add", "path": "/spec/list/-", "value": 3}]),
        "/spec/list",
        json!([1, 2, 3]),
    );
    check(
        json!([{"op": "add", "path": "/spec/list/0", "value": 0}]),
        "/spec/list",
        json!([0, 1, 2]),
    );
    check(
        json!([{"op": "add", "path": "/spec/list/2", "value": 3}]),
        "/spec/list",
        json!([1, 2, 3]),
    );
    check(json!([{"op": "remove", "path": "/spec/list/-1"}]), "/spec/list", json!([1]));
    check(
        json!([{"op": "replace", "path": "/spec/list/1", "value": 9}]),
        "/spec/list",
        json!([1, 9]),
    );
    check(json!([{"op": "replace", "path": "/spec/a~1b", "value": 9}]), "/spec/a~1b", json!(9));
    check(json!([{"op": "replace", "path": "/spec/m~0n", "value": 9}]), "/spec/m~0n", json!(9));
    check(
        json!([
            {"op": "copy", "from": "/metadata/labels/l", "path": "/metadata/labels/l2"},
            {"op": "move", "from": "/metadata/labels/l", "path": "/metadata/labels/l3"},
        ]),
        "/metadata/labels",
        json!({"l2": "1", "l3": "1"}),
    );
    check(
        json!([{"op": "test", "path": "/spec/ttl", "value": 5}, {"op": "replace", "path": "/spec/ttl", "value": 6}]),
        "/spec/ttl",
        json!(6),
    );
}

#[test]
fn replacing_a_missing_key_adds_it_and_testing_it_against_null_holds() {
    check(json!([{"op": "replace", "path": "/spec/nope", "value": 1}]), "/spec/nope", json!(1));
    check(json!([{"op": "test", "path": "/spec/nope", "value": null}]), "/spec/nope", json!(null));
}

#[test]
fn operations_that_do_not_fit_are_rejected_and_change_nothing() {
    for operation in [
        json!({"op": "test", "path": "/spec/ttl", "value": 6}),
        json!({"op": "remove", "path": "/spec/nope"}),
        json!({"op": "add", "path": "/spec/nope/x", "value": 1}),
        json!({"op": "add", "path": "/spec/ttl/x", "value": 1}),
        json!({"op": "add", "path": "/spec/list/3", "value": 1}),
        json!({"op": "add", "path": "/spec/list/x", "value": 1}),
        json!({"op": "replace", "path": "/spec/list/2", "value": 1}),
        json!({"op": "remove", "path": "/spec/list/99999999999999999999"}),
        json!({"op": "frob", "path": "/spec", "value": 1}),
        json!({"path": "/spec", "value": 1}),
        json!({"op": "copy", "path": "/spec/x"}),
        json!({"op": "move", "from": "/spec/nope", "path": "/spec/x"}),
        json!({"op": "replace", "path": "", "value": 1}),
        json!({"op": "add", "path": "no-slash", "value": 1}),
    ] {
        let error = json_patch(&document(), &json!([operation])).unwrap_err();
        assert!(
            matches!(error, PatchError::TestFailed(_) | PatchError::DoesNotApply { .. }),
            "{operation}: {error}"
        );
    }
}

#[test]
fn a_patch_that_is_no_list_of_operations_is_not_decoded() {
    for (patch, message) in [
        (
            json!({"spec": {}}),
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        (json!([1]), "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
    ] {
        assert_eq!(json_patch(&document(), &patch).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_number_of_operations_and_the_size_of_copies_are_limited() {
    let test = json!({"op": "test", "path": "/kind", "value": "MXJob"});
    let patch = Value::Array(vec![test; MAX_OPERATIONS + 1]);
    assert_eq!(
        json_patch(&document(), &patch).unwrap_err().to_string(),
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    );

    // Each copy doubles the document; sixty of them would not fit any machine.
    let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    let error = json_patch(&json!({"a": ["x"]}), &Value::Array(vec![double; 60])).unwrap_err();
    assert!(matches!(error, PatchError::DoesNotApply { .. }), "{error}");
}

#[test]
fn unknown_keys_of_operations_are_named() {
    let patch = json!([{"op": "add", "path": "/a", "value": {"x": 1}, "extra": 1}, 5]);
    assert_eq!(json_patch_unknown_fields(&patch), ["[0].extra"]);
}

#[test]
fn a_merge_patch_merges_maps_replaces_the_rest_and_null_removes() {
    // The cases of RFC 7386, appendix A.
    for (document, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge_patch(&document, &patch), expected, "{document} with {patch}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_merge_patch_applied_twice_is_applied_once(document in json_value(), patch in json_value()) {
        let once = merge_patch(&document, &patch);
        prop_assert_eq!(merge_patch(&once, &patch), once);
    }

    #[test]
    fn no_json_patch_makes_the_server_panic(
        document in json_value(),
        operations in proptest::collection::vec(
            ("(add|remove|replace|test|move|copy)", "(/[a-d0-2-]){0,3}", "(/[a-d0-2-]){0,3}", json_value()),
            0..6,
        )
    ) {
        let patch = operations
            .into_iter()
            .map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
            .collect();
        let _ = json_patch(&document, &patch);
    }
}
