//! Merge patches: the body that turns a job's status, or any other document, into the next one.

use crate::plan::NextStatus;
use serde_json::{Map, Value, json};

/// The merge patch from a status to the next, tied to the version it was planned from: the server refuses it if the job has
/// changed since.
///
/// Only the controller's own keys are touched. What goes is said (`null`): in a merge patch silence means "as it was".
pub(crate) fn status_patch(resource_version: &str, status: &Value, next: &NextStatus) -> Value {
    let next = next.to_value();
    let mut changes = Map::new();
    for key in NextStatus::keys() {
        if let Some(change) = change(status.get(key), next.get(key)) {
            changes.insert(key.to_owned(), change);
        }
    }
    json!({ "metadata": { "resourceVersion": resource_version }, "status": changes })
}

/// What to write over one value to get the other; `None` if they are equal.
pub(crate) fn change(before: Option<&Value>, after: Option<&Value>) -> Option<Value> {
    match (before, after) {
        (None | Some(Value::Null), None) => None,
        (Some(_), None) => Some(Value::Null),
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let removed = before
                .keys()
                .filter(|key| !after.contains_key(*key))
                .map(|key| (key.clone(), Value::Null));
            let changed = after.iter().filter_map(|(key, after)| {
                Some((key.clone(), change(before.get(key), Some(after))?))
            });
            let changes: Map<String, Value> = removed.chain(changed).collect();
            (!changes.is_empty()).then(|| changes.into())
        }
        (before, Some(after)) => (before != Some(after)).then(|| after.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use mxjob_api::{JobStatus, ReplicaStatus, Role};
    use mxjob_machinery::patch::merge_patch;
    use proptest::prelude::*;

    fn status(active: u32, succeeded: u32) -> NextStatus {
        let counts = ReplicaStatus { active, succeeded, ..ReplicaStatus::default() };
        let status =
            JobStatus { replicas: [(Role::Worker, counts)].into(), ..JobStatus::default() };
        NextStatus { status, memory: Memory::default() }
    }

    #[test]
    fn a_patch_says_what_goes_and_nothing_that_stays() {
        let before = status(2, 0).to_value();
        assert_eq!(
            status_patch("41", &before, &status(0, 2)),
            json!({
                "metadata": { "resourceVersion": "41" },
                "status": {
                    "mxReplicaStatuses": { "Worker": { "active": null, "succeeded": 2 } },
                    "replicaStatuses": { "Worker": { "active": null, "succeeded": 2 } },
                },
            })
        );
        assert_eq!(status_patch("41", &before, &status(2, 0))["status"], json!({}));
    }

    #[test]
    fn keys_of_others_stay() {
        let mut before = status(2, 0).to_value();
        before["theirs"] = json!({ "a": 1 });
        let patch = status_patch("1", &before, &status(1, 0));
        assert_eq!(merge_patch(&before, &patch["status"])["theirs"], json!({ "a": 1 }));
    }

    #[test]
    fn the_first_status_is_written_into_nothing() {
        for before in [Value::Null, json!({})] {
            let patch = status_patch("1", &before, &status(1, 0));
            assert_eq!(merge_patch(&before, &patch["status"]), status(1, 0).to_value());
        }
    }

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
            match change(Some(&before), Some(&after)) {
                None => prop_assert_eq!(before, after),
                Some(patch) => prop_assert_eq!(merge_patch(&before, &patch), after),
            }
        }
    }
}
