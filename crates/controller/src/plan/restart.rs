//! Restarts: which failures are new, how they count, and how long replacements wait.
//!
//! Every restart is counted exactly once, whatever happens to the controller: the count and the uid of the pod that it
//! belongs to are written in one status update, and only then is the pod removed. A pod whose uid is in the memory is not counted again;
//! a uid is forgotten when no pod has it any more.
//!
//! Under `restartScope: Job` a failure starts a new *attempt*: the number goes up with the count, pods of an older attempt are removed, and new ones are made when
//! all of those are gone. A replica that vanishes from a rendezvous that it has joined (somebody deleted its pod) cannot be put
//! back by ps-lite either, so it has the same effect. Replicas that had succeeded run again in the new attempt: a rendezvous takes all or none.

use super::Snapshot;
use super::observe::{Observed, Replica, State, Verdict};
use crate::memory::{Delay, Memory, WHOLE_JOB};
use crate::view::Phase;
use jiff::{SignedDuration, Timestamp};
use mxjob_api::{ConditionType, RestartScope, Role};
use mxjob_machinery::backoff;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest wait between two restarts.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(5);
/// A run this long before a failure forgives the failures before it.
const LONG_RUN: SignedDuration = SignedDuration::from_mins(10);

/// Containers that their node started again, by role. They have happened, whatever becomes of the job.
pub(super) type InPlace = BTreeMap<Role, u32>;

/// The restarts of a job up to this moment.
pub(super) struct Account<'a> {
    /// The memory with the new restarts in it.
    pub(super) memory: Memory,
    /// New restarts by role: not in the status yet.
    pub(super) added: BTreeMap<Role, u32>,
    /// Those of them that were in place.
    pub(super) in_place: InPlace,
    /// Replicas whose failure is new and that are to be made again; the first to fail is in front.
    pub(super) culprits: Vec<&'a Replica<'a>>,
    /// Restarts in the status already.
    counted: u32,
}

impl Account<'_> {
    /// Whether replicas are to be made again that no status has told of.
    pub(super) fn has_news(&self) -> bool {
        !self.culprits.is_empty()
    }

    /// Whether there are restarts, in place or not, that no status has counted.
    pub(super) fn has_news_to_count(&self) -> bool {
        !self.added.is_empty()
    }

    /// All restarts, the new ones included.
    pub(super) fn total(&self) -> u32 {
        self.added.values().fold(self.counted, |total, added| total.saturating_add(*added))
    }
}

pub(super) fn account<'a>(
    snapshot: &'a Snapshot,
    observed: &'a Observed<'a>,
    now: Timestamp,
) -> Account<'a> {
    let status = &snapshot.job.status;
    let counted =
        status.replicas.values().fold(0_u32, |total, role| total.saturating_add(role.restarts));
    let mut account = Account {
        memory: observed.memory.clone(),
        added: BTreeMap::new(),
        in_place: InPlace::new(),
        culprits: Vec::new(),
        counted,
    };
    match snapshot.job.restart_scope {
        RestartScope::Replica => replica_by_replica(&mut account, observed, now),
        RestartScope::Job => all_together(&mut account, snapshot, observed, now),
    }
    account
}

fn replica_by_replica<'a>(account: &mut Account<'a>, observed: &'a Observed<'a>, now: Timestamp) {
    for replica in &observed.replicas {
        let Some(pod) = replica.pod else { continue };
        let restarts = &mut account.memory.restarts;
        let is_replaced = replica.state == State::Failed(Verdict::Replaceable)
            && restarts.replaced.insert(pod.uid.clone());
        let seen = restarts.counted.get(&pod.uid).copied().unwrap_or(0);
        let added = pod.restarts.saturating_sub(seen);
        if added > 0 {
            restarts.counted.insert(pod.uid.clone(), pod.restarts);
            let total = account.in_place.entry(replica.role).or_default();
            *total = total.saturating_add(added);
        }
        let added = added.saturating_add(u32::from(is_replaced));
        if added > 0 {
            let total = account.added.entry(replica.role).or_default();
            *total = total.saturating_add(added);
        }
        if is_replaced {
            let ran = pod.exit.as_ref().and_then(|exit| exit.started_at).or(pod.started_at);
            delay(
                &mut account.memory,
                &replica.short_name(),
                ran,
                pod.finished_at().unwrap_or(now),
                now,
            );
            account.culprits.push(replica);
        }
    }
    first_failed_first(&mut account.culprits);
}

