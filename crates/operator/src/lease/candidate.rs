//! Decides what a candidate for the lease does next. No I/O and no clock: the time is a parameter,
//! and only differences count.
//!
//! These rules ensure that at most one candidate believes that it leads:
//!
//! * Another candidate's lease expires by *our* monotonic clock, counted from when *we* saw it
//!   change. The times in the Lease are never compared with anything, because the clocks of
//!   machines differ.
//! * Our term counts from the moment at which a successful write was *sent*. The server wrote it
//!   later, and other candidates saw it later still, so they wait until after our term.
//! * A write without an answer proves nothing; the lease is read before the next write.
//! * Each write names the version that it changes, so the server accepts one of two concurrent
//!   writes.
//! * A deleted lease counts as held by its last holder until that lease would have expired.
//!
//! Clocks may run at different speeds: the leader gives up at [`Timing::renew`] and may write until
//! [`Timing::lease`], which leaves a third of the time by default.

use std::time::Duration;

use super::record::{Claim, Record};

/// Durations of the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long other candidates wait for a leader that does not renew. Whole seconds, as in the
    /// API.
    pub lease: Duration,
    /// How long the leader keeps trying to renew before giving up.
    pub renew: Duration,
    /// How often the leader renews, and the other candidates read the lease.
    pub retry: Duration,
}

/// Why a timing is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimingError {
    /// The API has no fractions of a second.
    #[error("the lease duration must be whole seconds, and at least one")]
    Fraction,
    /// The API counts them in 32 bits.
    #[error(
        "the lease duration must be at most {} seconds, the largest value of a Lease",
        i32::MAX
    )]
    TooLong,
    /// Others would take over before the leader has given up.
    #[error("the renew deadline must be shorter than the lease duration")]
    RenewTooLong,
    /// The leader would give up before it has tried twice.
    #[error("the retry period must be at most half of the renew deadline, and not zero")]
    RetryTooLong,
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Do nothing until this time.
    Wait(Duration),
    /// Read the lease.
    Read,
    /// Create the lease, or change it if it has not changed.
    Write {
        /// The lease to change; `None` to create one.
        before: Option<Box<Record>>,
        /// What to write.
        claim: Claim,
    },
}

/// The result of a step.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// The current lease, read or written.
    Is(Record),
    /// There is no lease.
    Missing,
    /// It has changed, or already exists: nothing was written.
    Conflict,
    /// No answer, or one that leaves open whether anything was written.
    Lost,
}

/// What a candidate that stops does with the lease.
#[derive(Debug, PartialEq)]
pub(super) enum Release {
    /// It is ours; this write releases it.
    Write(Box<Record>, Claim),
    /// It may be ours: the lease must be read first.
    ReadFirst,
    /// Another candidate holds it, or nobody does.
    NotNeeded,
}

/// A candidate for the lease.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    timing: Timing,
    /// The last lease that was read or written, and when it was first seen in this version.
    observed: Option<(Record, Duration)>,
    /// Whether `observed` is the server's current version, as far as is known.
    is_current: bool,
    /// Whether a write was sent whose result is unknown.
    has_unconfirmed_write: bool,
    /// When the last successful write was sent.
    renewed_at: Option<Duration>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Wait(Duration),
    Read,
    Write,
}

// === impl Timing ===

impl Default for Timing {
    /// As Kubernetes' own components.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renew: seconds(10), retry: seconds(2) }
    }
}

