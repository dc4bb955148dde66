//! Simulates candidates whose messages are lost, late and out of order, whose processes pause, and
//! whose clocks differ.
//!
//! The simulation has true time in milliseconds; each candidate has its own clock, with another
//! start and another speed.

use std::collections::BinaryHeap;

use mxjob_testkit::Random;
use proptest::prelude::*;

use super::*;

const CANDIDATES: usize = 3;
const END: u64 = 240_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    /// A candidate takes its next step.
    Turn,
    /// Its request, with this number, reaches the server.
    Arrives(u64),
    /// The answer reaches the candidate.
    Answered(u64),
    /// The candidate stops waiting for the answer.
    TimesOut(u64),
    /// The candidate stops: it releases the lease and starts again with another name.
    Restarts,
}

struct Clock {
    offset: u64,
    /// Thousandths faster or slower than true time.
    drift: i64,
}

impl Clock {
    fn show(&self, now: u64) -> Duration {
        let now = i64::try_from(now + self.offset).unwrap();
        Duration::from_micros(u64::try_from(now * (1000 + self.drift)).unwrap())
    }

    /// The true time at which the clock shows this.
    fn when(&self, shown: Duration) -> u64 {
        let shown = i64::try_from(shown.as_micros()).unwrap();
        let now = (shown + 999 + self.drift) / (1000 + self.drift);
        u64::try_from(now).unwrap().saturating_sub(self.offset)
    }
}

struct Process {
    candidate: Candidate,
    clock: Clock,
    /// The request in flight, and when it was sent.
    waits: Option<(u64, Duration)>,
    /// Paused until this time.
    frozen: u64,
    lives: u32,
}

struct World {
    random: Random,
    failures: Failures,
    now: u64,
    events: BinaryHeap<std::cmp::Reverse<(u64, u64, usize, Happens)>>,
    number: u64,
    processes: Vec<Process>,
    /// Version and holder.
    lease: Option<(u64, String)>,
    version: u64,
    requests: std::collections::BTreeMap<u64, (usize, Step)>,
    answers: std::collections::BTreeMap<u64, Answer>,
    terms: u32,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// One in so many messages is lost; 0 for none.
    lost: u64,
    /// The longest delay of a late message, in milliseconds.
    late: u64,
    /// The longest pause of a process, in milliseconds; 0 for never.
    frozen: u64,
    restarts: bool,
    /// Thousandths by which clocks are too fast or too slow.
    drift: i64,
}

impl World {
    fn new(seed: u64, failures: Failures) -> Self {
        let mut random = Random::new(seed);
        let processes = (0..CANDIDATES)
            .map(|place| Process {
                candidate: Candidate::new(format!("{place}-0"), TIMING),
                clock: Clock {
                    offset: random.between(0, 999_999_999),
                    drift: if place % 2 == 0 { failures.drift } else { -failures.drift },
                },
                waits: None,
                frozen: 0,
                lives: 0,
            })
            .collect();
        let mut world = Self {
            random,
            failures,
            now: 0,
            events: BinaryHeap::new(),
            number: 0,
            processes,
            lease: None,
            version: 0,
            requests: std::collections::BTreeMap::new(),
            answers: std::collections::BTreeMap::new(),
            terms: 0,
        };
        for place in 0..CANDIDATES {
            let after = world.random.between(0, 4_999);
            world.at(after, place, Happens::Turn);
        }
        world
    }

    fn at(&mut self, time: u64, place: usize, what: Happens) {
        self.number += 1;
        self.events.push(std::cmp::Reverse((time, self.number, place, what)));
    }

    /// When a message sent now arrives; `None` if it is lost.
    fn delivery(&mut self) -> Option<u64> {
        let failures = self.failures;
        if failures.lost > 0 && self.random.between(1, failures.lost) == 1 {
            return None;
        }
        let takes = if failures.late > 0 && self.random.between(1, 6) == 1 {
            self.random.between(0, failures.late - 1)
        } else {
            self.random.between(1, 20)
        };
        Some(self.now + takes)
    }

    fn run(mut self, check: impl Fn(&Self)) -> u32 {
        while let Some(std::cmp::Reverse((time, _, place, what))) = self.events.pop() {
            if time > END {
                break;
            }
            self.now = time;
            let frozen = self.processes[place].frozen;
            if frozen > time && !matches!(what, Happens::Arrives(_)) {
                self.at(frozen, place, what);
                continue;
            }
            self.happen(place, what);
            check(&self);
        }
        self.terms
    }

    fn happen(&mut self, place: usize, what: Happens) {
        match what {
            Happens::Turn => self.turn(place),
            Happens::Arrives(request) => self.arrives(request),
            Happens::Answered(request) => {
                if let Some(answer) = self.answers.remove(&request) {
                    self.answered(place, request, answer);
                }
            }
            Happens::TimesOut(request) => self.answered(place, request, Answer::Lost),
            Happens::Restarts => {
                // A candidate that would have to read first crashes instead.
                let release = self.processes[place].candidate.begin_release();
                if let Release::Write(record, claim) = release {
                    self.send(place, Step::Write { before: Some(record), claim });
                }
                let process = &mut self.processes[place];
                process.lives += 1;
                process.waits = None;
                process.candidate = Candidate::new(format!("{place}-{}", process.lives), TIMING);
                self.at(self.now + 100, place, Happens::Turn);
            }
        }
    }

