//! Pod groups: how a cluster's scheduler is told that the pods of a job start together or not at all.
//!
//! Pure: what the object is to be like ([`wanted`]), what to do about the one that is there and what its scheduler's word means for the job
//! ([`decide`]), and how pods are marked as members ([`mark`]). Two kinds of schedulers have such an object, and their rules differ:
//!
//! * **Volcano** looks at the group first. Until it has let the group into its queue (a phase other than none and `Pending`) a job makes no
//!   pods: two jobs whose pods wait beside each other would hold the quota that the other one needs.
//! * **scheduler-plugins** holds the pods themselves back, so they are made at once.
//!
//! A job that has started stays started whatever becomes of its group, as everywhere. The group's name is the job's. It goes when the job
//! is finished or held back and is made anew when the job is resumed.

mod minimum;
mod view;

pub(crate) use view::View;

use crate::admission::{Admission, DEFAULT_QUEUE, WaitKind, Waiting};
use crate::executor::PodGroups;
use crate::memory::Memory;
use crate::patch;
use crate::plan::Target;
use crate::rights;
use crate::view::{Phase, PodView};
use mxjob_api::{ConditionType, Job, ReplicaSpec, Role, labels, mxjob, pods};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Volcano's name as a scheduler.
const VOLCANO_SCHEDULER: &str = "volcano";
/// The annotation by which Volcano knows the members of a group.
const GROUP_ANNOTATION: &str = "scheduling.k8s.io/group-name";
/// The annotation by which Volcano tells the roles of a group apart.
const TASK_ANNOTATION: &str = "volcano.sh/task-spec";
/// The label by which scheduler-plugins knows the members of a group.
const GROUP_LABEL: &str = "scheduling.x-k8s.io/pod-group";

/// Which of the two objects called `PodGroup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Volcano,
    SchedulerPlugins,
}

/// What to do about the group of a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Keep,
    /// Make this one.
    Create(Value),
    /// Change it by this merge patch.
    Change {
        /// Its name.
        name: String,
        /// The patch.
        patch: Value,
    },
    /// Remove it.
    Remove(Target),
}

/// The job that a group is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) job: &'a Job,
    /// `metadata.annotations` of the job.
    pub(crate) annotations: &'a Map<String, Value>,
    pub(crate) memory: &'a Memory,
    /// Whether it has pods that are not leaving.
    pub(crate) has_pods: bool,
    /// Whether some of its pods live that are no members of its group ([`has_outsiders`]).
    pub(crate) has_outsiders: bool,
}

// === impl Kind ===

impl Kind {
    pub(crate) fn of(scheduler: &PodGroups) -> Self {
        match scheduler {
            PodGroups::Volcano => Self::Volcano,
            PodGroups::SchedulerPlugins { .. } => Self::SchedulerPlugins,
        }
    }

    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::Volcano => rights::VOLCANO,
            Self::SchedulerPlugins => rights::SCHEDULER_PLUGINS,
        }
    }

    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Volcano => "v1beta1",
            Self::SchedulerPlugins => "v1alpha1",
        }
    }

    /// What is to be installed for it, as messages have it.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::Volcano => "Volcano",
            Self::SchedulerPlugins => "scheduler-plugins",
        }
    }

    /// The fields of the spec that follow from the job. Others are somebody else's.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Volcano => &["minMember", "minResources", "priorityClassName", "queue"],
            Self::SchedulerPlugins => &["minMember", "minResources", "scheduleTimeoutSeconds"],
        }
    }
}

// === The object ===

/// The group to post for a job of which so many replicas have to start together.
pub(crate) fn wanted(kind: Kind, subject: Subject<'_>, members: u32) -> Value {
    let job = subject.job;
    // kubectl's own note would make it take the group for something it has applied.
    let annotations: Map<String, Value> = subject
        .annotations
        .iter()
        .filter(|(key, _)| *key != "kubectl.kubernetes.io/last-applied-configuration")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut metadata = json!({
        "name": job.name,
        "namespace": job.namespace,
        "labels": group_labels(job),
        "ownerReferences": [pods::owner_reference(job)],
    });
    if !annotations.is_empty() {
        metadata["annotations"] = annotations.into();
    }
    json!({
        "apiVersion": format!("{}/{}", kind.group(), kind.version()),
        "kind": "PodGroup",
        "metadata": metadata,
        "spec": spec(kind, subject, members),
    })
}

