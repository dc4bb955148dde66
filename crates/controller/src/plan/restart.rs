//! Restarts: which failures are new, how they count, and how long replacements wait.
//!
//! Every restart is counted exactly once, even if the controller crashes: the count and the uid of
//! the pod that it belongs to are written in one status update, and only then is the pod deleted. A
//! pod whose uid is in the memory is not counted again; a uid is removed when no pod has it any
//! more.
//!
//! Under `restartScope: Job` a failure starts a new *attempt*: the number increases with the count,
//! pods of an older attempt are deleted, and new ones are created when all of those are gone.
//! ps-lite cannot put a replica back into a rendezvous either if somebody deleted its pod, so that
//! has the same effect. Replicas that had succeeded run again in the new attempt: a rendezvous
//! needs all of its members.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mxjob_api::{ConditionType, RestartScope, Role};
use mxjob_machinery::backoff;

use super::Snapshot;
use super::observe::{Observed, Replica, ReplicaState, Verdict};
use crate::memory::{Delay, Memory, WHOLE_JOB};
use crate::view::{Phase, PodView};

/// The longest wait between two restarts.
const MAX_DELAY: SignedDuration = SignedDuration::from_mins(5);
/// A run this long before a failure resets the delay.
const RESET_AFTER_RUN: SignedDuration = SignedDuration::from_mins(10);

/// Containers that their node restarted, by role. They count whatever happens to the job.
pub(super) type InPlace = BTreeMap<Role, u32>;

/// The restarts of a job until now.
pub(super) struct RestartUpdate<'a> {
    /// The memory, including the new restarts.
    pub(super) memory: Memory,
    /// New restarts by role: not in the status yet.
    pub(super) added: BTreeMap<Role, u32>,
    /// The part of them that was in place.
    pub(super) in_place: InPlace,
    /// Replicas whose failure is new and that are replaced; the first to fail is in front.
    pub(super) culprits: Vec<&'a Replica<'a>>,
    /// Replicas whose node is about to restart a container in place.
    pub(super) crashing: Vec<&'a Replica<'a>>,
    /// Restarts in the status already.
    counted: u32,
}

impl RestartUpdate<'_> {
    /// Whether replicas are replaced that no status has reported.
    pub(super) fn has_replacements(&self) -> bool {
        !self.culprits.is_empty()
    }

    /// Whether there are restarts, in place or not, that no status has counted.
    pub(super) fn has_uncounted(&self) -> bool {
        !self.added.is_empty()
    }

    /// All restarts, the new ones included.
    pub(super) fn total(&self) -> u32 {
        self.added.values().fold(self.counted, |total, added| total.saturating_add(*added))
    }

    /// All restarts with those that nodes are about to make in place.
    pub(super) fn total_with_next(&self) -> u32 {
        self.total().saturating_add(u32::try_from(self.crashing.len()).unwrap_or(u32::MAX))
    }
}

pub(super) fn new_restarts<'a>(
    snapshot: &'a Snapshot,
    observed: &'a Observed<'a>,
    now: Timestamp,
) -> RestartUpdate<'a> {
    let status = &snapshot.job.status;
    let counted =
        status.replicas.values().fold(0_u32, |total, role| total.saturating_add(role.restarts));
    let mut update = RestartUpdate {
        memory: observed.memory.clone(),
        added: BTreeMap::new(),
        in_place: InPlace::new(),
        culprits: Vec::new(),
        crashing: Vec::new(),
        counted,
    };
    match snapshot.job.restart_scope {
        RestartScope::Replica => replica_by_replica(&mut update, observed, now),
        RestartScope::Job => all_together(&mut update, snapshot, observed, now),
    }
    update
}

fn replica_by_replica<'a>(
    update: &mut RestartUpdate<'a>,
    observed: &'a Observed<'a>,
    now: Timestamp,
) {
    for replica in &observed.replicas {
        let Some(pod) = replica.pod else { continue };
        let restarts = &mut update.memory.restarts;
        let is_replaced = replica.state == ReplicaState::Failed(Verdict::Replaceable)
            && restarts.replaced.insert(pod.uid.clone());
        let seen = restarts.counted.get(&pod.uid).copied().unwrap_or(0);
        let added = pod.restarts.saturating_sub(seen);
        if added > 0 {
            restarts.counted.insert(pod.uid.clone(), pod.restarts);
            let total = update.in_place.entry(replica.role).or_default();
            *total = total.saturating_add(added);
        }
        let added = added.saturating_add(u32::from(is_replaced));
        if added > 0 {
            let total = update.added.entry(replica.role).or_default();
            *total = total.saturating_add(added);
        }
        if is_replaced {
            let ran = pod.exit.as_ref().and_then(|exit| exit.started_at).or(pod.started_at);
            delay(
                &mut update.memory,
                &replica.short_name(),
                ran,
                pod.finished_at().unwrap_or(now),
                now,
            );
            update.culprits.push(replica);
        }
        if pod.crash.is_some() && is_active(replica) {
            update.crashing.push(replica);
        }
    }
    first_failed_first(&mut update.culprits);
}

