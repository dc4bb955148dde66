//! The limits of a job: how long it may be active and how often it may restart.

use jiff::{SignedDuration, Timestamp};
use mxjob_api::{ConditionType, Job};

use super::message::Failure;
use super::restart::{self, RestartUpdate};

/// The limit that the job exceeds, if any.
pub(super) fn exceeded<'a>(
    job: &Job,
    restarts: &RestartUpdate<'a>,
    now: Timestamp,
) -> Option<Failure<'a>> {
    if let Some(limit) = job.backoff_limit.and_then(|limit| u32::try_from(limit).ok())
        && (restarts.has_uncounted() || !restarts.crashing.is_empty())
        && restarts.total_with_next() > limit
    {
        // A restart in place is prevented before it happens, while its node still waits.
        let mut culprits: Vec<_> =
            restarts.culprits.iter().chain(&restarts.crashing).copied().collect();
        restart::first_failed_first(&mut culprits);
        return Some(Failure::Backoff { limit, culprits });
    }
    if let (Some(seconds), Some(deadline)) = (job.active_deadline_seconds, deadline(job))
        && now >= deadline
    {
        return Some(Failure::Deadline { seconds });
    }
    None
}

/// When the job will have been active for too long. Computed from the stored start time, so it
/// survives a restart of the controller. A resume writes a new start time, so time in suspension
/// does not count.
pub(super) fn deadline(job: &Job) -> Option<Timestamp> {
    let seconds = job.active_deadline_seconds?;
    if job.status.is_true(&ConditionType::Suspended) {
        return None; // it is about to resume, which sets a new start time
    }
    after(job.status.start_time?, seconds)
}

/// A time that many seconds later; `None` if that cannot be represented, so never comes.
pub(super) fn after(time: Timestamp, seconds: i64) -> Option<Timestamp> {
    time.checked_add(SignedDuration::from_secs(seconds)).ok()
}
