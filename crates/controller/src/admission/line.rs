//! The decision: who of those in line may start.

use super::room::{self, Room};
use super::{Admission, Candidate, Decision, PATIENCE, Snapshot, WaitKind, Waiting};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Decides about every job in line. The same snapshot has the same answer, in whatever order things are listed.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Decision {
    let machine = Room::empty(&snapshot.nodes);
    let mut room = Room::left(&snapshot.nodes, &snapshot.holdings);
    let mut line: Vec<&Candidate> = snapshot.candidates.iter().collect();
    line.sort_by_key(|job| {
        let since = job.since.unwrap_or(Timestamp::MAX);
        (Reverse(job.priority), since, &job.namespace, &job.name)
    });
    let mut held_up = HeldUp::default();
    let mut decision = Decision::default();
    for job in line {
        let admission = if !machine.is_nowhere() && machine.with(job).is_none() {
            let message = format!("can never start here: {}", machine.objection(job));
            wait(WaitKind::Never, message)
        } else {
            let time_out = time_out(job);
            let is_timed_out = time_out.is_some_and(|time| time <= now);
            if let Some(time) = time_out.filter(|_| !is_timed_out) {
                // If it starts before, deciding once in vain is cheap.
                let again = decision.again_at.map_or(time, |other| other.min(time));
                decision.again_at = Some(again);
            }
            if held_up.holds(job) {
                wait_in_line(job, is_timed_out, true)
            } else if let Some(rest) = room.with(job) {
                room = rest;
                Admission::Admitted
            } else {
                if !is_timed_out {
                    held_up.add(job, now);
                }
                wait_in_line(job, is_timed_out, false)
            }
        };
        decision.admissions.insert(job.uid.clone(), admission);
    }
    decision
}

/// Who has to wait behind somebody.
#[derive(Default)]
struct HeldUp<'a> {
    queues: BTreeSet<&'a str>,
    everybody: bool,
}

impl<'a> HeldUp<'a> {
    fn add(&mut self, job: &'a Candidate, now: Timestamp) {
        self.queues.insert(&job.queue);
        self.everybody |= job.since.is_some_and(|since| now.duration_since(since) >= PATIENCE);
    }

    fn holds(&self, job: &Candidate) -> bool {
        self.everybody || self.queues.contains(job.queue.as_str())
    }
}

fn time_out(job: &Candidate) -> Option<Timestamp> {
    let seconds = job.timeout_seconds?;
    job.since?.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

fn wait_in_line(job: &Candidate, is_timed_out: bool, is_behind: bool) -> Admission {
    if is_timed_out {
        let message = format!(
            "has given up its turn after its schedule timeout of {} s and starts when there is {} to spare",
            job.timeout_seconds.unwrap_or(0),
            room::describe(job)
        );
        return wait(WaitKind::TimedOut, message);
    }
    let message = if is_behind {
        format!("waits for its turn in queue {}", job.queue)
    } else {
        format!("waits for {}", room::describe(job))
    };
    wait(WaitKind::Line, message)
}

fn wait(kind: WaitKind, message: String) -> Admission {
    Admission::Waiting(Waiting { kind, message })
}
