//! A plan in the making: the next status and the actions, and how they become a [`Plan`].

use super::message;
use super::observe::{Observed, Replica, State};
use super::{Event, EventKind, NextStatus, Plan, ReplicaId, Snapshot, Target};
use crate::admission::{Admission, WaitKind, Waiting};
use crate::memory::Memory;
use jiff::Timestamp;
use mxjob_api::{ConditionType, Job, JobStatus, ReplicaStatus};
use std::collections::BTreeSet;

pub(super) struct Draft<'a> {
    pub(super) job: &'a Job,
    /// The moment of the plan, to the second: the form in which it is written and compared.
    pub(super) now: Timestamp,
    /// The moment as it is: waits are over or not.
    pub(super) moment: Timestamp,
    pub(super) status: JobStatus,
    pub(super) memory: Memory,
    pub(super) plan: Plan,
    before: NextStatus,
    doomed: BTreeSet<String>,
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
            doomed: BTreeSet::new(),
        };
        // A job that has got on is no longer waiting for what could not be made at first.
        let is_waiting =
            job.status.conditions.last().is_none_or(|newest| newest.kind == ConditionType::Created);
        let problems = if is_waiting { snapshot.problems.as_slice() } else { &[] };
        let is_new = job.status.condition(&ConditionType::Created).is_none();
        let waiting = snapshot.admission.word().filter(|waiting| match snapshot.admission {
            // It keeps a job from being held back, too.
            Admission::Waiting(_) if waiting.kind == WaitKind::Obstructed => {
                !job.suspend || !job.status.is_true(&ConditionType::Suspended)
            }
            Admission::Placing(_) => is_waiting && !job.suspend,
            Admission::Admitted | Admission::Waiting(_) => !job.suspend,
        });
        let message = waiting.map_or_else(
            || message::created(job, problems),
            |waiting| message::waiting(job, waiting, problems),
        );
        let reason = waiting.map_or("MXJobCreated", |waiting| waiting.kind.reason());
        draft.set(ConditionType::Created, true, reason, &message);
        draft.plan.events.extend(waiting.and_then(|waiting| draft.news(waiting)));
        if is_new {
            draft.plan.events.extend(message::overwritten_policy(job));
        }
        draft
    }

    /// The event that a job waits, if it did not wait, or not for that, before.
    fn news(&self, waiting: &Waiting) -> Option<Event> {
        let reason = waiting.kind.reason();
        let created = self.before.status.condition(&ConditionType::Created);
        let message = message::waits(self.job, waiting);
        let is_told = created.is_some_and(|created| {
            // Obstacles are few and each is another one to mend; what else a job waits for changes its wording as it goes.
            let is_same =
                waiting.kind != WaitKind::Obstructed || created.message.ends_with(&message);
            created.reason == reason && is_same
        });
        let is_news = !self.before.status.is_finished() && !is_told;
        is_news.then(|| Event { kind: waiting.kind.event(), reason: reason.to_owned(), message })
    }

    /// Notes a condition; says whether that changed anything.
    pub(super) fn set(
        &mut self,
        kind: ConditionType,
        holds: bool,
        reason: &str,
        message: &str,
    ) -> bool {
        self.status.set_condition(kind, holds.into(), reason, message, self.now)
    }

    /// Notes a transition: a condition and the event of the same reason and message, if it is news.
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
            self.doomed.insert(target.name.clone());
            self.plan.delete_pods.push(target);
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

    /// Asks for another look at that time, or earlier.
    pub(super) fn wake(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |other| other.min(at)));
        }
    }

    /// Counts, compares, and closes the plan.
    pub(super) fn finish(mut self, observed: &Observed<'_>) -> Plan {
        self.count(observed);
        self.close()
    }

    /// Compares and closes the plan, without counting: for when there is nothing to be seen.
    pub(super) fn close(mut self) -> Plan {
        self.plan.attempt = self.memory.restarts.attempt;
        let last_reconcile_time = self.status.last_reconcile_time;
        let mut next = NextStatus { status: self.status, memory: self.memory };
        if next.status != self.before.status {
            next.status.last_reconcile_time = Some(self.now).max(last_reconcile_time);
        }
        // The time stays where only notes change: a server that does not know them (an old CustomResourceDefinition) drops them, and
        // the time alone would be news to look at, and to write, for ever.
        if next != self.before {
            self.plan.status = Some(next);
        }
        self.plan
    }

    /// Counts as the status will read once the plan is carried out: what is about to be removed is no longer active.
    /// After the end of the job counts only grow, save for what is still active.
    fn count(&mut self, observed: &Observed<'_>) {
        let is_finished = self.status.is_finished();
        for spec in &self.job.replicas {
            let is_doomed = |replica: &Replica<'_>| {
                replica.pod.is_some_and(|pod| self.doomed.contains(&pod.name))
            };
            let mut counts = ReplicaStatus::default();
            for replica in observed.of(spec.role) {
                match replica.state {
                    State::Running if !is_doomed(replica) => counts.active += 1,
                    State::Failed(_) if is_finished || !is_doomed(replica) => counts.failed += 1,
                    State::Missing
                    | State::Leaving
                    | State::Outdated
                    | State::Pending
                    | State::Running
                    | State::Succeeded
                    | State::Failed(_) => {}
                }
            }
            counts.succeeded = self.memory.completed_count(spec.role);
            if is_finished
                && counts == ReplicaStatus::default()
                && !self.status.replicas.contains_key(&spec.role)
            {
                // It was over before anything was counted.
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