    fn turn(&mut self, place: usize) {
        if self.processes[place].waits.is_some() {
            return;
        }
        if self.failures.frozen > 0 && self.random.between(1, 40) == 1 {
            let until = self.now + self.random.between(0, self.failures.frozen - 1);
            self.processes[place].frozen = until;
            self.at(until, place, Happens::Turn);
            return;
        }
        if self.failures.restarts && self.random.between(1, 60) == 1 {
            self.at(self.now, place, Happens::Restarts);
            return;
        }
        let process = &mut self.processes[place];
        let shown = process.clock.show(self.now);
        match process.candidate.next(shown) {
            Step::Wait(until) => {
                let time = process.clock.when(until).max(self.now + 1);
                self.at(time, place, Happens::Turn);
            }
            step => {
                let request = self.send(place, step);
                self.processes[place].waits = Some((request, shown));
                self.at(self.now + 5_000, place, Happens::TimesOut(request));
            }
        }
    }

    fn send(&mut self, place: usize, step: Step) -> u64 {
        self.number += 1;
        let request = self.number;
        self.requests.insert(request, (place, step));
        if let Some(time) = self.delivery() {
            self.at(time, place, Happens::Arrives(request));
        }
        request
    }

    fn arrives(&mut self, request: u64) {
        let Some((place, step)) = self.requests.remove(&request) else { return };
        let current = self.lease.as_ref().map(|(version, _)| version.to_string());
        let answer = match step {
            Step::Wait(_) => return,
            Step::Read => None,
            Step::Write { before, .. }
                if before.as_ref().map(|before| &before.version) != current.as_ref() =>
            {
                Some(Answer::Conflict)
            }
            Step::Write { claim, .. } => {
                self.version += 1;
                self.lease = Some((self.version, claim.holder));
                None
            }
        };
        let answer = answer.unwrap_or_else(|| match &self.lease {
            Some((version, holder)) => lease(*version, holder),
            None => Answer::Missing,
        });
        self.answers.insert(request, answer);
        if let Some(time) = self.delivery() {
            self.at(time, place, Happens::Answered(request));
        }
    }

    fn answered(&mut self, place: usize, request: u64, answer: Answer) {
        let process = &mut self.processes[place];
        let Some((_, sent)) = process.waits.take_if(|(waits, _)| *waits == request) else { return };
        let now = process.clock.show(self.now);
        let led = process.candidate.leads(now);
        process.candidate.answered(sent, now, answer);
        if process.candidate.leads(now) && !led {
            self.terms += 1;
        }
        self.at(self.now, place, Happens::Turn);
    }

    /// The candidates that believe that they lead.
    fn leaders(&self) -> Vec<usize> {
        let leads = |process: &Process| process.candidate.leads(process.clock.show(self.now));
        (0..CANDIDATES).filter(|place| leads(&self.processes[*place])).collect()
    }

    /// The candidates whose fence is open.
    fn writers(&self) -> Vec<usize> {
        let writes = |process: &Process| {
            let until = process.candidate.may_write_until();
            until.is_some_and(|until| process.clock.show(self.now) < until)
        };
        (0..CANDIDATES).filter(|place| writes(&self.processes[*place])).collect()
    }
}

const NO_FAILURES: Failures = Failures { lost: 0, late: 0, frozen: 0, restarts: false, drift: 0 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn never_do_two_lead_or_have_an_open_fence(
        seed: u64, lost in 2_u64..40, late in 1_u64..40_000, frozen in 0_u64..60_000,
    ) {
        let failures = Failures { lost, late, frozen, restarts: true, drift: 0 };
        World::new(seed, failures).run(|world| {
            assert!(world.leaders().len() <= 1, "{:?} lead at {}", world.leaders(), world.now);
            assert!(world.writers().len() <= 1, "{:?} write at {}", world.writers(), world.now);
        });
    }

    #[test]
    fn never_do_two_lead_with_clocks_a_sixth_too_fast_and_too_slow(seed: u64, late in 1_u64..40_000) {
        let failures = Failures { lost: 10, late, frozen: 30_000, restarts: true, drift: 166 };
        World::new(seed, failures).run(|world| {
            assert!(world.leaders().len() <= 1, "{:?} lead at {}", world.leaders(), world.now);
        });
    }

    #[test]
    fn without_failures_one_leads_from_the_start_and_stays(seed: u64) {
        let terms = World::new(seed, NO_FAILURES).run(|world| {
            assert!(world.now < 6_000 || world.leaders().len() == 1, "no candidate leads at {}", world.now);
        });
        assert_eq!(terms, 1);
    }

    #[test]
    fn with_failures_there_are_several_terms(seed: u64) {
        let failures = Failures { lost: 20, late: 8_000, frozen: 40_000, restarts: true, drift: 0 };
        let terms = World::new(seed, failures).run(|_| {});
        assert!(terms >= 2, "only {terms} terms in four minutes");
    }
}
