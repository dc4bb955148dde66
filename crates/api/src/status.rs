//! The status of a job: its conditions, the counts by role and its times.
//!
//! Only the controller writes it. [`JobStatus::set_condition`] alone decides the order of
//! conditions.

mod conditions;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::{Error as _, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::role::Role;
use crate::spec;
use crate::time;

pub use conditions::{Condition, ConditionStatus, ConditionType};

/// `status` of an MXJob.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobStatus {
    /// The observed states of the job; the newest transition is last.
    pub conditions: Vec<Condition>,
    /// Counts by role.
    pub replicas: BTreeMap<Role, ReplicaStatus>,
    /// When the job became active; reset on resume.
    pub start_time: Option<Timestamp>,
    /// When it finished.
    pub completion_time: Option<Timestamp>,
    /// When the controller last reconciled the job, where readers use it.
    pub last_reconcile_time: Option<Timestamp>,
}

/// The pods of one role, counted. Zero counts are omitted on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaStatus {
    /// Running pods.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "is_zero")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub active: u32,
    /// Succeeded pods.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "is_zero")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub succeeded: u32,
    /// Failed pods.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "is_zero")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub failed: u32,
    /// Replacements and in-place restarts so far; they count toward `backoffLimit`.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "is_zero")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub restarts: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A count as a JSON number; `1.0` is 1, and null is 0.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?.unwrap_or_else(|| 0.into());
    spec::integer(&value)
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| D::Error::invalid_value(Unexpected::Other(&value.to_string()), &"a count"))
}

/// The wire form. The counts have two names: the documented API's and that of every later client.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wire {
    /// The observed states of the job; the newest transition is last.
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Vec<Condition>>,
    /// Counts by role.
    #[serde(skip_serializing_if = "Option::is_none")]
    mx_replica_statuses: Option<BTreeMap<String, ReplicaStatus>>,
    /// The same counts under the name that later clients read.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_statuses: Option<BTreeMap<String, ReplicaStatus>>,
    /// When the job became active; reset on resume.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    #[schemars(with = "Option<crate::schema::Time>")]
    start_time: Option<Timestamp>,
    /// When it finished.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    #[schemars(with = "Option<crate::schema::Time>")]
    completion_time: Option<Timestamp>,
    /// When the controller last reconciled the job, where readers use it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    #[schemars(with = "Option<crate::schema::Time>")]
    last_reconcile_time: Option<Timestamp>,
    /// The controller's own record of succeeded replicas, by role.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    #[allow(dead_code)] // known to the schema; the controller reads and writes it
    completed_indexes: Option<IgnoredAny>,
    /// The controller's own record of restarts.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<crate::schema::Open>")]
    #[allow(dead_code)] // as above
    restart_state: Option<IgnoredAny>,
}

impl JobStatus {
    /// The JSON to store: the counts under both names, and no empty fields.
    pub fn to_value(&self) -> Value {
        let counts = || {
            let counts: BTreeMap<_, _> = self
                .replicas
                .iter()
                .map(|(role, status)| (role.as_str().to_owned(), *status))
                .collect();
            (!counts.is_empty()).then_some(counts)
        };
        let wire = Wire {
            conditions: (!self.conditions.is_empty()).then(|| self.conditions.clone()),
            mx_replica_statuses: counts(),
            replica_statuses: counts(),
            start_time: self.start_time,
            completion_time: self.completion_time,
            last_reconcile_time: self.last_reconcile_time,
            ..Wire::default()
        };
        // Strings, numbers and string-keyed maps always serialize.
        serde_json::to_value(wire).unwrap_or_else(|_| Map::new().into())
    }
}

impl<'de> Deserialize<'de> for JobStatus {
    /// Reads either name of the counts. Unknown roles are ignored.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let counts = wire.mx_replica_statuses.or(wire.replica_statuses).unwrap_or_default();
        Ok(Self {
            conditions: wire.conditions.unwrap_or_default(),
            replicas: counts
                .into_iter()
                .filter_map(|(role, status)| Some((Role::parse(&role)?, status)))
                .collect(),
            start_time: wire.start_time,
            completion_time: wire.completion_time,
            last_reconcile_time: wire.last_reconcile_time,
        })
    }
}
