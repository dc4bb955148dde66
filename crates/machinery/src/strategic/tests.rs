//! What a strategic merge patch makes of an object, case by case.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::merge_keys;

/// Patches the spec of a pod.
fn patched(original: &Value, change: &Value) -> Result<Value, PatchError> {
    let pod = json!({"spec": original});
    let change = json!({"spec": change});
    patch(&pod, &change, merge_keys::shape("v1", "Pod")).map(|mut pod| pod["spec"].take())
}

#[allow(clippy::needless_pass_by_value, reason = "cases read better without borrows")]
fn check(name: &str, original: Value, change: Value, expected: Value) {
    match patched(&original, &change) {
        Ok(result) => assert_eq!(result, expected, "{name}"),
        Err(error) => panic!("{name}: {error}"),
    }
}

fn named(names: &str) -> Value {
    names.split_whitespace().map(|name| json!({"name": name})).collect()
}

#[test]
fn maps_are_merged_entry_by_entry() {
    check("set", json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2}));
    check("change", json!({"a": 1}), json!({"a": "x"}), json!({"a": "x"}));
    check("null removes", json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2}));
    check("null where nothing is", json!({"a": 1}), json!({"b": null}), json!({"a": 1}));
    check(
        "nulls of a new map are dropped",
        json!({}),
        json!({"m": {"a": null, "b": 1}}),
        json!({"m": {"b": 1}}),
    );
    check(
        "deeper",
        json!({"m": {"a": 1, "b": 1}}),
        json!({"m": {"b": 2}}),
        json!({"m": {"a": 1, "b": 2}}),
    );
    check(
        "atomic to ownership, merged by a patch",
        json!({"nodeSelector": {"a": "1"}}),
        json!({"nodeSelector": {"b": "2"}}),
        json!({"nodeSelector": {"a": "1", "b": "2"}}),
    );
    check("another type replaces", json!({"m": {"a": 1}}), json!({"m": [1]}), json!({"m": [1]}));
    check(
        "and the other way round",
        json!({"m": [1]}),
        json!({"m": {"a": 1}}),
        json!({"m": {"a": 1}}),
    );
}

#[test]
fn lists_are_merged_by_their_key_or_replaced() {
    check(
        "an item changes where it is",
        json!({"containers": [{"name": "a", "image": "1", "command": ["x"]}, {"name": "b", "image": "1"}]}),
        json!({"containers": [{"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "a", "image": "1", "command": ["x"]}, {"name": "b", "image": "2"}]}),
    );
    check(
        "new items come first",
        json!({"containers": named("a b")}),
        json!({"containers": named("c")}),
        json!({"containers": named("c a b")}),
    );
    check(
        "lists in items, too",
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": null, "valueFrom": {"f": 1}}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "X", "valueFrom": {"f": 1}}, {"name": "Y", "value": "1"}]}]}),
    );
    check(
        "ports by their number",
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web", "protocol": "UDP"}]}]}),
    );
    check(
        "mounts by their path",
        json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/a", "name": "v"}]}]}),
        json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/a", "readOnly": true}]}]}),
        json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/a", "name": "v", "readOnly": true}]}]}),
    );
    check(
        "lists without a key are replaced",
        json!({"tolerations": [{"key": "a"}], "containers": [{"name": "a", "command": ["x", "y"]}]}),
        json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "command": ["z"]}]}),
        json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "command": ["z"]}]}),
    );
    check(
        "an empty patch of a list",
        json!({"containers": named("a")}),
        json!({"containers": []}),
        json!({"containers": named("a")}),
    );
    check(
        "null removes the list",
        json!({"containers": named("a"), "x": 1}),
        json!({"containers": null}),
        json!({"x": 1}),
    );
}