impl Timing {
    /// Checks that the durations fit together.
    ///
    /// # Errors
    /// Where two candidates could lead at the same time, or none for long.
    pub fn check(&self) -> Result<(), TimingError> {
        if self.lease.is_zero() || self.lease.subsec_nanos() != 0 {
            return Err(TimingError::Fraction);
        }
        if i32::try_from(self.lease.as_secs()).is_err() {
            return Err(TimingError::TooLong);
        }
        if self.renew >= self.lease {
            return Err(TimingError::RenewTooLong);
        }
        if self.retry.is_zero() || self.retry.saturating_mul(2) > self.renew {
            return Err(TimingError::RetryTooLong);
        }
        Ok(())
    }
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            observed: None,
            is_current: false,
            has_unconfirmed_write: false,
            renewed_at: None,
            phase: Phase::Read,
        }
    }

    /// The last known holder; empty if there is none.
    pub(super) fn holder(&self) -> &str {
        self.observed.as_ref().map_or("", |(record, _)| record.holder.as_str())
    }

    /// Whether this candidate leads.
    pub(super) fn leads(&self, now: Duration) -> bool {
        self.renewed_at.is_some_and(|renewed_at| now < renewed_at + self.timing.renew)
    }

    /// When this candidate stops leading unless it renews.
    pub(super) fn gives_up_at(&self) -> Option<Duration> {
        self.renewed_at.map(|renewed_at| renewed_at + self.timing.renew)
    }

    /// Until when no other candidate can have taken the lease.
    pub(super) fn may_write_until(&self) -> Option<Duration> {
        self.renewed_at.map(|renewed_at| renewed_at + self.timing.lease)
    }

    /// The next step at this time.
    pub(super) fn next(&mut self, now: Duration) -> Step {
        if !self.leads(now) {
            self.renewed_at = None;
        }
        match self.phase {
            Phase::Wait(until) if now < until => {
                // A leader also wakes up to give up.
                return Step::Wait(self.gives_up_at().map_or(until, |end| until.min(end)));
            }
            // The leader knows the version that it wrote.
            Phase::Wait(_) if self.renewed_at.is_some() && self.is_current => {
                self.phase = Phase::Write
            }
            Phase::Wait(_) => self.phase = Phase::Read,
            Phase::Read | Phase::Write => {}
        }
        if self.phase == Phase::Read {
            return Step::Read;
        }
        let before = self.observed.as_ref().filter(|_| self.is_current);
        Step::Write {
            before: before.map(|(record, _)| Box::new(record.clone())),
            claim: Claim { holder: self.identity.clone(), seconds: self.timing.lease.as_secs() },
        }
    }

    /// Processes the result of the last step, whose request was sent at `sent`.
    pub(super) fn answered(&mut self, sent: Duration, now: Duration, answer: Answer) {
        let was_write = self.phase == Phase::Write;
        match answer {
            Answer::Is(record) if was_write => {
                self.observe(record, now);
                self.renewed_at = Some(sent);
                self.phase = Phase::Wait(sent + self.timing.retry);
            }
            Answer::Is(record) => {
                self.observe(record, now);
                self.decide(now);
            }
            Answer::Missing if !was_write => {
                // The last observed lease is kept: its holder may not know yet that it was deleted.
                self.is_current = false;
                self.has_unconfirmed_write = false;
                self.decide(now);
            }
            // Another candidate wrote first, or an unanswered write of ours did. Another may lead
            // by now, so read immediately.
            Answer::Conflict if was_write => {
                self.is_current = false;
                self.phase = Phase::Read;
            }
            Answer::Missing if was_write && self.is_current => {
                self.is_current = false;
                self.phase = Phase::Read;
            }
            // No answer, or an unexpected one: wait for the next retry.
            Answer::Conflict | Answer::Missing | Answer::Lost => {
                self.is_current = false;
                self.has_unconfirmed_write |= was_write;
                self.phase = Phase::Wait(now + self.timing.retry);
            }
        }
    }

    /// How to release the lease. This candidate does not lead any more.
    pub(super) fn begin_release(&mut self) -> Release {
        self.renewed_at = None;
        match &self.observed {
            Some((record, _)) if self.is_current => self.release_of(record.clone()),
            Some((record, _)) if record.holder == self.identity => Release::ReadFirst,
            _ if self.has_unconfirmed_write => Release::ReadFirst,
            _ => Release::NotNeeded,
        }
    }

    /// How to release a lease that was read for that.
    pub(super) fn release_of(&self, record: Record) -> Release {
        if record.holder != self.identity {
            return Release::NotNeeded;
        }
        // One second is the API's minimum. Without a holder no candidate waits for it.
        let claim = Claim { holder: String::new(), seconds: 1 };
        Release::Write(Box::new(record), claim)
    }

    fn observe(&mut self, record: Record, now: Duration) {
        self.is_current = true;
        self.has_unconfirmed_write = false;
        match &mut self.observed {
            Some((known, _)) if known.version == record.version => {}
            observed => *observed = Some((record, now)),
        }
    }

    /// Decides whether to claim the lease, after it was read.
    fn decide(&mut self, now: Duration) {
        let free_at = self.free_at();
        if now >= free_at {
            self.phase = Phase::Write;
            return;
        }
        // Another candidate holds it.
        self.renewed_at = None;
        self.phase = Phase::Wait(free_at.min(now + self.timing.retry));
    }

    /// When the lease may be claimed.
    fn free_at(&self) -> Duration {
        match &self.observed {
            Some((record, at)) if !record.holder.is_empty() && record.holder != self.identity => {
                *at + record.seconds.map_or(self.timing.lease, Duration::from_secs)
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