fn is_active(replica: &Replica<'_>) -> bool {
    matches!(replica.state, ReplicaState::Running | ReplicaState::Pending)
}

fn all_together<'a>(
    update: &mut RestartUpdate<'a>,
    snapshot: &'a Snapshot,
    observed: &'a Observed<'a>,
    now: Timestamp,
) {
    let running = snapshot.job.status.condition(&ConditionType::Running);
    let was_running = snapshot.job.status.is_true(&ConditionType::Running);
    let attempt = update.memory.restarts.attempt;
    update.culprits = observed
        .replicas
        .iter()
        .filter(|replica| match replica.state {
            ReplicaState::Failed(Verdict::Replaceable) => true,
            ReplicaState::Missing => was_running,
            ReplicaState::Terminating => was_running || has_joined(replica, attempt),
            ReplicaState::Failed(Verdict::Final)
            | ReplicaState::Outdated
            | ReplicaState::Pending
            | ReplicaState::Running
            | ReplicaState::Succeeded => false,
        })
        .collect();
    first_failed_first(&mut update.culprits);
    let Some(first) = update.culprits.first() else { return };
    update.added.insert(first.role, 1);
    update.memory.completed.clear();
    update.memory.restarts.attempt = update.memory.restarts.attempt.saturating_add(1);
    let since = running.filter(|_| was_running).and_then(|running| running.last_transition_time);
    delay(&mut update.memory, WHOLE_JOB, since, now, now);
}

/// Whether a terminating replica has joined the rendezvous of this attempt: its place is not given
/// to another one, so the others would wait forever.
fn has_joined(replica: &Replica<'_>, attempt: u32) -> bool {
    replica.pod.is_some_and(|pod| {
        pod.attempt == attempt && (pod.phase != Phase::Pending || pod.exit.is_some())
    })
}

/// Delays the next replacement: 1 s, then twice as long each time.
fn delay(
    memory: &mut Memory,
    name: &str,
    started: Option<Timestamp>,
    ended: Timestamp,
    now: Timestamp,
) {
    let ran_long = started.is_some_and(|started| ended.duration_since(started) >= RESET_AFTER_RUN);
    let streak = memory.restarts.delays.get(name).map_or(0, |delay| delay.streak);
    let streak = if ran_long { 1 } else { streak.saturating_add(1) };
    // Rounded up: the stored time has whole seconds and the delay is a minimum.
    let second = now.as_second().saturating_add(i64::from(now.subsec_nanosecond() > 0));
    let until =
        Timestamp::from_second(second.saturating_add(wait(streak).as_secs())).unwrap_or(now);
    memory.restarts.delays.insert(name.to_owned(), Delay { streak, until });
}

/// The delay before the restart of that number in a row.
fn wait(streak: u32) -> SignedDuration {
    let (first, longest) = (Duration::from_secs(1), MAX_DELAY.unsigned_abs());
    let wait = backoff::exponential(first, longest, streak.saturating_sub(1));
    SignedDuration::try_from(wait).unwrap_or(MAX_DELAY)
}

/// Orders failures by time. Times have whole seconds. Among equals a replica that ended by itself
/// comes before one that was ended by a signal (which others may have sent), and then the canonical
/// order decides.
pub(super) fn first_failed_first(replicas: &mut [&Replica<'_>]) {
    replicas.sort_by_key(|replica| {
        let crash = |pod: &'_ PodView| pod.crash.as_ref().and_then(|(_, exit)| exit.finished_at);
        let ended = replica.pod.and_then(|pod| pod.finished_at().or_else(|| crash(pod)));
        let by_signal =
            replica.pod.and_then(PodView::training_exit).is_none_or(|exit| exit.signal().is_some());
        (ended.unwrap_or(Timestamp::MAX), by_signal, replica.role, replica.index)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_five_minutes() {
        let waits: Vec<i64> =
            [1, 2, 3, 8, 9, 10, 33, 64, u32::MAX].map(|streak| wait(streak).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 128, 256, 300, 300, 300, 300]);
    }
}
