//! The limits of a job: how long it may be active and how often it may restart.

use super::message::Failure;
use super::restart::Account;
use jiff::{SignedDuration, Timestamp};
use mxjob_api::{ConditionType, Job};

/// The limit that the job is over, if it is over one.
pub(super) fn exceeded<'a>(
    job: &Job,
    account: &Account<'a>,
    now: Timestamp,
) -> Option<Failure<'a>> {
    if let Some(limit) = job.backoff_limit.and_then(|limit| u32::try_from(limit).ok())
        && account.has_news_to_count()
        && account.total() > limit
    {
        return Some(Failure::Backoff { limit, culprits: account.culprits.clone() });
    }
    if let (Some(seconds), Some(deadline)) = (job.active_deadline_seconds, deadline(job))
        && now >= deadline
    {
        return Some(Failure::Deadline { seconds });
    }
    None
}

/// When the job will have been active for too long. From the written start time, so the timer survives the controller,
/// and a resume, which writes a new one, does not count the time of suspension.
pub(super) fn deadline(job: &Job) -> Option<Timestamp> {
    let seconds = job.active_deadline_seconds?;
    if job.status.is_true(&ConditionType::Suspended) {
        return None; // it is about to resume, and the clock with it
    }
    after(job.status.start_time?, seconds)
}

/// A time that many seconds later; `None` where that is beyond all time, so never comes.
pub(super) fn after(time: Timestamp, seconds: i64) -> Option<Timestamp> {
    time.checked_add(SignedDuration::from_secs(seconds)).ok()
}
