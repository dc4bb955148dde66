//! The spec in its wire form: every field optional, both layouts, no defaults.
//!
//! These types read a spec and are the source of the CustomResourceDefinition's schema. They are
//! never written back: a stored spec stays as its user typed it. Code that acts on a job uses
//! [`Job`](crate::Job).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::mxjob::MAX_REPLICAS;
use crate::policy::{CleanPodPolicy, RestartPolicy, RestartScope, SuccessPolicy};
use crate::role::JobMode;

pub(crate) use mxjob_machinery::schema::integer;

/// The member of the spec that Go clients always write, empty if the user did not set it.
pub(crate) const JOB_MODE: &str = "jobMode";

/// `spec` of an MXJob.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MXJobSpec {
    /// The job type, which decides the allowed roles. Default, also for the empty string:
    /// `MXTrain`.
    #[serde(default, deserialize_with = "enumeration")]
    pub job_mode: Option<JobMode>,
    /// The replicas by role. Role names are case-insensitive.
    #[schemars(required, with = "BTreeMap<String, ReplicaSpec>")]
    pub mx_replica_specs: Option<BTreeMap<String, Option<ReplicaSpec>>>,
    /// Seconds that the job may be active before it fails. Replaceable.
    #[serde(default, deserialize_with = "int64")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// Number of restarts before the job fails. Default: no limit.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub backoff_limit: Option<i32>,
    /// Which pods to delete when the job has finished. Default `Running`. Replaceable.
    #[serde(default, deserialize_with = "clean_pod_policy")]
    pub clean_pod_policy: Option<CleanPodPolicy>,
    /// Seconds after which the finished job is deleted. Default: kept. Replaceable.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Whether the job is suspended. Default `false`. Replaceable.
    pub suspend: Option<bool>,
    /// How the replicas are scheduled together.
    pub scheduling_policy: Option<SchedulingPolicy>,
    /// When the job counts as succeeded. The empty string is the default rule.
    pub success_policy: Option<SuccessPolicy>,
    /// Which replicas a restart includes. Default `Job` with a scheduler, else `Replica`.
    pub restart_scope: Option<RestartScope>,
    /// Alternative location of six fields; a field set in both places must be equal.
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
    /// Number of replicas that must fit at the same time for the job to start. Default: all.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub min_available: Option<i32>,
    /// The queue in which the job waits.
    pub queue: Option<String>,
    /// Minimum resources of the job, by resource name.
    #[schemars(with = "Option<BTreeMap<String, crate::schema::Quantity>>")]
    pub min_resources: Option<BTreeMap<String, Value>>,
    /// The priority class of the job as a whole.
    pub priority_class: Option<String>,
    /// How long the scheduler tries to start the job before it gives up.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0))]
    pub schedule_timeout_seconds: Option<i32>,
}

/// One role of the job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSpec {
    /// Number of pods. Default 1. All roles together have at most 10000.
    #[serde(default, deserialize_with = "int32")]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub replicas: Option<i32>,
    /// What to do when a replica's container exits. Default `Never`; overrides the template's.
    #[serde(default, deserialize_with = "enumeration")]
    pub restart_policy: Option<RestartPolicy>,
    /// The pod of a replica.
    #[schemars(required, with = "crate::schema::PodTemplate")]
    pub template: Option<Value>,
    /// The tuner key in `MX_CONFIG`.
    pub label: Option<String>,
}

/// An enumeration value; the empty string counts as absent. Go clients write an empty `jobMode`,
/// and older operators stored empty values of the others.
fn enumeration<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    let value = value.filter(|value| !value.is_null() && value != "");
    value.map(T::deserialize).transpose().map_err(D::Error::custom)
}

/// The same for a field whose empty value had a meaning: it was neither `None` nor `Running`, so
/// older operators deleted all pods.
fn clean_pod_policy<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CleanPodPolicy>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    if value.as_ref().is_some_and(|value| value == "") {
        return Ok(Some(CleanPodPolicy::All));
    }
    enumeration(value.unwrap_or(Value::Null)).map_err(D::Error::custom)
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
