//! The spec as it is on the wire: every field optional, both layouts, no defaults.
//!
//! These types read a spec and are the source of the CustomResourceDefinition's schema; they are never written back
//! (a stored spec stays as its user typed it). Code that acts on a job uses [`Job`](crate::Job).

use crate::mxjob::MAX_REPLICAS;
use crate::policy::{CleanPodPolicy, RestartPolicy, RestartScope, SuccessPolicy};
use crate::role::JobMode;
pub(crate) use mxjob_machinery::schema::integer;
use schemars::JsonSchema;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The member of the spec that clients with types of Go always write, empty where their user has not given it.
pub(crate) const JOB_MODE: &str = "jobMode";

/// `spec` of an MXJob.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MXJobSpec {
    /// Which family of roles the job has. Default, where it is empty too, `MXTrain`.
    #[serde(default, deserialize_with = "word")]
    pub job_mode: Option<JobMode>,
    /// The replicas by role. Role names are accepted in any letter case.
    #[schemars(required, with = "BTreeMap<String, ReplicaSpec>")]
    pub mx_replica_specs: Option<BTreeMap<String, Option<ReplicaSpec>>>,
    /// The job fails when it has been active for this many seconds. Replaceable.
    #[serde(default, deserialize_with = "int64")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// The job fails when it would need more restarts than this. Default: no limit.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub backoff_limit: Option<i32>,
    /// Which pods go when the job has finished. Default `Running`. Replaceable.
    #[serde(default, deserialize_with = "clean_pod_policy")]
    pub clean_pod_policy: Option<CleanPodPolicy>,
    /// The job is deleted this many seconds after it has finished. Default: kept. Replaceable.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Whether the job is held back or stopped for now. Default `false`. Replaceable.
    pub suspend: Option<bool>,
    /// How the replicas are scheduled together.
    pub scheduling_policy: Option<SchedulingPolicy>,
    /// When the job has succeeded. The empty string is the default rule.
    pub success_policy: Option<SuccessPolicy>,
    /// How far a restart reaches. Default `Job` with a scheduler, else `Replica`.
    pub restart_scope: Option<RestartScope>,
    /// The other place of six of the fields above; the same field may not differ in both.
    pub run_policy: Option<RunPolicy>,
}

/// `spec.runPolicy`: the nested layout.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPolicy {
    /// As `spec.activeDeadlineSeconds`.
    #[serde(default, deserialize_with = "int64")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// As `spec.backoffLimit`.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub backoff_limit: Option<i32>,
    /// As `spec.cleanPodPolicy`.
    #[serde(default, deserialize_with = "clean_pod_policy")]
    pub clean_pod_policy: Option<CleanPodPolicy>,
    /// As `spec.ttlSecondsAfterFinished`.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// As `spec.suspend`.
    pub suspend: Option<bool>,
    /// As `spec.schedulingPolicy`.
    pub scheduling_policy: Option<SchedulingPolicy>,
}

/// `spec.schedulingPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulingPolicy {
    /// How many replicas must fit at once for the job to start. Default: all.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub min_available: Option<i32>,
    /// The queue the job waits in.
    pub queue: Option<String>,
    /// What the job needs at least, by resource name.
    #[schemars(with = "Option<BTreeMap<String, crate::schema::Quantity>>")]
    pub min_resources: Option<BTreeMap<String, Value>>,
    /// The priority class of the job as a whole.
    pub priority_class: Option<String>,
    /// How long the scheduler tries before it gives up.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub schedule_timeout_seconds: Option<i32>,
}

/// One role of the job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSpec {
    /// How many pods. Default 1. All roles together have at most 10000.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub replicas: Option<i32>,
    /// What happens when a replica ends. Default `Never`; overrides the template's.
    #[serde(default, deserialize_with = "word")]
    pub restart_policy: Option<RestartPolicy>,
    /// The pod of a replica.
    #[schemars(required, with = "crate::schema::PodTemplate")]
    pub template: Option<Value>,
    /// The tuner key that reaches `MX_CONFIG`.
    pub label: Option<String>,
}

/// A word of an enumeration; the empty one counts as absent. Clients with types of Go write `jobMode` so, and older operators stored it
/// of every other.
fn word<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    let value = value.filter(|value| !value.is_null() && value != "");
    value.map(T::deserialize).transpose().map_err(D::Error::custom)
}

/// The same, where the empty word had a meaning: neither `None` nor `Running`, so older operators removed all pods.
fn clean_pod_policy<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CleanPodPolicy>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    if value.as_ref().is_some_and(|value| value == "") {
        return Ok(Some(CleanPodPolicy::All));
    }
    word(value.unwrap_or(Value::Null)).map_err(D::Error::custom)
}

fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(deserializer)? else { return Ok(None) };
    match integer(&value) {
        Some(integer) => Ok(Some(integer)),
        None => Err(D::Error::invalid_type(Unexpected::Other(&value.to_string()), &"an integer")),
    }
}

fn int32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    int64(deserializer)?
        .map(|value| {
            i32::try_from(value)
                .map_err(|_| D::Error::invalid_value(Unexpected::Signed(value), &"an int32"))
        })
        .transpose()
}
