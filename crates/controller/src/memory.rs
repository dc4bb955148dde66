//! What the controller must remember of a job across its own restarts, kept in the job's status
//! beside the counts.
//!
//! Counts alone cannot say *which* replica succeeded after its pod is gone, nor which failures they
//! include already. Both facts are written in the same status update as the counts, so one
//! compare-and-set on the resource version covers all of them:
//!
//! * `status.completedIndexes`: by role, the replicas that succeeded (`"0-2,5"`, as in `batch/v1`
//!   Jobs);
//! * `status.restartState`: the attempt of the job as a whole, how many restarts of each existing
//!   pod are counted, and how long the next replacement waits.
//!
//! Reading never fails: what does not parse (somebody edited the status by hand) is dropped, and
//! the facts are read again from the pods that still exist.

mod indexes;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mxjob_api::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use indexes::Indexes;

/// Key of [`Memory::completed`] in the status.
pub(crate) const COMPLETED_INDEXES: &str = "completedIndexes";
/// Key of [`Memory::restarts`] in the status.
pub(crate) const RESTART_STATE: &str = "restartState";

/// The facts to remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Replicas of the current attempt that succeeded; they are never created again.
    pub completed: BTreeMap<Role, Indexes>,
    /// Bookkeeping of restarts.
    pub restarts: Restarts,
}

/// Bookkeeping of restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restarts {
    /// How often all replicas were stopped together. Pods carry the attempt that they were created
    /// for.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// By uid of an existing pod: how many of its restarts are counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counted: BTreeMap<String, u32>,
    /// The uids of existing pods whose failure is counted, apart from their restarts in place: an
    /// evicted pod may lose the state of its containers, so the number alone cannot distinguish the
    /// two.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub replaced: BTreeSet<String>,
    /// By replica (`worker-1`), or [`WHOLE_JOB`]: when the next replacement may be created.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub delays: BTreeMap<String, Delay>,
}

/// Key of the delay of a restart of all replicas together.
pub const WHOLE_JOB: &str = "job";

/// How long replacements wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Restarts in a row, without a long run between them.
    pub streak: u32,
    /// No replacement before this time.
    pub until: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
fn is_zero(number: &u32) -> bool {
    *number == 0
}

// === impl Memory ===

impl Memory {
    /// Reads the facts from a job's raw status.
    pub fn read(status: &Value) -> Self {
        let completed = status.get(COMPLETED_INDEXES).and_then(Value::as_object);
        let completed = completed.into_iter().flatten().filter_map(|(role, indexes)| {
            Some((Role::parse(role)?, Indexes::parse(indexes.as_str()?)?))
        });
        let restarts =
            status.get(RESTART_STATE).and_then(|state| Restarts::deserialize(state).ok());
        Self { completed: completed.collect(), restarts: restarts.unwrap_or_default() }
    }

    /// Writes the facts into a status; empty ones leave no key.
    pub fn write(&self, status: &mut Map<String, Value>) {
        let completed: Map<String, Value> = self
            .completed
            .iter()
            .filter(|(_, indexes)| !indexes.is_empty())
            .map(|(role, indexes)| (role.as_str().to_owned(), indexes.to_string().into()))
            .collect();
        if !completed.is_empty() {
            status.insert(COMPLETED_INDEXES.to_owned(), completed.into());
        }
        if self.restarts != Restarts::default()
            && let Ok(state) = serde_json::to_value(&self.restarts)
        {
            status.insert(RESTART_STATE.to_owned(), state);
        }
    }

    /// Whether a replica has succeeded.
    pub fn is_completed(&self, role: Role, index: u32) -> bool {
        self.completed.get(&role).is_some_and(|indexes| indexes.contains(index))
    }

    /// How many replicas of a role have succeeded.
    pub fn completed_count(&self, role: Role) -> u32 {
        self.completed.get(&role).map_or(0, Indexes::len)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(memory: &Memory) -> Value {
        let mut status = Map::new();
        memory.write(&mut status);
        status.into()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let memory = Memory {
            completed: [(Role::Worker, Indexes::parse("0-2,5").unwrap())].into(),
            restarts: Restarts {
                attempt: 2,
                counted: [("u1".to_owned(), 1)].into(),
                replaced: ["u2".to_owned()].into(),
                delays: [(
                    "job".to_owned(),
                    Delay { streak: 2, until: "2026-11-24T08:00:02Z".parse().unwrap() },
                )]
                .into(),
            },
        };
        let status = written(&memory);
        assert_eq!(
            status,
            json!({
                "completedIndexes": { "Worker": "0-2,5" },
                "restartState": {
                    "attempt": 2,
                    "counted": { "u1": 1 },
                    "replaced": ["u2"],
                    "delays": { "job": { "streak": 2, "until": "2026-11-24T08:00:02Z" } },
                },
            })
        );
        assert_eq!(Memory::read(&status), memory);
    }

    #[test]
    fn a_job_with_nothing_to_remember_has_no_keys_for_it() {
        assert_eq!(written(&Memory::default()), json!({}));
        assert_eq!(Memory::read(&Value::Null), Memory::default());
    }

    #[test]
    fn what_does_not_parse_is_forgotten() {
        for status in [
            json!({ "completedIndexes": 3, "restartState": [] }),
            json!({ "completedIndexes": { "Worker": "x", "Pilot": "0" }, "restartState": { "attempt": -1 } }),
        ] {
            assert_eq!(Memory::read(&status), Memory::default(), "{status}");
        }
    }
}
