//! The entries and conflicts that a real API server answered with, and what must hold always.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::{metadata, patch};

/// One recorded write.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    how: String,
    manager: String,
    subresource: String,
    force: bool,
    live: Option<Value>,
    body: Value,
    now: Timestamp,
    managed_fields: Option<Value>,
    spec: Option<Value>,
    labels: Option<Value>,
    message: Option<String>,
    #[serde(default)]
    causes: Vec<crate::status::Cause>,
}

fn normalized(mut object: Value) -> Value {
    metadata::normalize(object["metadata"].as_object_mut().unwrap());
    object
}

fn written(case: &Case) -> Result<Value, ApplyError> {
    let ignored =
        Set::of_fields(if case.subresource.is_empty() { &[&["status"]] } else { &[&["spec"]] });
    let options = Options {
        manager: &case.manager,
        subresource: Some(&*case.subresource).filter(|name| !name.is_empty()),
        api_version: "kubeflow.org/v1",
        now: case.now,
        ignored: &ignored,
        shape: &OBJECT,
    };
    let live = case.live.as_ref();
    let patched = |patched: Value| {
        let mut new = normalized(patched);
        update(live, &mut new, &options);
        Ok(new)
    };
    match case.how.as_str() {
        "apply" => apply(live, &case.body, case.force, &options),
        "json patch" => {
            let document = patch::json_patch(live.unwrap_or(&Value::Null), &case.body);
            patched(document.unwrap_or_else(|error| panic!("{}: {error}", case.name)))
        }
        "merge patch" => patched(patch::merge_patch(live.unwrap_or(&Value::Null), &case.body)),
        _ => {
            // An empty list of entries is no field, but not what `normalize` should decide here.
            let entries = case.body["metadata"].get("managedFields").cloned();
            let mut new = normalized(case.body.clone());
            if let Some(entries) = entries {
                new["metadata"]["managedFields"] = entries;
            }
            update(live, &mut new, &options);
            Ok(new)
        }
    }
}

#[test]
fn ownership_is_what_a_real_server_recorded() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../tests/data/ownership.json")).unwrap();
    assert!(cases.len() > 30);
    let mut failures = Vec::new();
    for case in &cases {
        let name = &case.name;
        match (written(case), &case.message) {
            (Ok(object), None) => {
                let entries = &object["metadata"]["managedFields"];
                if Some(entries) != case.managed_fields.as_ref() {
                    let wanted = case.managed_fields.as_ref().unwrap();
                    failures.push(format!("{name}: wanted {wanted:#}\n got {entries:#}"));
                }
                if case.how == "apply" && case.subresource.is_empty() {
                    assert_eq!(object.get("spec"), case.spec.as_ref(), "{name}");
                    assert_eq!(object["metadata"].get("labels"), case.labels.as_ref(), "{name}");
                }
            }
            (Err(ApplyError::Conflicts(conflicts)), Some(message)) => {
                assert_eq!(&conflicts.to_string(), message, "{name}");
                assert_eq!(conflicts.causes(), case.causes, "{name}");
            }
            (Ok(_), Some(message)) => failures.push(format!("{name}: written, wanted {message}")),
            (Err(error), _) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

const NOW: &str = "2026-11-24T08:00:00Z";

/// Options for the object itself with nothing ignored.
fn options<'a>(manager: &'a str, ignored: &'a Set) -> Options<'a> {
    Options {
        manager,
        subresource: None,
        api_version: "v1",
        now: NOW.parse().unwrap(),
        ignored,
        shape: &OBJECT,
    }
}

fn applied(
    live: Option<&Value>,
    manager: &str,
    config: &Value,
    force: bool,
) -> Result<Value, ApplyError> {
    apply(live, config, force, &options(manager, &Set::new()))
}

fn updated(live: Option<&Value>, manager: &str, mut new: Value) -> Value {
    update(live, &mut new, &options(manager, &Set::new()));
    new
}

/// Operation, manager and fields of each entry.
fn entries(object: &Value) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            (text(&entry["operation"]), text(&entry["manager"]), entry["fieldsV1"].clone())
        })
        .collect()
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = applied(
        None,
        "one",
        &json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"a": 1}}),
        false,
    )
    .unwrap();
    let live = updated(Some(&live), "upd", {
        let mut new = live.clone();
        new["spec"]["b"] = json!(1);
        new
    });
    let config = json!({"metadata": {"name": "a", "labels": {"l": "2"}}, "spec": {"a": 2, "b": 2}});
    let error = applied(Some(&live), "two", &config, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .metadata.labels.l\n- .spec.a\nconflicts with \"upd\" using v1:\n- .spec.b"
    );
}

