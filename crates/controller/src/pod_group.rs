//! Pod groups: how a cluster's scheduler learns that the pods of a job start together or not at
//! all.
//!
//! Pure: the desired object ([`desired`]), what to do about the existing one and what its status
//! means for the job ([`decide`]), and how pods are marked as members ([`member`]). Two kinds of
//! schedulers have such an object, and their rules differ:
//!
//! * **Volcano** looks at the group first. Until it has admitted the group to its queue (a phase
//!   other than empty and `Pending`) a job creates no pods: two jobs whose pods wait side by side
//!   would hold the quota that the other one needs.
//! * **scheduler-plugins** holds the pods themselves back, so they are created immediately.
//!
//! A job that has started stays started, whatever happens to its group. The group has the name of
//! the job. It is deleted when the job is finished or suspended, and created again when the job is
//! resumed.

pub(crate) mod member;
mod minimum;
mod view;

use std::sync::Arc;

use mxjob_api::{ConditionType, Job, ReplicaSpec, labels, mxjob, pods};
use serde_json::{Map, Value, json};

use crate::memory::Memory;
use crate::patch;
use crate::scheduling::queue::DEFAULT_QUEUE;
use crate::scheduling::{SchedulingState, WaitKind, Waiting};
use crate::target::Target;
use crate::view::{Phase, PodView};
use member::Kind;

pub(crate) use view::PodGroupView;

/// What to do about the group of a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupAction {
    Keep,
    /// Create this object.
    Create(Value),
    /// Change it by this merge patch.
    Change {
        name: String,
        patch: Value,
    },
    Remove(Target),
}

/// The job of a group, and what of its state matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupContext<'a> {
    pub(crate) job: &'a Job,
    /// `metadata.annotations` of the job.
    pub(crate) annotations: &'a Map<String, Value>,
    pub(crate) memory: &'a Memory,
    /// Whether it has pods that are not terminating.
    pub(crate) has_pods: bool,
    /// Whether it has active pods that are no members of its group ([`has_unmarked_pods`]).
    pub(crate) has_unmarked_pods: bool,
}

// === The object ===

/// The group to create for a job of which that many replicas must start together.
pub(crate) fn desired(kind: Kind, context: GroupContext<'_>, members: u32) -> Value {
    let job = context.job;
    // With this annotation kubectl would treat the group as an object that it applied.
    let annotations: Map<String, Value> = context
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
        "spec": spec(kind, context, members),
    })
}

/// The labels of a group: those of the pods, without the labels of a replica.
pub(crate) fn group_labels(job: &Job) -> Value {
    json!({
        labels::OPERATOR_NAME: labels::OPERATOR,
        labels::JOB_NAME: job.name,
        labels::GROUP_NAME: mxjob::GROUP,
        labels::MXNET_JOB_NAME: job.name,
    })
}

