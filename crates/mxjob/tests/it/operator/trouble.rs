//! What goes wrong between the operator and its API server: by rule, or at random from a seed.

use super::random::Random;
use super::record::Request;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered with this code, and the server never hears of it.
    Refuse(u16),
    /// The connection is cut before the server hears of it.
    Cut,
    /// The server does it, and the connection is cut before the answer.
    LoseAnswer,
    /// It takes so many milliseconds longer.
    Delay(u64),
}

/// How often things go wrong, in a thousand, and how slow they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// Writes that are refused with 409, 429, 500 or 503.
    pub(crate) refused_writes: u64,
    /// Reads and new watches that are refused with 429, 500 or 503.
    pub(crate) refused_reads: u64,
    /// Requests whose connection is cut before the server hears of them.
    pub(crate) cuts: u64,
    /// Writes that are done and whose answer is lost.
    pub(crate) lost_answers: u64,
    /// Watches that are told that their version is too old.
    pub(crate) expired: u64,
    /// Watches that break after an event, some in the middle of it.
    pub(crate) broken_watches: u64,
    /// The longest way of a request, in milliseconds.
    pub(crate) latency: u64,
}

/// What happens to the next requests of a description.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The beginning of the request as [`Request::text`] has it, such as
    /// `create pods digits-worker-0` or `watch pods`.
    pub(crate) request: String,
    /// What happens.
    pub(crate) fault: Fault,
    /// To how many more of them.
    pub(crate) times: usize,
}

/// Everything that is to go wrong.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) trouble: Trouble,
    pub(crate) rules: Vec<Rule>,
    random: Random,
}

/// What a broken watch does after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    No,
    /// After the event.
    After,
    /// In the middle of it.
    Within,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        Self { trouble: Trouble::default(), rules: Vec::new(), random: Random::new(seed) }
    }

    /// What happens to a request. Leases are left alone by chance: who leads is another question
    /// than what leading leads to.
    pub(crate) fn faults(&mut self, request: &Request) -> Vec<Fault> {
        let text = request.text();
        if let Some(rule) =
            self.rules.iter_mut().find(|rule| rule.times > 0 && text.starts_with(&rule.request))
        {
            rule.times -= 1;
            return vec![rule.fault];
        }
        if request.resource == "leases" {
            return Vec::new();
        }
        let (trouble, random) = (self.trouble, &mut self.random);
        let mut faults = vec![Fault::Delay(random.between(0, trouble.latency))];
        if request.verb == "watch" && random.chance(trouble.expired) {
            faults.push(Fault::Refuse(410));
        } else if request.is_write() && random.chance(trouble.refused_writes) {
            faults.push(Fault::Refuse(random.pick(&[409, 429, 500, 503])));
        } else if !request.is_write() && random.chance(trouble.refused_reads) {
            faults.push(Fault::Refuse(random.pick(&[429, 500, 503])));
        } else if random.chance(trouble.cuts) {
            faults.push(Fault::Cut);
        } else if request.is_write() && random.chance(trouble.lost_answers) {
            faults.push(Fault::LoseAnswer);
        }
        faults
    }

    /// What happens to a watch after one of its events.
    pub(crate) fn break_watch(&mut self) -> Break {
        if !self.random.chance(self.trouble.broken_watches) {
            return Break::No;
        }
        self.random.pick(&[Break::After, Break::Within])
    }
}