#[test]
fn finalizers_and_owners_are_owned_one_by_one() {
    let live = applied(None, "one", &json!({"metadata": {"name": "a", "finalizers": ["x/a"], "ownerReferences": [{"uid": "1", "name": "n"}]}}), false).unwrap();
    let both = applied(Some(&live), "two", &json!({"metadata": {"name": "a", "finalizers": ["x/b"], "ownerReferences": [{"uid": "2", "name": "m"}]}}), false).unwrap();
    assert_eq!(both["metadata"]["finalizers"], json!(["x/a", "x/b"]));
    assert_eq!(both["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    let error = applied(
        Some(&both),
        "two",
        &json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "other"}]}}),
        false,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .metadata.ownerReferences[uid=\"1\"]"
    );
    let gone = applied(Some(&both), "one", &json!({"metadata": {"name": "a"}}), false).unwrap();
    assert_eq!(gone["metadata"]["finalizers"], json!(["x/b"]));
    assert_eq!(gone["metadata"]["ownerReferences"], json!([{"uid": "2", "name": "m"}]));
}

#[test]
fn what_an_applier_gives_up_stays_if_another_owns_it_and_nothing_else_goes() {
    let stored = json!({"metadata": {"name": "a", "uid": "u", "creationTimestamp": NOW}, "spec": {"mine": 1, "shared": 2}});
    let live = updated(None, "upd", stored);
    let live = applied(
        Some(&live),
        "one",
        &json!({"metadata": {"name": "a"}, "spec": {"shared": 2, "only": {"x": 1}}}),
        false,
    )
    .unwrap();
    let live = applied(Some(&live), "one", &json!({}), false).unwrap();
    assert_eq!(live["spec"], json!({"mine": 1, "shared": 2}));
    assert_eq!(live["metadata"]["uid"], "u");
    assert_eq!(live["metadata"]["creationTimestamp"], NOW);
}

#[test]
fn an_object_without_entries_starts_none_on_update_and_keeps_what_it_had_on_apply() {
    let live = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"a": 1}});
    let changed = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"a": 2}});
    assert!(entries(&updated(Some(&live), "upd", changed)).is_empty());

    let config = json!({"metadata": {"name": "a"}, "spec": {"a": 2}});
    let error = applied(Some(&live), "one", &config, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .spec.a"
    );
    let forced = applied(Some(&live), "one", &config, true).unwrap();
    assert_eq!(
        entries(&forced),
        [
            ("Apply".to_owned(), "one".to_owned(), json!({"f:spec": {"f:a": {}}})),
            ("Update".to_owned(), "before-first-apply".to_owned(), json!({"f:spec": {}})),
        ]
    );
}

#[test]
fn entries_can_be_dropped_set_and_not_broken_by_the_body() {
    let live =
        updated(None, "one", json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"a": 1}}));
    let with = |entries: Value| {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = entries;
        updated(Some(&live), "two", new)
    };
    assert!(entries(&with(json!([{}]))).is_empty());
    assert_eq!(with(json!([])), live);
    assert_eq!(with(json!([{"manager": "x"}])), live);
    assert_eq!(with(json!("x")), live);
    let given = json!([{"manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:a": {}}}}]);
    assert_eq!(entries(&with(given))[0].1, "x");
}

#[test]
fn a_configuration_may_not_carry_entries() {
    let config = json!({"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}});
    assert_eq!(applied(None, "one", &config, false), Err(ApplyError::ManagedFieldsSet));
}

#[test]
fn the_oldest_of_too_many_updaters_become_one() {
    let mut live =
        updated(None, "m00", json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"f00": 1}}));
    for index in 1..14 {
        let mut new = live.clone();
        new["spec"][format!("f{index:02}")] = json!(1);
        live = updated(Some(&live), &format!("m{index:02}"), new);
    }
    let entries = entries(&live);
    assert_eq!(entries.len(), 10);
    assert!(entries.iter().any(|(_, manager, _)| manager == "ancient-changes"));
    let owned: usize =
        entries.iter().map(|(_, _, fields)| fields["f:spec"].as_object().unwrap().len()).sum();
    // Fourteen fields and `spec` itself, none lost.
    assert_eq!(owned, 15);
}