fn spec(kind: Kind, context: GroupContext<'_>, members: u32) -> Map<String, Value> {
    let GroupContext { job, memory, .. } = context;
    let scheduling = &job.scheduling;
    let mut spec = Map::new();
    spec.insert("minMember".to_owned(), members.into());
    let resources = match (&scheduling.min_resources, kind) {
        // `minResources` of the job is for the whole gang.
        (Some(given), Kind::SchedulerPlugins) if members >= min_available(job) => {
            given.clone().into_iter().collect()
        }
        (Some(given), Kind::Volcano) => given.clone().into_iter().collect(),
        (_, Kind::SchedulerPlugins) => {
            minimum::resources(job, members, |replica| remaining_of(memory, replica))
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

/// Whether the job has active pods that are not marked as members: they were created before there
/// was such a scheduler. As long as one of them is active the job continues without a group, and so
/// do replaced pods.
pub(crate) fn has_unmarked_pods(kind: Kind, pods: &[Arc<PodView>]) -> bool {
    pods.iter().any(|pod| {
        let is_member = match kind {
            Kind::Volcano => pod.is_marked_for_volcano,
            Kind::SchedulerPlugins => pod.is_marked_for_plugins,
        };
        !is_member && !pod.terminating && !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
    })
}

// === The decision ===

/// What to do about a job's group, and what the group says of the job.
pub(crate) fn decide(
    kind: Kind,
    context: GroupContext<'_>,
    group: Option<&PodGroupView>,
) -> (GroupAction, SchedulingState) {
    let job = context.job;
    let step = if job.deletion_timestamp.is_some() {
        // The garbage collector deletes it.
        GroupAction::Keep
    } else if needs_no_group(job) {
        group.and_then(PodGroupView::removable).map_or(GroupAction::Keep, GroupAction::Remove)
    } else if let (true, Some(group)) = (job.status.is_true(&ConditionType::Suspended), group) {
        // Its deletion at the suspension failed. The scheduler has admitted that group, and the job
        // has to queue again.
        group.removable().map_or(GroupAction::Keep, GroupAction::Remove)
    } else if context.has_unmarked_pods {
        // A scheduler would wait for members among existing pods, which never become members.
        GroupAction::Keep
    } else {
        match group {
            None => GroupAction::Create(desired(
                kind,
                context,
                min_available(job).min(remaining(context)).max(1),
            )),
            Some(group) if group.terminating => GroupAction::Keep,
            Some(group) => change(kind, context, group),
        }
    };
    (step, scheduling_state(kind, context, group))
}

/// The patch that turns a group into the desired one, if it differs.
fn change(kind: Kind, context: GroupContext<'_>, group: &PodGroupView) -> GroupAction {
    let GroupContext { job, .. } = context;
    let needed = min_available(job).min(remaining(context)).max(1);
    let members = match kind {
        // It counts pods that have ended, too: replicas that succeed do not make the group smaller.
        // A group that was created for the remaining replicas is also right.
        Kind::Volcano => group.members().clamp(needed, min_available(job).max(1)),
        // It counts pods that have not ended: a replaced pod would wait for pods that never come
        // back.
        Kind::SchedulerPlugins => needed,
    };
    let mut next = spec(kind, context, members);
    let mut before = Map::new();
    for field in kind.fields() {
        let Some(value) = group.spec.get(*field) else { continue };
        before.insert((*field).to_owned(), value.clone());
        let is_kept = match *field {
            // An administrator may have moved it to another queue; the controller keeps that.
            "queue" => value.as_str().is_some_and(|queue| !queue.is_empty()),
            "minResources" => next.get(*field).is_some_and(|next| minimum::are_equal(value, next)),
            _ => false,
        };
        if is_kept {
            next.insert((*field).to_owned(), value.clone());
        }
    }
    match patch::diff(Some(&before.into()), Some(&next.into())) {
        None => GroupAction::Keep,
        Some(spec) => GroupAction::Change {
            name: group.name.clone(),
            // The uid excludes another object of that name.
            patch: json!({ "metadata": { "uid": group.uid }, "spec": spec }),
        },
    }
}

/// Whether no pods of the job are to be scheduled. A job that is too large is about to be rejected.
fn needs_no_group(job: &Job) -> bool {
    job.status.is_finished() || job.suspend || job.is_too_large()
}

fn min_available(job: &Job) -> u32 {
    job.scheduling.min_available
}

fn remaining(context: GroupContext<'_>) -> u32 {
    let left = context.job.replicas.iter().map(|replica| remaining_of(context.memory, replica));
    left.fold(0, u32::saturating_add)
}

fn remaining_of(memory: &Memory, replica: &ReplicaSpec) -> u32 {
    replica.count.saturating_sub(memory.completed_count(replica.role))
}

fn scheduling_state(
    kind: Kind,
    context: GroupContext<'_>,
    group: Option<&PodGroupView>,
) -> SchedulingState {
    let GroupContext { job, has_pods, .. } = context;
    if needs_no_group(job) {
        return SchedulingState::MayStart;
    }
    let has_started =
        job.status.start_time.is_some() && !job.status.is_true(&ConditionType::Suspended);
    let wait =
        |message: String| Waiting { kind: WaitKind::Queued, message: stable_message(job, message) };
    if !has_started && !has_pods {
        if group.is_some_and(|group| group.terminating) {
            return SchedulingState::Waiting(wait(
                "waits for its previous PodGroup to be deleted".to_owned(),
            ));
        }
        if kind == Kind::Volcano && !group.is_some_and(PodGroupView::is_enqueued) {
            let queue = group.and_then(|group| group.spec.get("queue")?.as_str());
            let queue = queue.or(job.scheduling.queue.as_deref()).filter(|it| !it.is_empty());
            let mut message = format!(
                "waits for Volcano to admit it to queue {}",
                queue.unwrap_or(DEFAULT_QUEUE)
            );
            if let Some(unschedulable) = group.and_then(|group| group.unschedulable.as_deref()) {
                message = format!("{message}: {unschedulable}");
            }
            return SchedulingState::Waiting(wait(message));
        }
    }
    match group.and_then(|group| group.unschedulable.as_deref()) {
        Some(unschedulable) => SchedulingState::Placing(wait(format!(
            "waits for its pods to be scheduled: {unschedulable}"
        ))),
        None => SchedulingState::MayStart,
    }
}

/// The current message of the job, if the new one differs in numbers alone: a scheduler updates its
/// counts at every attempt, and that is not worth a write to every waiting job.
fn stable_message(job: &Job, message: String) -> String {
    let without_numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let created = job.status.condition(&ConditionType::Created);
    let start = format!("MXJob {name} is created. MXJob {name} ", name = job.name);
    let current = created
        .and_then(|created| created.message.strip_prefix(&start))
        .and_then(|current| current.strip_suffix('.'));
    match current {
        Some(current) if without_numbers(current) == without_numbers(&message) => {
            current.to_owned()
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests;
