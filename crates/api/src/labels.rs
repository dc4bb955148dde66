//! Labels of pods and services, and the selectors that find them.
//!
//! Two families are written: the current one, which Kueue, Katib and the Python SDK read, and the
//! one of the first operator. Selectors use the smallest stable set of the current family.

use std::collections::BTreeMap;

use crate::job::Job;
use crate::mxjob;
use crate::role::Role;

/// The operator that manages the object; its value is [`OPERATOR`].
pub const OPERATOR_NAME: &str = "training.kubeflow.org/operator-name";
/// Name of the job.
pub const JOB_NAME: &str = "training.kubeflow.org/job-name";
/// Role in lower case.
pub const REPLICA_TYPE: &str = "training.kubeflow.org/replica-type";
/// Index of the replica in its role.
pub const REPLICA_INDEX: &str = "training.kubeflow.org/replica-index";
/// Older family: the API group.
pub const GROUP_NAME: &str = "group-name";
/// Older family: name of the job.
pub const MXNET_JOB_NAME: &str = "mxnet-job-name";
/// Older family: role in lower case.
pub const MXNET_REPLICA_TYPE: &str = "mxnet-replica-type";
/// Older family: index.
pub const MXNET_REPLICA_INDEX: &str = "mxnet-replica-index";

/// Label of a job, not of pods: the Kueue queue in which it waits.
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";

/// Annotation of pods: the attempt of the job that the pod belongs to; absent in the first.
pub const ATTEMPT_ANNOTATION: &str = "kubeflow.org/attempt";

/// Value of [`OPERATOR_NAME`], and the component that events name.
pub const OPERATOR: &str = "mxjob-controller";

/// All labels of one replica's pod and service.
pub fn for_replica(job: &Job, role: Role, index: u32) -> BTreeMap<String, String> {
    let index = index.to_string();
    [
        (OPERATOR_NAME, OPERATOR),
        (JOB_NAME, &job.name),
        (REPLICA_TYPE, role.lower()),
        (REPLICA_INDEX, &index),
        (GROUP_NAME, mxjob::GROUP),
        (MXNET_JOB_NAME, &job.name),
        (MXNET_REPLICA_TYPE, role.lower()),
        (MXNET_REPLICA_INDEX, &index),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels by which a service selects its one pod.
pub fn replica_selector(job: &Job, role: Role, index: u32) -> BTreeMap<String, String> {
    [
        (JOB_NAME.to_owned(), job.name.clone()),
        (REPLICA_TYPE.to_owned(), role.lower().to_owned()),
        (REPLICA_INDEX.to_owned(), index.to_string()),
    ]
    .into()
}

/// The selector, in query form, for every pod and service of a job. Ownership is decided by UID,
/// not by this.
pub fn selector(job: &Job) -> String {
    format!("{OPERATOR_NAME}={OPERATOR},{JOB_NAME}={}", job.name)
}

/// The replica that an object with these labels is, if any.
pub fn replica_of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<(Role, u32)> {
    let role = Role::parse(label(REPLICA_TYPE)?)?;
    Some((role, label(REPLICA_INDEX)?.parse().ok()?))
}
