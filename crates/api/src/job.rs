//! The typed view of one MXJob object, with the effective defaults.
//!
//! Read from the stored JSON and never written back: the defaults are defined here and nowhere
//! else. It assumes an admitted object. An object that bypassed admission gives an [`Error`], and
//! [`validate`](crate::validate::validate) reports the details.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::mxjob;
use crate::policy::{CleanPodPolicy, RestartPolicy, RestartScope, SuccessPolicy};
use crate::role::{JobMode, Role};
use crate::spec::{self, MXJobSpec, SchedulingPolicy};
use crate::status::JobStatus;

/// Why an object cannot be read as a job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `metadata` is not valid object metadata.
    #[error("reading metadata of the MXJob")]
    Metadata(#[source] serde_json::Error),
    /// The spec has a field of the wrong type or an unknown enum value.
    #[error("reading the spec of MXJob {name}")]
    Spec {
        /// Name of the job.
        name: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The status has a field of the wrong type.
    #[error("reading the status of MXJob {name}")]
    Status {
        /// Name of the job.
        name: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A key of `mxReplicaSpecs` is not a role.
    #[error("MXJob {name} has replicas of the unknown role {key:?}")]
    UnknownRole {
        /// Name of the job.
        name: String,
        /// The key.
        key: String,
    },
    /// Two keys of `mxReplicaSpecs` are the same role.
    #[error("MXJob {name} gives the role {role} twice")]
    RoleTwice {
        /// Name of the job.
        name: String,
        /// The role.
        role: Role,
    },
    /// A role has a negative number of replicas.
    #[error("MXJob {name} asks for {replicas} replicas of {role}")]
    NegativeReplicas {
        /// Name of the job.
        name: String,
        /// The role.
        role: Role,
        /// The number.
        replicas: i32,
    },
}

/// One MXJob with the effective defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`; empty before the object was stored.
    pub uid: String,
    /// `metadata.generation`; 0 before the object was stored.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub creation_timestamp: Option<Timestamp>,
    /// `metadata.deletionTimestamp`.
    pub deletion_timestamp: Option<Timestamp>,
    /// The job type.
    pub mode: JobMode,
    /// One entry for each role of the spec, in canonical order; roles with 0 replicas are included.
    pub replicas: Vec<ReplicaSpec>,
    /// Seconds the job may be active.
    pub active_deadline_seconds: Option<i64>,
    /// Number of allowed restarts; `None` is no limit.
    pub backoff_limit: Option<i32>,
    /// Which pods to delete when the job has finished.
    pub clean_pod_policy: CleanPodPolicy,
    /// Seconds after which the finished job is deleted; `None` keeps it.
    pub ttl_seconds_after_finished: Option<i32>,
    /// Whether the job is suspended.
    pub suspend: bool,
    /// Gang scheduling.
    pub scheduling: Scheduling,
    /// When the job has succeeded.
    pub success_policy: SuccessPolicy,
    /// Which replicas a restart includes.
    pub restart_scope: RestartScope,
    /// The status that the controller has written so far.
    pub status: JobStatus,
}

/// The replicas of one role, with the effective defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSpec {
    /// The role.
    pub role: Role,
    /// Number of pods.
    pub count: u32,
    /// What to do when a replica's container exits.
    pub restart_policy: RestartPolicy,
    /// The PodTemplateSpec as the user wrote it.
    pub template: Value,
    /// The tuner key: `label`, or the template's annotation `tuner-server-key`.
    pub label: Option<String>,
    /// The port named `mxjob-port` of the container `mxnet`, or 9091.
    pub port: u16,
}

/// Gang scheduling, with the effective defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduling {
    /// Number of replicas that must fit at the same time. Default: all.
    pub min_available: u32,
    /// The queue.
    pub queue: Option<String>,
    /// Minimum resources of the gang, by resource name, as typed.
    pub min_resources: Option<BTreeMap<String, Value>>,
    /// The priority class.
    pub priority_class: Option<String>,
    /// How long the scheduler tries to start the job.
    pub schedule_timeout_seconds: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    deletion_timestamp: Option<Timestamp>,
}

