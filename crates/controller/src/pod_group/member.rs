//! The two kinds of `PodGroup`, and how a pod is marked as a member of its job's group.

use mxjob_api::{Job, Role, labels};
use serde_json::{Value, json};

use crate::scheduling::PodGroups;

/// Volcano's name as a scheduler.
const VOLCANO_SCHEDULER: &str = "volcano";
/// The annotation by which Volcano knows the members of a group.
const GROUP_ANNOTATION: &str = "scheduling.k8s.io/group-name";
/// The annotation by which Volcano distinguishes the roles of a group.
const TASK_ANNOTATION: &str = "volcano.sh/task-spec";
/// The label by which scheduler-plugins knows the members of a group.
const GROUP_LABEL: &str = "scheduling.x-k8s.io/pod-group";

/// One of the two API objects called `PodGroup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Volcano,
    SchedulerPlugins,
}

// === impl Kind ===

impl Kind {
    pub(crate) fn of(scheduler: &PodGroups) -> Self {
        match scheduler {
            PodGroups::Volcano => Self::Volcano,
            PodGroups::SchedulerPlugins { .. } => Self::SchedulerPlugins,
        }
    }

    /// The API group.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::Volcano => "scheduling.volcano.sh",
            Self::SchedulerPlugins => "scheduling.x-k8s.io",
        }
    }

    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Volcano => "v1beta1",
            Self::SchedulerPlugins => "v1alpha1",
        }
    }

    /// Name of the product to install, for messages.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::Volcano => "Volcano",
            Self::SchedulerPlugins => "scheduler-plugins",
        }
    }

    /// The fields of the spec that follow from the job. The controller leaves others alone.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Volcano => &["minMember", "minResources", "priorityClassName", "queue"],
            Self::SchedulerPlugins => &["minMember", "minResources", "scheduleTimeoutSeconds"],
        }
    }
}

/// Marks a pod as a member of its job's group.
pub(crate) fn mark(scheduler: &PodGroups, job: &Job, role: Role, pod: &mut Value) {
    let name = match scheduler {
        PodGroups::Volcano => {
            put(pod, "annotations", GROUP_ANNOTATION, &job.name);
            put(pod, "annotations", TASK_ANNOTATION, role.lower());
            VOLCANO_SCHEDULER
        }
        PodGroups::SchedulerPlugins { scheduler } => {
            put(pod, "labels", GROUP_LABEL, &job.name);
            scheduler
        }
    };
    if scheduler_name(pod).is_none()
        && let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.insert("schedulerName".to_owned(), name.into());
    }
}

/// Whether a pod with this metadata is marked as a member of its job's group.
pub(crate) fn is_marked(kind: Kind, metadata: &Value) -> bool {
    let entry = |field: &str, key: &str| metadata.get(field)?.get(key)?.as_str();
    let group = match kind {
        Kind::Volcano => entry("annotations", GROUP_ANNOTATION),
        Kind::SchedulerPlugins => entry("labels", GROUP_LABEL),
    };
    // Volcano gives single pods a group of their own.
    group.is_some() && group == entry("labels", labels::JOB_NAME)
}

/// Whether a template sets a different `schedulerName`. It is honoured, and the group has no
/// effect.
pub(crate) fn names_another_scheduler(scheduler: &PodGroups, job: &Job) -> bool {
    let ours = match scheduler {
        PodGroups::Volcano => VOLCANO_SCHEDULER,
        PodGroups::SchedulerPlugins { scheduler } => scheduler,
    };
    job.replicas
        .iter()
        .any(|replica| scheduler_name(&replica.template).is_some_and(|name| name != ours))
}

fn scheduler_name(pod: &Value) -> Option<&str> {
    pod.pointer("/spec/schedulerName").and_then(Value::as_str).filter(|name| !name.is_empty())
}

fn put(pod: &mut Value, field: &str, key: &str, value: &str) {
    let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let entries = metadata.entry(field).or_insert_with(|| json!({}));
    if !entries.is_object() {
        *entries = json!({});
    }
    if let Some(entries) = entries.as_object_mut() {
        entries.insert(key.to_owned(), value.into());
    }
}