#[test]
fn directives_replace_and_delete() {
    check(
        "replace a map",
        json!({"m": {"a": 1}}),
        json!({"m": {"$patch": "replace", "b": 2}}),
        json!({"m": {"b": 2}}),
    );
    check(
        "delete a map",
        json!({"m": {"a": 1}, "x": 1}),
        json!({"m": {"$patch": "delete"}}),
        json!({"m": {}, "x": 1}),
    );
    check(
        "delete an item",
        json!({"containers": named("a b c")}),
        json!({"containers": [{"name": "b", "$patch": "delete"}]}),
        json!({"containers": named("a c")}),
    );
    check(
        "delete an item that is not there",
        json!({"containers": named("a")}),
        json!({"containers": [{"name": "z", "$patch": "delete"}]}),
        json!({"containers": named("a")}),
    );
    check(
        "delete from a list that is not there",
        json!({}),
        json!({"containers": [{"name": "z", "$patch": "delete"}, {"name": "a"}]}),
        json!({"containers": named("a")}),
    );
    check(
        "replace a list",
        json!({"containers": named("a b c")}),
        json!({"containers": [{"$patch": "replace"}, {"name": "d"}]}),
        json!({"containers": named("d")}),
    );
    check(
        "replace an item",
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "emptyDir": null, "hostPath": {"path": "/x"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
    );
    check(
        "retain keys: what is not named goes",
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
    );
    check(
        "retain keys of a new item",
        json!({}),
        json!({"volumes": [{"$retainKeys": ["name", "emptyDir"], "name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
    );
}

#[test]
fn the_order_of_merged_lists_can_be_set() {
    let order = |original: &str, patch: &str, wanted: &str| {
        let change =
            json!({"$setElementOrder/containers": named(wanted), "containers": named(patch)});
        let result = patched(&json!({"containers": named(original)}), &change).unwrap();
        let names: Vec<&str> = result["containers"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|item| item["name"].as_str())
            .collect();
        names.join(" ")
    };
    assert_eq!(order("a b c", "", "c b a"), "c b a");
    assert_eq!(order("a b", "c", "a b c"), "a b c");
    assert_eq!(order("a b", "c", "a c b"), "a c b");
    assert_eq!(order("a b", "b", "b a"), "b a");
    // What the patch does not know of stays where it was.
    assert_eq!(order("a server b", "c", "a b c"), "a server b c");
    assert_eq!(order("server a b", "", "b a"), "server b a");
    check(
        "of a list that only the patch has",
        json!({}),
        json!({"$setElementOrder/containers": named("a b"), "containers": named("a b")}),
        json!({"containers": named("a b")}),
    );
    check(
        "of a list that nobody has",
        json!({"x": 1}),
        json!({"$setElementOrder/containers": named("a")}),
        json!({"x": 1}),
    );
}

#[test]
fn sets_of_scalars_grow_and_shrink() {
    let finalizers = |original: Value, change: Value| {
        let pod = json!({"metadata": {"finalizers": original}});
        let patched = patch(&pod, &json!({"metadata": change}), merge_keys::shape("v1", "Pod"));
        patched.unwrap()["metadata"]["finalizers"].clone()
    };
    for (original, change, expected) in [
        (json!(["a"]), json!({"finalizers": ["b"]}), json!(["b", "a"])),
        (json!(["a", "b"]), json!({"finalizers": ["b"]}), json!(["a", "b"])),
        (
            json!(["a", "b"]),
            json!({"$deleteFromPrimitiveList/finalizers": ["a", "z"]}),
            json!(["b"]),
        ),
        (
            json!(["a", "b"]),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}),
            json!(["c", "b"]),
        ),
        (json!(["a", "b"]), json!({"$setElementOrder/finalizers": ["b", "a"]}), json!(["b", "a"])),
        (json!(["a"]), json!({"finalizers": null}), json!(null)),
    ] {
        assert_eq!(
            finalizers(original.clone(), change.clone()),
            expected,
            "{original} with {change}"
        );
    }
}

#[test]
fn patches_that_contradict_themselves_are_refused() {
    let original = json!({"containers": named("a b"), "m": {"a": 1}});
    for (change, expected) in [
        (json!({"m": {"$patch": "merge"}}), "unknown patch type [merge] in map[m]"),
        (json!({"m": {"$patch": 1}}), "unknown patch type [] in map[m]"),
        (
            json!({"containers": [{"name": "a", "$patch": "x"}]}),
            "unknown patch type [x] in map[containers]",
        ),
        (
            json!({"containers": [{"image": "i"}]}),
            "map does not contain declared merge key: name (in containers)",
        ),
        (
            json!({"volumes": [{"emptyDir": {}}]}),
            "map does not contain declared merge key: name (in volumes)",
        ),
        (json!({"containers": ["a"]}), "list element types are not identical in containers"),
        (json!({"$retainKeys": "m"}), "invalid patch format of retainKeys"),
        (json!({"$retainKeys": ["x"], "m": {}}), "invalid patch format of retainKeys"),
        (
            json!({"$setElementOrder/containers": 1}),
            "invalid patch format of setElementOrder list: containers",
        ),
        (
            json!({"$setElementOrder/containers": named("a b"), "containers": named("b a")}),
            "invalid patch format of setElementOrder list: containers",
        ),
        (
            json!({"$setElementOrder/containers": named("a"), "containers": named("z")}),
            "invalid patch format of setElementOrder list: containers",
        ),
        (json!({"$deleteFromPrimitiveList/x": [{}]}), "invalid patch format of primitive list: x"),
    ] {
        assert_eq!(patched(&original, &change).unwrap_err().to_string(), expected, "{change}");
    }
}

#[test]
fn long_lists_are_merged_in_one_pass() {
    let many: Value = (0..50_000).map(|index| json!({"name": index.to_string()})).collect();
    let reversed: Value =
        (0..50_000).rev().map(|index| json!({"name": index.to_string()})).collect();
    let change = json!({"containers": reversed, "$setElementOrder/containers": reversed});
    let result = patched(&json!({"containers": many}), &change).unwrap();
    assert_eq!(result["containers"], reversed);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0_i64..3).prop_map(Value::from),
        "[a-b]|delete|replace".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = "name|containers|env|ports|spec|metadata|finalizers|\\$patch|\\$retainKeys|\\$setElementOrder/containers|\\$deleteFromPrimitiveList/finalizers";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn has_directives(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            map.iter().any(|(key, value)| Directive::of(key).is_some() || has_directives(value))
        }
        Value::Array(items) => items.iter().any(has_directives),
        _ => false,
    }
}

proptest! {
    #[test]
    fn no_patch_panics_and_no_directive_is_stored(original in value(), change in value()) {
        let original = without_directives(&original);
        if let Ok(patched) = patch(&original, &change, merge_keys::shape("v1", "Pod")) {
            prop_assert!(!has_directives(&patched), "{}", patched);
        }
    }

    #[test]
    fn an_object_patched_with_itself_stays(object in value()) {
        let object = without_directives(&object);
        if let Ok(patched) = patch(&object, &object, merge_keys::shape("v1", "Pod")) {
            prop_assert!(!has_directives(&patched));
            if object.is_object() && object["metadata"].is_null() && object["spec"].is_null() {
                prop_assert_eq!(patched, object);
            }
        }
    }
}