impl Job {
    /// Reads a whole object: `metadata`, `spec` and `status`.
    pub fn from_value(object: &Value) -> Result<Self, Error> {
        let metadata = Metadata::deserialize(object.get("metadata").unwrap_or(&Value::Null))
            .map_err(Error::Metadata)?;
        let name = metadata.name;
        let spec = match object.get("spec") {
            None | Some(Value::Null) => MXJobSpec::default(),
            Some(spec) => MXJobSpec::deserialize(spec)
                .map_err(|source| Error::Spec { name: name.clone(), source })?,
        };
        let status = match object.get("status") {
            None | Some(Value::Null) => JobStatus::default(),
            Some(status) => JobStatus::deserialize(status)
                .map_err(|source| Error::Status { name: name.clone(), source })?,
        };

        let replicas = replicas(&name, spec.mx_replica_specs.unwrap_or_default())?;
        let total =
            replicas.iter().fold(0_u32, |total, replica| total.saturating_add(replica.count));
        let has_scheduler =
            replicas.iter().any(|replica| replica.role == Role::Scheduler && replica.count > 0);
        // If both layouts set a field, admission has checked that the values are equal.
        let nested = spec.run_policy.unwrap_or_default();
        let scheduling = scheduling(
            nested.scheduling_policy.unwrap_or_default(),
            spec.scheduling_policy.unwrap_or_default(),
            total,
        );
        Ok(Self {
            name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            generation: metadata.generation,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            mode: spec.job_mode.unwrap_or_default(),
            replicas,
            active_deadline_seconds: nested
                .active_deadline_seconds
                .or(spec.active_deadline_seconds),
            backoff_limit: nested.backoff_limit.or(spec.backoff_limit),
            clean_pod_policy: nested.clean_pod_policy.or(spec.clean_pod_policy).unwrap_or_default(),
            ttl_seconds_after_finished: nested
                .ttl_seconds_after_finished
                .or(spec.ttl_seconds_after_finished),
            suspend: nested.suspend.or(spec.suspend).unwrap_or(false),
            scheduling,
            success_policy: spec.success_policy.unwrap_or_default(),
            restart_scope: spec.restart_scope.unwrap_or(if has_scheduler {
                RestartScope::Job
            } else {
                RestartScope::Replica
            }),
            status,
        })
    }

    /// The replicas of a role, if the spec has the role.
    pub fn replica(&self, role: Role) -> Option<&ReplicaSpec> {
        self.replicas.iter().find(|replica| replica.role == role)
    }

    /// Number of replicas of a role; 0 if the spec lacks it.
    pub fn count(&self, role: Role) -> u32 {
        self.replica(role).map_or(0, |replica| replica.count)
    }

    /// Total number of replicas.
    pub fn total(&self) -> u32 {
        self.replicas.iter().fold(0, |total, replica| total.saturating_add(replica.count))
    }

    /// Whether it has more replicas than a job may have. Do not iterate over the replicas of such a
    /// job: the number in the spec is unchecked. Use the objects that exist.
    pub fn is_too_large(&self) -> bool {
        self.total() > mxjob::MAX_REPLICAS
    }
}

fn replicas(
    job: &str,
    specs: BTreeMap<String, Option<spec::ReplicaSpec>>,
) -> Result<Vec<ReplicaSpec>, Error> {
    let mut replicas: Vec<ReplicaSpec> = Vec::with_capacity(specs.len());
    for (key, spec) in specs {
        let Some(spec) = spec else { continue };
        let Some(role) = Role::parse(&key) else {
            return Err(Error::UnknownRole { name: job.to_owned(), key });
        };
        if replicas.iter().any(|other| other.role == role) {
            return Err(Error::RoleTwice { name: job.to_owned(), role });
        }
        let replicas_wanted = spec.replicas.unwrap_or(1);
        let Ok(count) = u32::try_from(replicas_wanted) else {
            return Err(Error::NegativeReplicas {
                name: job.to_owned(),
                role,
                replicas: replicas_wanted,
            });
        };
        let template = spec.template.unwrap_or_default();
        replicas.push(ReplicaSpec {
            role,
            count,
            restart_policy: spec.restart_policy.unwrap_or_default(),
            label: spec.label.or_else(|| tuner_key(&template)),
            port: port(&template).unwrap_or(mxjob::DEFAULT_PORT),
            template,
        });
    }
    replicas.sort_by_key(|replica| replica.role);
    Ok(replicas)
}

fn scheduling(nested: SchedulingPolicy, flat: SchedulingPolicy, total: u32) -> Scheduling {
    Scheduling {
        min_available: nested
            .min_available
            .or(flat.min_available)
            .and_then(|min| u32::try_from(min).ok())
            .unwrap_or(total),
        queue: nested.queue.or(flat.queue),
        min_resources: nested.min_resources.or(flat.min_resources),
        priority_class: nested.priority_class.or(flat.priority_class),
        schedule_timeout_seconds: nested.schedule_timeout_seconds.or(flat.schedule_timeout_seconds),
    }
}

fn tuner_key(template: &Value) -> Option<String> {
    let key = template.pointer("/metadata/annotations")?.get(mxjob::TUNER_KEY_ANNOTATION)?;
    key.as_str().map(str::to_owned)
}

/// The port of the training container that is advertised by name.
pub(crate) fn port(template: &Value) -> Option<u16> {
    let containers = template.pointer("/spec/containers")?.as_array()?;
    let training = containers.iter().find(|container| is_named(container, mxjob::CONTAINER))?;
    let port =
        training.get("ports")?.as_array()?.iter().find(|port| is_named(port, mxjob::PORT_NAME))?;
    u16::try_from(spec::integer(port.get("containerPort")?)?).ok()
}

/// Whether an item of a list has this `name`.
pub(crate) fn is_named(item: &Value, name: &str) -> bool {
    item.get("name").and_then(Value::as_str) == Some(name)
}
