//! Merge patches: the difference between two JSON documents.

use serde_json::{Map, Value};

/// The merge patch that turns one value into the other; `None` if they are equal.
pub(crate) fn diff(before: Option<&Value>, after: Option<&Value>) -> Option<Value> {
    match (before, after) {
        (None | Some(Value::Null), None) => None,
        (Some(_), None) => Some(Value::Null),
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let removed = before
                .keys()
                .filter(|key| !after.contains_key(*key))
                .map(|key| (key.clone(), Value::Null));
            let changed = after.iter().filter_map(|(key, after)| {
                Some((key.clone(), diff(before.get(key), Some(after))?))
            });
            let changes: Map<String, Value> = removed.chain(changed).collect();
            (!changes.is_empty()).then(|| changes.into())
        }
        (before, Some(after)) => (before != Some(after)).then(|| after.clone()),
    }
}

#[cfg(test)]
mod tests {
    use mxjob_machinery::patch::merge_patch;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            Just(json!([1, 2]))
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            proptest::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| json!(map))
        })
    }

    proptest! {
        #[test]
        fn patching_by_the_change_gives_the_next_document(before in document(), after in document()) {
            match diff(Some(&before), Some(&after)) {
                None => prop_assert_eq!(before, after),
                Some(patch) => prop_assert_eq!(merge_patch(&before, &patch), after),
            }
        }
    }
}
