//! What a candidate for the lease does next. No I/O and no clock: time is what the caller says it is, and only differences count.
//!
//! The rules, which together see to it that of two candidates at most one believes to lead:
//!
//! * A lease of another counts from when *we* saw it change, by our own clock that nobody sets. The times in it are never compared with
//!   anything: clocks of machines differ.
//! * We lead from the moment at which a write was *sent* that the API server then took. It was taken later, and others saw it later
//!   still, so their wait ends after our term.
//! * A write without an answer proves nothing; before the next one the lease is read again.
//! * Each write names the version that it changes, so that of two the server takes one.
//! * A lease that vanished is as good as held by its last holder until that one's time is over.
//!
//! What is left is that clocks may run at different speeds: who leads gives up at [`Timing::renew`] and may write until
//! [`Timing::lease`], which leaves a third of the time by default.

use std::time::Duration;

use super::record::Record;

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait for a leader that says nothing. Whole seconds, as the API has them.
    pub lease: Duration,
    /// After how long without a renewal the leader gives up.
    pub renew: Duration,
    /// How often the leader renews, and the others look.
    pub retry: Duration,
}

/// Why a timing cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimingError {
    /// The API has no fractions of a second.
    #[error("the lease duration must be whole seconds, and at least one")]
    Fraction,
    /// The API counts them in 32 bits.
    #[error("the lease duration must be at most {} seconds, as much as a Lease can say", i32::MAX)]
    TooLong,
    /// Others would take over before the leader has given up.
    #[error("the renew deadline must be shorter than the lease duration")]
    RenewTooLong,
    /// The leader would give up before it has tried twice.
    #[error("the retry period must be at most half of the renew deadline, and not zero")]
    RetryTooLong,
}

/// What a candidate wants the lease to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Who holds it; nobody if empty.
    pub(super) holder: String,
    /// For how long.
    pub(super) seconds: u64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing until then.
    Wait(Duration),
    /// Read the lease.
    Read,
    /// Make the lease, or change it if it still is what it was.
    Write {
        /// What it was; `None` if there was none.
        before: Option<Box<Record>>,
        /// What it is to be.
        claim: Claim,
    },
}

/// What came of a step.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// The lease as it is now, read or written.
    Is(Record),
    /// There is none.
    Missing,
    /// It is not what it was, or there is one already: nothing was written.
    Conflict,
    /// No answer, or none that says whether anything was done.
    Lost,
}

/// What a candidate that goes does with the lease.
#[derive(Debug, PartialEq)]
pub(super) enum Parting {
    /// It is ours, and this makes it free.
    Free(Box<Record>, Claim),
    /// It may be ours: what is left of it must be read first.
    Read,
    /// It is another's or nobody's.
    Nothing,
}

/// A candidate for the lease.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    timing: Timing,
    /// The lease, and since when we have seen it so.
    seen: Option<(Record, Duration)>,
    /// Whether `seen` is what the server has, as far as we know.
    is_current: bool,
    /// Whether a write of ours was sent and nobody knows what came of it.
    may_be_written: bool,
    /// When the last write was sent that proved that we lead.
    proved: Option<Duration>,
    turn: Turn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Rest(Duration),
    Read,
    Write,
}

// === impl Timing ===

impl Default for Timing {
    /// What Kubernetes' own components have.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renew: seconds(10), retry: seconds(2) }
    }
}

