//! Faults on a connection to an API server: by rule, or at random from a seed.

use crate::random::Random;
use crate::request::Request;

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with this status code and does not reach the server.
    Refuse(u16),
    /// The client lacks the permission for the request.
    Forbid,
    /// The connection is cut before the request reaches the server.
    Cut,
    /// The server carries the request out, and the connection is cut before its response.
    LoseResponse,
    /// The client dies, before or after the server carries the request out. The response never
    /// arrives, and [`Link::has_crashed`](crate::Link::has_crashed) is set.
    Crash {
        /// Whether the server carries the request out.
        is_done: bool,
    },
    /// The request takes this many milliseconds longer.
    Delay(u64),
}

/// The frequency of random faults, per thousand, and the maximum delays, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Writes that are refused with 409, 429, 500 or 503.
    pub refused_writes: u64,
    /// Reads and new watches that are refused with 429, 500 or 503.
    pub refused_reads: u64,
    /// Requests whose connection is cut before they reach the server.
    pub cuts: u64,
    /// Writes that are carried out and whose response is lost.
    pub lost_responses: u64,
    /// Writes during which the client dies.
    pub crashes: u64,
    /// New watches that are refused because their resource version is too old.
    pub expired: u64,
    /// Watches that end after an event, half of them in the middle of the event.
    pub broken_watches: u64,
    /// Watch events after which the previous event is delivered again.
    pub repeated_events: u64,
    /// The maximum delay of a request, in milliseconds.
    pub latency: u64,
    /// The maximum delay of a response, in milliseconds.
    pub response_latency: u64,
    /// The maximum delay of a watch event, in milliseconds.
    pub event_lag: u64,
}

/// A fault of the next requests of a description.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The beginning of [`Request::text`], such as `create pods digits-worker-0` or `watch pods`.
    pub(crate) request: String,
    pub(crate) fault: Fault,
    /// How many more requests it applies to.
    pub(crate) times: usize,
}

/// All faults of a connection.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    pub(crate) faults: Faults,
    pub(crate) rules: Vec<Rule>,
    /// Permissions that the client lacks, such as `create pods`.
    pub(crate) forbidden: Vec<String>,
    random: Random,
}

/// What happens to a watch after an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventFaults {
    pub(crate) lag: u64,
    pub(crate) is_repeated: bool,
    pub(crate) end: Option<WatchEnd>,
}

/// Where a broken watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchEnd {
    AfterEvent,
    WithinEvent,
}

// === impl FaultPlan ===

impl FaultPlan {
    pub(crate) fn new(random: Random) -> Self {
        Self { faults: Faults::default(), rules: Vec::new(), forbidden: Vec::new(), random }
    }

    /// The faults of a request. Requests of leader election have no random faults: which replica
    /// leads must not depend on them.
    pub(crate) fn of_request(&mut self, request: &Request) -> Vec<Fault> {
        if self.forbidden.contains(&request.permission()) {
            return vec![Fault::Forbid];
        }
        let text = request.text();
        let rule =
            self.rules.iter_mut().find(|rule| rule.times > 0 && text.starts_with(&rule.request));
        if let Some(rule) = rule {
            rule.times -= 1;
            return vec![rule.fault];
        }
        if request.is_lease() {
            return Vec::new();
        }
        let (faults, random) = (self.faults, &mut self.random);
        let mut found = vec![Fault::Delay(random.between(0, faults.latency))];
        let is_write = request.is_write();
        if request.verb == "watch" && random.chance(faults.expired) {
            found.push(Fault::Refuse(410));
        } else if is_write && random.chance(faults.refused_writes) {
            found.push(Fault::Refuse(random.pick(&[409, 429, 500, 503])));
        } else if !is_write && random.chance(faults.refused_reads) {
            found.push(Fault::Refuse(random.pick(&[429, 500, 503])));
        } else if random.chance(faults.cuts) {
            found.push(Fault::Cut);
        } else if is_write && random.chance(faults.crashes) {
            found.push(Fault::Crash { is_done: random.chance(500) });
        } else if is_write && random.chance(faults.lost_responses) {
            found.push(Fault::LoseResponse);
        }
        found
    }

    /// The delay of a response.
    pub(crate) fn response_delay(&mut self) -> u64 {
        self.random.between(0, self.faults.response_latency)
    }

    /// The faults of a watch event.
    pub(crate) fn of_event(&mut self) -> EventFaults {
        let (faults, random) = (self.faults, &mut self.random);
        let end = random
            .chance(faults.broken_watches)
            .then(|| random.pick(&[WatchEnd::AfterEvent, WatchEnd::WithinEvent]));
        EventFaults {
            lag: random.between(0, faults.event_lag),
            is_repeated: random.chance(faults.repeated_events),
            end,
        }
    }
}