fn all_together<'a>(
    account: &mut Account<'a>,
    snapshot: &'a Snapshot,
    observed: &'a Observed<'a>,
    now: Timestamp,
) {
    let running = snapshot.job.status.condition(&ConditionType::Running);
    let was_running = snapshot.job.status.is_true(&ConditionType::Running);
    let attempt = account.memory.restarts.attempt;
    account.culprits = observed
        .replicas
        .iter()
        .filter(|replica| match replica.state {
            State::Failed(Verdict::Replaceable) => true,
            State::Missing => was_running,
            State::Leaving => was_running || has_joined(replica, attempt),
            State::Failed(Verdict::Final)
            | State::Outdated
            | State::Pending
            | State::Running
            | State::Succeeded => false,
        })
        .collect();
    first_failed_first(&mut account.culprits);
    let Some(first) = account.culprits.first() else { return };
    account.added.insert(first.role, 1);
    account.memory.completed.clear();
    account.memory.restarts.attempt = account.memory.restarts.attempt.saturating_add(1);
    let since = running.filter(|_| was_running).and_then(|running| running.last_transition_time);
    delay(&mut account.memory, WHOLE_JOB, since, now, now);
}

/// Whether a replica that is leaving has taken part in the rendezvous of this attempt: its place is not given to another, so those that
/// are there would wait for ever.
fn has_joined(replica: &Replica<'_>, attempt: u32) -> bool {
    replica.pod.is_some_and(|pod| {
        pod.attempt == attempt && (pod.phase != Phase::Pending || pod.exit.is_some())
    })
}

/// Notes that the next replacement waits: 1 s, then twice as long each time.
fn delay(
    memory: &mut Memory,
    name: &str,
    started: Option<Timestamp>,
    ended: Timestamp,
    now: Timestamp,
) {
    let ran_long = started.is_some_and(|started| ended.duration_since(started) >= LONG_RUN);
    let streak = memory.restarts.delays.get(name).map_or(0, |delay| delay.streak);
    let streak = if ran_long { 1 } else { streak.saturating_add(1) };
    // Rounded up: what is written has whole seconds and the wait is a minimum.
    let second = now.as_second().saturating_add(i64::from(now.subsec_nanosecond() > 0));
    let until =
        Timestamp::from_second(second.saturating_add(wait(streak).as_secs())).unwrap_or(now);
    memory.restarts.delays.insert(name.to_owned(), Delay { streak, until });
}

/// The wait before the restart of that number in a row.
fn wait(streak: u32) -> SignedDuration {
    let (first, longest) = (Duration::from_secs(1), LONGEST_WAIT.unsigned_abs());
    let wait = backoff::exponential(first, longest, streak.saturating_sub(1));
    SignedDuration::try_from(wait).unwrap_or(LONGEST_WAIT)
}

/// Orders failures by time. Times have whole seconds, so among equals the one that ended by itself comes before one that was ended
/// by a signal (that is what others do to it), and then the canonical order decides.
pub(super) fn first_failed_first(replicas: &mut [&Replica<'_>]) {
    replicas.sort_by_key(|replica| {
        let ended = replica.pod.and_then(crate::view::PodView::finished_at);
        let by_signal = replica
            .pod
            .and_then(|pod| pod.exit.as_ref())
            .is_none_or(|exit| exit.signal().is_some());
        (ended.unwrap_or(Timestamp::MAX), by_signal, replica.role, replica.index)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_five_minutes() {
        let waits: Vec<i64> =
            [1, 2, 3, 8, 9, 10, 33, 64, u32::MAX].map(|streak| wait(streak).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 128, 256, 300, 300, 300, 300]);
    }
}