impl Timing {
    /// Checks it.
    ///
    /// # Errors
    /// Where two could lead at once, or nobody for long.
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
            seen: None,
            is_current: false,
            may_be_written: false,
            proved: None,
            turn: Turn::Read,
        }
    }

    /// Who holds the lease, as far as we know; nobody if empty.
    pub(super) fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |(record, _)| record.holder.as_str())
    }

    /// Whether we lead.
    pub(super) fn leads(&self, now: Duration) -> bool {
        self.proved.is_some_and(|proved| now < proved + self.timing.renew)
    }

    /// Until when we give up if nothing is proved anew.
    pub(super) fn gives_up_at(&self) -> Option<Duration> {
        self.proved.map(|proved| proved + self.timing.renew)
    }

    /// Until when no other can have taken the lease.
    pub(super) fn may_write_until(&self) -> Option<Duration> {
        self.proved.map(|proved| proved + self.timing.lease)
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Duration) -> Step {
        if !self.leads(now) {
            self.proved = None;
        }
        match self.turn {
            Turn::Rest(until) if now < until => {
                // A leader wakes up to give up, too.
                return Step::Wait(self.gives_up_at().map_or(until, |end| until.min(end)));
            }
            // The leader knows what it wrote.
            Turn::Rest(_) if self.proved.is_some() && self.is_current => self.turn = Turn::Write,
            Turn::Rest(_) => self.turn = Turn::Read,
            Turn::Read | Turn::Write => {}
        }
        if self.turn == Turn::Read {
            return Step::Read;
        }
        let before = self.seen.as_ref().filter(|_| self.is_current);
        Step::Write {
            before: before.map(|(record, _)| Box::new(record.clone())),
            claim: Claim { holder: self.identity.clone(), seconds: self.timing.lease.as_secs() },
        }
    }

    /// Takes in what came of the last step, which began at `sent`.
    pub(super) fn answered(&mut self, sent: Duration, now: Duration, answer: Answer) {
        let was_write = self.turn == Turn::Write;
        match answer {
            Answer::Is(record) if was_write => {
                self.see(record, now);
                self.proved = Some(sent);
                self.turn = Turn::Rest(sent + self.timing.retry);
            }
            Answer::Is(record) => {
                self.see(record, now);
                self.decide(now);
            }
            Answer::Missing if !was_write => {
                // What was seen last is kept: its holder may not know yet.
                self.is_current = false;
                self.may_be_written = false;
                self.decide(now);
            }
            // Somebody was faster, or our own write of which we heard nothing. Another may lead by now, so it is read at once.
            Answer::Conflict if was_write => {
                self.is_current = false;
                self.turn = Turn::Read;
            }
            Answer::Missing if was_write && self.is_current => {
                self.is_current = false;
                self.turn = Turn::Read;
            }
            // No answer, or one that makes no sense: not in a hurry.
            Answer::Conflict | Answer::Missing | Answer::Lost => {
                self.is_current = false;
                self.may_be_written |= was_write;
                self.turn = Turn::Rest(now + self.timing.retry);
            }
        }
    }

    /// What to do to let go of the lease. After this we do not lead.
    pub(super) fn part(&mut self) -> Parting {
        self.proved = None;
        match &self.seen {
            Some((record, _)) if self.is_current => self.parting(record.clone()),
            Some((record, _)) if record.holder == self.identity => Parting::Read,
            _ if self.may_be_written => Parting::Read,
            _ => Parting::Nothing,
        }
    }

    /// What to do with a lease that was read to let go of it.
    pub(super) fn parting(&self, record: Record) -> Parting {
        if record.holder != self.identity {
            return Parting::Nothing;
        }
        // A second is the shortest that the API takes. With no holder nobody waits even for that.
        let claim = Claim { holder: String::new(), seconds: 1 };
        Parting::Free(Box::new(record), claim)
    }

    fn see(&mut self, record: Record, now: Duration) {
        self.is_current = true;
        self.may_be_written = false;
        match &mut self.seen {
            Some((seen, _)) if seen.version == record.version => {}
            seen => *seen = Some((record, now)),
        }
    }

    /// Whether to claim the lease, after it was read.
    fn decide(&mut self, now: Duration) {
        let free_at = self.free_at();
        if now >= free_at {
            self.turn = Turn::Write;
            return;
        }
        // It is another's, whatever we thought.
        self.proved = None;
        self.turn = Turn::Rest(free_at.min(now + self.timing.retry));
    }

    /// From when on the lease may be claimed.
    fn free_at(&self) -> Duration {
        match &self.seen {
            Some((record, at)) if !record.holder.is_empty() && record.holder != self.identity => {
                *at + record.seconds.map_or(self.timing.lease, Duration::from_secs)
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
