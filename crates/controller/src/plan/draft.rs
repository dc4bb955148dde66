//! A plan under construction: the next status and the actions, and how they become a [`Plan`].

use std::collections::BTreeSet;

use jiff::Timestamp;
use mxjob_api::{ConditionType, Job, JobStatus, ReplicaStatus};

use super::message;
use super::observe::{Observed, Replica, ReplicaState};
use super::{NextStatus, Plan, ReplicaId, Snapshot};
use crate::event::{Event, EventKind};
use crate::memory::Memory;
use crate::scheduling::{SchedulingState, WaitKind, Waiting};
use crate::target::Target;
use crate::view::Phase;

pub(super) struct Draft<'a> {
    pub(super) job: &'a Job,
    /// The time of the plan in whole seconds, as it is written and compared.
    pub(super) now: Timestamp,
    /// The exact time, to which delays are compared.
    pub(super) moment: Timestamp,
    pub(super) status: JobStatus,
    pub(super) memory: Memory,
    pub(super) plan: Plan,
    before: NextStatus,
    /// The pods that the plan deletes or stops.
    ended_pods: BTreeSet<String>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, memory: &Memory, now: Timestamp) -> Self {
        let job = &snapshot.job;
        let mut draft = Self {
            job,
            now: Timestamp::from_second(now.as_second()).unwrap_or(now),
            moment: now,
            status: job.status.clone(),
            memory: memory.clone(),
            plan: Plan::default(),
            before: NextStatus { status: job.status.clone(), memory: snapshot.memory.clone() },
            ended_pods: BTreeSet::new(),
        };
        // A job that has progressed no longer waits for objects that could not be created at first.
        let is_waiting =
            job.status.conditions.last().is_none_or(|newest| newest.kind == ConditionType::Created);
        let problems = if is_waiting { snapshot.problems.as_slice() } else { &[] };
        let is_new = job.status.condition(&ConditionType::Created).is_none();
        let waiting = snapshot.scheduling.pending().filter(|waiting| match snapshot.scheduling {
            // An obstacle also prevents suspension.
            SchedulingState::Waiting(_) if waiting.kind == WaitKind::Obstructed => {
                !job.suspend || !job.status.is_true(&ConditionType::Suspended)
            }
            SchedulingState::Placing(_) => is_waiting && !job.suspend,
            SchedulingState::MayStart | SchedulingState::Waiting(_) => !job.suspend,
        });
        let message = waiting.map_or_else(
            || message::created(job, problems),
            |waiting| message::waiting(job, waiting, problems),
        );
        let reason = waiting.map_or("MXJobCreated", |waiting| waiting.kind.reason());
        draft.set(ConditionType::Created, true, reason, &message);
        draft.plan.events.extend(waiting.and_then(|waiting| draft.waiting_event(waiting)));
        if is_new {
            draft.plan.events.extend(message::overwritten_policy(job));
        }
        draft
    }

    /// The event that a job waits, if it did not wait before, or for another reason.
    fn waiting_event(&self, waiting: &Waiting) -> Option<Event> {
        let reason = waiting.kind.reason();
        let created = self.before.status.condition(&ConditionType::Created);
        let message = message::waits(self.job, waiting);
        let is_reported = created.is_some_and(|created| {
            // Each obstacle is a different one to fix; other reasons to wait change their wording
            // over time.
            let is_same =
                waiting.kind != WaitKind::Obstructed || created.message.ends_with(&message);
            created.reason == reason && is_same
        });
        let is_new_reason = !self.before.status.is_finished() && !is_reported;
        is_new_reason.then(|| Event {
            kind: waiting.kind.event(),
            reason: reason.to_owned(),
            message,
        })
    }

    /// Sets a condition. Returns whether that changed anything.
    pub(super) fn set(
        &mut self,
        kind: ConditionType,
        holds: bool,
        reason: &str,
        message: &str,
    ) -> bool {
        self.status.set_condition(kind, holds.into(), reason, message, self.now)
    }

    /// Sets a condition, and if that changed anything, adds an event of the same reason and
    /// message.
    pub(super) fn transition(
        &mut self,
        kind: ConditionType,
        holds: bool,
        event: EventKind,
        reason: &str,
        message: String,
    ) {
        if self.set(kind, holds, reason, &message) {
            self.plan.events.push(Event { kind: event, reason: reason.to_owned(), message });
        }
    }

    pub(super) fn delete_pod(&mut self, target: Option<Target>) {
        if let Some(target) = target {
            self.ended_pods.insert(target.name.clone());
            self.plan.delete_pods.push(target);
        }
    }

    /// Stops a pod that its node would start again, and keeps it.
    pub(super) fn stop_pod(&mut self, replica: &Replica<'_>) {
        let Some(pod) = replica.pod else { return };
        if pod.crash.is_none() || matches!(pod.phase, Phase::Succeeded | Phase::Failed) {
            return;
        }
        self.ended_pods.insert(pod.name.clone());
        if !pod.stopping {
            self.plan.stop_pods.extend(replica.removable_pod());
        }
    }

    pub(super) fn delete_service(&mut self, target: Option<Target>) {
        self.plan.delete_services.extend(target);
    }

    pub(super) fn create_pod(&mut self, replica: &Replica<'_>) {
        self.plan.create_pods.push(ReplicaId { role: replica.role, index: replica.index });
    }

    pub(super) fn create_service(&mut self, replica: &Replica<'_>) {
        self.plan.create_services.push(ReplicaId { role: replica.role, index: replica.index });
    }

    /// Plans again at that time, or earlier.
    pub(super) fn wake(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |other| other.min(at)));
        }
    }

    /// Updates the counts and completes the plan.
    pub(super) fn finish(mut self, observed: &Observed<'_>) -> Plan {
        self.count(observed);
        self.close()
    }

    /// Completes the plan without counting: for when no pods can be seen.
    pub(super) fn close(mut self) -> Plan {
        self.plan.attempt = self.memory.restarts.attempt;
        let last_reconcile_time = self.status.last_reconcile_time;
        let mut next = NextStatus { status: self.status, memory: self.memory };
        if next.status != self.before.status {
            next.status.last_reconcile_time = Some(self.now).max(last_reconcile_time);
        }
        // The time is not updated if only the memory changes: a server that does not know its keys
        // (an old CustomResourceDefinition) drops them, and the time alone would trigger another
        // reconcile and write, forever.
        if next != self.before {
            self.plan.status = Some(next);
        }
        self.plan
    }

    /// Counts replicas as they will be once the plan is carried out: those about to be deleted are
    /// no longer active. After the end of the job counts only grow, except for active replicas.
    fn count(&mut self, observed: &Observed<'_>) {
        let is_finished = self.status.is_finished();
        for spec in &self.job.replicas {
            let is_deleted = |replica: &Replica<'_>| {
                replica.pod.is_some_and(|pod| pod.stopping || self.ended_pods.contains(&pod.name))
            };
            let mut counts = ReplicaStatus::default();
            for replica in observed.of(spec.role) {
                match replica.state {
                    ReplicaState::Running if !is_deleted(replica) => counts.active += 1,
                    ReplicaState::Failed(_) if is_finished || !is_deleted(replica) => {
                        counts.failed += 1
                    }
                    ReplicaState::Missing
                    | ReplicaState::Terminating
                    | ReplicaState::Outdated
                    | ReplicaState::Pending
                    | ReplicaState::Running
                    | ReplicaState::Succeeded
                    | ReplicaState::Failed(_) => {}
                }
            }
            counts.succeeded = self.memory.completed_count(spec.role);
            if is_finished
                && counts == ReplicaStatus::default()
                && !self.status.replicas.contains_key(&spec.role)
            {
                // It ended before anything was counted.
                continue;
            }
            let written = self.status.replicas.entry(spec.role).or_default();
            counts.restarts = written.restarts;
            if is_finished {
                counts.succeeded = counts.succeeded.max(written.succeeded);
                counts.failed = counts.failed.max(written.failed);
            }
            *written = counts;
        }
    }
}