/// The labels of a group: those of the pods, without what makes a replica of one.
pub(crate) fn group_labels(job: &Job) -> Value {
    json!({
        labels::OPERATOR_NAME: labels::OPERATOR,
        labels::JOB_NAME: job.name,
        labels::GROUP_NAME: mxjob::GROUP,
        labels::MXNET_JOB_NAME: job.name,
    })
}

fn spec(kind: Kind, subject: Subject<'_>, members: u32) -> Map<String, Value> {
    let Subject { job, memory, .. } = subject;
    let scheduling = &job.scheduling;
    let mut spec = Map::new();
    spec.insert("minMember".to_owned(), members.into());
    let resources = match (&scheduling.min_resources, kind) {
        // What is given is for the whole gang.
        (Some(given), Kind::SchedulerPlugins) if members >= least(job) => {
            given.clone().into_iter().collect()
        }
        (Some(given), Kind::Volcano) => given.clone().into_iter().collect(),
        (_, Kind::SchedulerPlugins) => {
            minimum::resources(job, members, |replica| left_of(memory, replica))
        }
        (None, Kind::Volcano) => minimum::resources(job, members, |replica| replica.count),
    };
    if !resources.is_empty() {
        spec.insert("minResources".to_owned(), resources.into());
    }
    match kind {
        Kind::Volcano => {
            let queue = scheduling.queue.as_deref().filter(|queue| !queue.is_empty());
            spec.insert("queue".to_owned(), queue.unwrap_or(DEFAULT_QUEUE).into());
            if let Some(class) = scheduling.priority_class.as_deref().filter(|it| !it.is_empty()) {
                spec.insert("priorityClassName".to_owned(), class.into());
            }
        }
        Kind::SchedulerPlugins => {
            if let Some(seconds) = scheduling.schedule_timeout_seconds {
                spec.insert("scheduleTimeoutSeconds".to_owned(), seconds.into());
            }
        }
    }
    spec
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

/// Whether pods of the job live that are not marked as members: they were made before there was such a scheduler. As long as one of them
/// lives the job goes on without a group, and so do pods that are made anew.
pub(crate) fn has_outsiders(kind: Kind, pods: &[Arc<PodView>]) -> bool {
    pods.iter().any(|pod| {
        let is_member = match kind {
            Kind::Volcano => pod.is_marked_for_volcano,
            Kind::SchedulerPlugins => pod.is_marked_for_plugins,
        };
        !is_member && !pod.leaving && !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
    })
}

/// Whether a pod with this metadata is marked as a member of its job's group.
pub(crate) fn is_marked(kind: Kind, metadata: &Value) -> bool {
    let entry = |field: &str, key: &str| metadata.get(field)?.get(key)?.as_str();
    let group = match kind {
        Kind::Volcano => entry("annotations", GROUP_ANNOTATION),
        Kind::SchedulerPlugins => entry("labels", GROUP_LABEL),
    };
    // Volcano gives lone pods a group of their own.
    group.is_some() && group == entry("labels", labels::JOB_NAME)
}

/// Whether a template names another scheduler than the one that is told of the group. It is obeyed, and the group is of no use then.
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

// === The decision ===

/// What to do about a job's group, and what it says of the job.
pub(crate) fn decide(kind: Kind, subject: Subject<'_>, group: Option<&View>) -> (Step, Admission) {
    let job = subject.job;
    let step = if job.deletion_timestamp.is_some() {
        // The garbage collector takes it.
        Step::Keep
    } else if needs_no_group(job) {
        group.and_then(View::removable).map_or(Step::Keep, Step::Remove)
    } else if let (true, Some(group)) = (job.status.is_true(&ConditionType::Suspended), group) {
        // Its removal at the suspension did not succeed. The scheduler has let that one in, and the job has to queue anew.
        group.removable().map_or(Step::Keep, Step::Remove)
    } else if subject.has_outsiders {
        // A scheduler would wait for members that are there already, and never become any.
        Step::Keep
    } else {
        match group {
            None => Step::Create(wanted(kind, subject, least(job).min(left(subject)).max(1))),
            Some(group) if group.leaving => Step::Keep,
            Some(group) => change(kind, subject, group),
        }
    };
    (step, admission(kind, subject, group))
}

/// The patch that makes a group what it is to be, if it is not.
fn change(kind: Kind, subject: Subject<'_>, group: &View) -> Step {
    let Subject { job, .. } = subject;
    let needed = least(job).min(left(subject)).max(1);
    let members = match kind {
        // It counts the pods that have ended, too: replicas that succeed do not make the group smaller. One that was made for what was left
        // is right as well.
        Kind::Volcano => group.members().clamp(needed, least(job).max(1)),
        // It counts those that have not ended: a pod that is made anew would wait for those that never come back.
        Kind::SchedulerPlugins => needed,
    };
    let mut next = spec(kind, subject, members);
    let mut before = Map::new();
    for field in kind.fields() {
        let Some(value) = group.spec.get(*field) else { continue };
        before.insert((*field).to_owned(), value.clone());
        let is_kept = match *field {
            // It may have been moved to another one, which is for whoever did that to say.
            "queue" => value.as_str().is_some_and(|queue| !queue.is_empty()),
            "minResources" => next.get(*field).is_some_and(|next| minimum::are_equal(value, next)),
            _ => false,
        };
        if is_kept {
            next.insert((*field).to_owned(), value.clone());
        }
    }
    match patch::change(Some(&before.into()), Some(&next.into())) {
        None => Step::Keep,
        Some(spec) => Step::Change {
            name: group.name.clone(),
            // Another object of that name is not meant.
            patch: json!({ "metadata": { "uid": group.uid }, "spec": spec }),
        },
    }
}

/// Whether no pods of the job are to be placed. A job that is too large is about to be refused.
fn needs_no_group(job: &Job) -> bool {
    job.status.is_finished() || job.suspend || job.is_too_large()
}

/// How many replicas must start together.
fn least(job: &Job) -> u32 {
    job.scheduling.min_available
}

/// How many replicas have not succeeded.
fn left(subject: Subject<'_>) -> u32 {
    let left = subject.job.replicas.iter().map(|replica| left_of(subject.memory, replica));
    left.fold(0, u32::saturating_add)
}

fn left_of(memory: &Memory, replica: &ReplicaSpec) -> u32 {
    replica.count.saturating_sub(memory.completed_count(replica.role))
}

fn admission(kind: Kind, subject: Subject<'_>, group: Option<&View>) -> Admission {
    let Subject { job, has_pods, .. } = subject;
    if needs_no_group(job) {
        return Admission::Admitted;
    }
    let has_started =
        job.status.start_time.is_some() && !job.status.is_true(&ConditionType::Suspended);
    let wait = |message: String| Waiting { kind: WaitKind::Line, message: steady(job, message) };
    if !has_started && !has_pods {
        if group.is_some_and(|group| group.leaving) {
            return Admission::Waiting(wait("waits for its last PodGroup to go".to_owned()));
        }
        if kind == Kind::Volcano && !group.is_some_and(View::is_let_in) {
            let queue = group.and_then(|group| group.spec.get("queue")?.as_str());
            let queue = queue.or(job.scheduling.queue.as_deref()).filter(|it| !it.is_empty());
            let mut message = format!(
                "waits for Volcano to let it into queue {}",
                queue.unwrap_or(DEFAULT_QUEUE)
            );
            if let Some(trouble) = group.and_then(|group| group.trouble.as_deref()) {
                message = format!("{message}: {trouble}");
            }
            return Admission::Waiting(wait(message));
        }
    }
    match group.and_then(|group| group.trouble.as_deref()) {
        Some(trouble) => {
            Admission::Placing(wait(format!("waits for its pods to be scheduled: {trouble}")))
        }
        None => Admission::Admitted,
    }
}

/// The message that the job has already, if the new one differs from it in numbers alone: a scheduler counts anew with every
/// look, and that is not worth a write to every job that waits.
fn steady(job: &Job, message: String) -> String {
    let without_numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let created = job.status.condition(&ConditionType::Created);
    let start = format!("MXJob {name} is created. MXJob {name} ", name = job.name);
    let before = created
        .and_then(|created| created.message.strip_prefix(&start))
        .and_then(|before| before.strip_suffix('.'));
    match before {
        Some(before) if without_numbers(before) == without_numbers(&message) => before.to_owned(),
        _ => message,
    }
}

#[cfg(test)]
mod tests;