#[test]
fn only_times_of_entries_may_differ_for_a_write_to_be_skipped() {
    let object = |time: &str, spec: i32| json!({"metadata": {"managedFields": [{"manager": "m", "time": time}]}, "spec": spec});
    assert!(same_but_for_times(&object("a", 1), &object("b", 1)));
    assert!(!same_but_for_times(&object("a", 1), &object("a", 2)));
    assert!(!same_but_for_times(&object("a", 1), &json!({"spec": 1})));
}

#[test]
fn the_order_of_lists_follows_the_configuration() {
    let shape = Shape::Struct(vec![("l".into(), Shape::Set)]);
    for (live, config, expected) in [
        (json!(["a", "b"]), json!(["c"]), json!(["a", "b", "c"])),
        (json!(["a", "b", "c"]), json!(["c", "a"]), json!(["b", "c", "a"])),
        (json!(["a", "b"]), json!(["x", "b", "a"]), json!(["x", "b", "a"])),
        (json!(["a", "l", "b"]), json!(["a", "x", "b"]), json!(["a", "l", "x", "b"])),
        (json!(["a", "u", "b"]), json!(["x", "b", "a"]), json!(["u", "x", "b", "a"])),
        (json!(["a", "b", "u"]), json!(["b"]), json!(["a", "b", "u"])),
        (json!([]), json!(["a"]), json!(["a"])),
    ] {
        let merged = merge::merge(&json!({"l": live}), &json!({"l": config}), &shape);
        assert_eq!(merged["l"], expected, "{live} with {config}");
    }
}

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[a-c:.\"]{0,3}".prop_map(Element::Field),
        "[a-c]".prop_map(|name| Element::Key(json!({"name": name}).to_string())),
        "[a-c\"]{0,2}".prop_map(|value| Element::Value(json!(value).to_string())),
        (0_i64..3).prop_map(Element::Index),
    ]
}

fn set() -> impl Strategy<Value = Set> {
    proptest::collection::vec(proptest::collection::vec(element(), 1..4), 0..6).prop_map(|paths| {
        let mut set = Set::new();
        for path in &paths {
            set.insert(path);
        }
        set
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0_i64..3).prop_map(Value::from),
        "[a-b]".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    (value(), proptest::collection::btree_map("[a-c]", "[x-z]", 0..3), proptest::collection::btree_set("[a-c]", 0..3)).prop_map(
        |(spec, labels, finalizers): (Value, BTreeMap<String, String>, _)| {
            json!({"metadata": {"name": "n", "uid": "u", "labels": labels, "finalizers": finalizers}, "spec": spec})
        },
    )
}

proptest! {
    #[test]
    fn a_set_survives_its_wire_form(set in set()) {
        prop_assert_eq!(Set::from_fields_v1(&set.to_fields_v1()).unwrap(), set);
    }

    #[test]
    fn set_algebra_holds(a in set(), b in set()) {
        let both = a.clone().union(&b);
        prop_assert_eq!(both.difference(&b), a.difference(&b));
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(both.paths().into_iter().filter(|path| !a.contains(&path.0) && !b.contains(&path.0)).count(), 0);
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
    }

    #[test]
    fn an_update_that_changes_nothing_changes_nothing(first in object(), second in object(), keep in any::<bool>()) {
        let live = updated(None, "one", first);
        let live = updated(Some(&live), "two", second);
        let mut again = live.clone();
        if !keep {
            managers::take_field(&mut again);
        }
        prop_assert_eq!(updated(Some(&live), "three", again), live);
    }

    #[test]
    fn applying_twice_is_applying_once(first in object(), config in object()) {
        let live = updated(None, "upd", first);
        let once = applied(Some(&live), "one", &config, true).unwrap();
        let twice = applied(Some(&once), "one", &config, false).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn every_field_has_an_owner(first in object(), second in object()) {
        let live = updated(None, "one", first);
        let live = updated(Some(&live), "two", second);
        let managers = managers::Managers::decode(managers::field(&live)).unwrap();
        let owned = managers.0.values().fold(Set::new(), |all, holding| all.union(&holding.set));
        let mut bare = live;
        managers::take_field(&mut bare);
        let missing = managers::ownable(&tree::fields_of(&bare, &OBJECT)).difference(&owned);
        prop_assert!(missing.is_empty(), "{:?}", missing.paths());
    }

    #[test]
    fn no_object_makes_apply_panic(live in value(), config in value()) {
        let _ = applied(Some(&live), "one", &config, true);
        let _ = updated(Some(&live), "one", config);
    }
}
