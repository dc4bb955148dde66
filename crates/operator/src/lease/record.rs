//! A Lease as JSON, and the fields that the election uses.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A Lease as the API server returned it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// `resourceVersion`; it differs when the Lease was changed.
    pub(super) version: String,
    /// The holder; empty if there is none.
    pub(super) holder: String,
    /// For how many seconds it is valid after its last observed change; `None` if it does not say.
    pub(super) seconds: Option<u64>,
    transitions: i64,
    acquired: Option<String>,
    /// The whole object, so that other fields stay as they are.
    object: Value,
}

/// What a candidate writes into the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The holder; empty to release the lease.
    pub(super) holder: String,
    /// For how many seconds it is valid.
    pub(super) seconds: u64,
}

// === impl Record ===

impl Record {
    /// Reads an answer of the API server.
    pub(super) fn from_value(object: Value) -> Self {
        let text = |pointer: &str| mxjob_machinery::json::text(&object, pointer).to_owned();
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let seconds = number("/spec/leaseDurationSeconds");
        let acquired = text("/spec/acquireTime");
        Self {
            version: text("/metadata/resourceVersion"),
            holder: text("/spec/holderIdentity"),
            seconds: seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|s| *s > 0),
            transitions: number("/spec/leaseTransitions").unwrap_or(0),
            acquired: (!acquired.is_empty()).then_some(acquired),
            object,
        }
    }

    /// The object to write for a claim. The times are for people and other clients; the election
    /// never reads them.
    pub(super) fn claimed(
        before: Option<&Self>,
        name: &str,
        claim: &Claim,
        now: Timestamp,
    ) -> Value {
        // Kubernetes' `MicroTime`.
        let now = format!("{now:.6}");
        let is_new_holder = before.is_none_or(|before| before.holder != claim.holder);
        // A release is the end of a term, not the beginning of another.
        let is_new_term = is_new_holder && !claim.holder.is_empty();
        let transitions = before.map_or(0, |before| before.transitions);
        let acquired = before.and_then(|before| before.acquired.clone());
        let mut object = before.map_or_else(
            || {
                json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": name },
                })
            },
            |before| before.object.clone(),
        );
        let spec = json!({
            "holderIdentity": claim.holder,
            "leaseDurationSeconds": claim.seconds,
            "acquireTime": acquired.filter(|_| !is_new_holder).unwrap_or_else(|| now.clone()),
            "renewTime": now,
            "leaseTransitions": transitions.saturating_add(i64::from(is_new_term && before.is_some())),
        });
        if let Some(object) = object.as_object_mut() {
            let kept = object.entry("spec").or_insert_with(|| Value::Object(Map::new()));
            match (kept.as_object_mut(), spec) {
                (Some(kept), Value::Object(spec)) => kept.extend(spec),
                (_, spec) => *kept = spec,
            }
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_keeps_the_other_fields() {
        let now: Timestamp = "2026-11-24T08:00:00.5Z".parse().unwrap();
        let claim = |holder: &str, seconds| Claim { holder: holder.to_owned(), seconds };
        let first = Record::claimed(None, "mxjob-operator", &claim("a", 15), now);
        assert_eq!(
            first,
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "mxjob-operator" },
                "spec": {
                    "holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                    "acquireTime": "2026-11-24T08:00:00.500000Z", "renewTime": "2026-11-24T08:00:00.500000Z",
                },
            })
        );
        let mut object = first;
        object["metadata"] =
            json!({ "name": "mxjob-operator", "resourceVersion": "7", "labels": { "team": "x" } });
        object["spec"]["strategy"] = json!("kept");
        let record = Record::from_value(object);
        let later: Timestamp = "2026-11-24T08:00:02Z".parse().unwrap();
        let check = |holder: &str, acquired: &str, transitions: i64| {
            let next = Record::claimed(Some(&record), "mxjob-operator", &claim(holder, 15), later);
            assert_eq!(next["metadata"], record.object["metadata"], "with its version");
            assert_eq!(next["spec"]["strategy"], "kept");
            assert_eq!(next["spec"]["renewTime"], "2026-11-24T08:00:02.000000Z");
            assert_eq!(next["spec"]["acquireTime"], acquired, "{holder}");
            assert_eq!(next["spec"]["leaseTransitions"], transitions, "{holder}");
        };
        check("a", "2026-11-24T08:00:00.500000Z", 0);
        check("b", "2026-11-24T08:00:02.000000Z", 1);
        check("", "2026-11-24T08:00:02.000000Z", 0);
    }

    #[test]
    fn an_incomplete_or_invalid_lease_has_no_holder() {
        for object in [
            json!({}),
            json!({ "spec": {} }),
            json!({ "spec": { "holderIdentity": null, "leaseDurationSeconds": -5 } }),
            json!({ "spec": { "holderIdentity": 7, "leaseDurationSeconds": "x" } }),
            json!([]),
        ] {
            let record = Record::from_value(object.clone());
            assert_eq!((record.holder.as_str(), record.seconds), ("", None), "{object}");
        }
    }
}
