//! The decision: which waiting jobs may start.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::free_capacity::{self, FreeCapacity};
use super::{
    BLOCK_ALL_QUEUES_AFTER, QueueDecision, QueueSnapshot, QueuedJob, SchedulingState, WaitKind,
    Waiting,
};

/// Decides about every waiting job. The result does not depend on the order of the lists.
pub fn decide(snapshot: &QueueSnapshot, now: Timestamp) -> QueueDecision {
    let total = FreeCapacity::empty(&snapshot.nodes);
    let mut free = FreeCapacity::left(&snapshot.nodes, &snapshot.allocations);
    let mut jobs: Vec<&QueuedJob> = snapshot.jobs.iter().collect();
    jobs.sort_by_key(|job| {
        let since = job.since.unwrap_or(Timestamp::MAX);
        (Reverse(job.priority), since, &job.namespace, &job.name)
    });
    let mut blocked = BlockedQueues::default();
    let mut decision = QueueDecision::default();
    for job in jobs {
        let state = if !total.has_no_nodes() && total.with(job).is_none() {
            let message = format!("can never start here: {}", total.objection(job));
            wait(WaitKind::Unschedulable, message)
        } else {
            let time_out = time_out(job);
            let is_timed_out = time_out.is_some_and(|time| time <= now);
            if let Some(time) = time_out.filter(|_| !is_timed_out) {
                // If the job starts earlier, one needless decision is cheap.
                let recheck = decision.recheck_at.map_or(time, |other| other.min(time));
                decision.recheck_at = Some(recheck);
            }
            if blocked.blocks(job) {
                wait_in_queue(job, is_timed_out, true)
            } else if let Some(rest) = free.with(job) {
                free = rest;
                SchedulingState::MayStart
            } else {
                if !is_timed_out {
                    blocked.add(job, now);
                }
                wait_in_queue(job, is_timed_out, false)
            }
        };
        decision.states.insert(job.uid.clone(), state);
    }
    decision
}

/// The queues in which a waiting job blocks those behind it.
#[derive(Default)]
struct BlockedQueues<'a> {
    queues: BTreeSet<&'a str>,
    all: bool,
}

impl<'a> BlockedQueues<'a> {
    fn add(&mut self, job: &'a QueuedJob, now: Timestamp) {
        self.queues.insert(&job.queue);
        self.all |=
            job.since.is_some_and(|since| now.duration_since(since) >= BLOCK_ALL_QUEUES_AFTER);
    }

    fn blocks(&self, job: &QueuedJob) -> bool {
        self.all || self.queues.contains(job.queue.as_str())
    }
}

fn time_out(job: &QueuedJob) -> Option<Timestamp> {
    let seconds = job.timeout_seconds?;
    job.since?.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

fn wait_in_queue(job: &QueuedJob, is_timed_out: bool, is_behind: bool) -> SchedulingState {
    if is_timed_out {
        let message = format!(
            "exceeded its schedule timeout of {} s and starts as soon as there is {}",
            job.timeout_seconds.unwrap_or(0),
            free_capacity::describe(job)
        );
        return wait(WaitKind::TimedOut, message);
    }
    let message = if is_behind {
        format!("waits for its turn in queue {}", job.queue)
    } else {
        format!("waits for {}", free_capacity::describe(job))
    };
    wait(WaitKind::Queued, message)
}

fn wait(kind: WaitKind, message: String) -> SchedulingState {
    SchedulingState::Waiting(Waiting { kind, message })
}
