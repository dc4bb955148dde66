//! Flow control: how many requests are in flight, and whose turn it is. The model is upstream's API
//! Priority and Fairness.
//!
//! ```text
//! request ─▶ priority level ─▶ flow (its user) ─▶ in flight ─▶ seat ─▶ turn, if it is heavy
//!                                                 │ too many   │ 15 s
//!                                                 ▼            ▼
//!                                                429          429
//! ```
//!
//! A level has seats of its own, so that levels do not wait for each other; within a level the
//! users share them fairly. A request is in flight from its head on, before its body is read, and
//! has a seat while it is executed. Long-running requests give the seat back when their stream
//! begins, and count against a bound of their user. Requests that a component of this process makes
//! in memory, and those of `system:masters`, are exempt.
//!
//! Heavy requests are executed away from the threads that serve connections, see [`offload`].

mod level;
pub(crate) mod offload;
mod queue;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use mxjob_access::identity::{CONTROLLER, SYSTEM_MASTERS, SYSTEM_NODES};
use mxjob_access::identity::{Identity, SERVICE_ACCOUNT_PREFIX, SYSTEM_AUTHENTICATED};
use parking_lot::Mutex;

use self::level::Level;
use self::queue::Bounds;
use crate::error::ApiError;

pub(crate) use self::level::{Arrival, Seat};

/// Requests of one user that may be in flight in a level.
const FLOW: usize = 400;
/// Requests of all users that may be in flight in a level.
const ALL: usize = 4_000;
/// Watches that one user may have open: those of many controllers.
const WATCHES: usize = 1_000;
/// Followed logs, commands and forwarded ports that one user may have open. Each takes several
/// descriptors.
const STREAMS: usize = 100;
/// The service accounts of the cluster's own components.
const OWN_ACCOUNTS: &str = "system:serviceaccount:kube-system:";

/// A priority level, named as upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Exempt,
    /// Node agents.
    System,
    /// Leases of the cluster's own components.
    LeaderElection,
    /// The cluster's own components.
    WorkloadHigh,
    /// Service accounts.
    WorkloadLow,
    /// Other users.
    GlobalDefault,
    /// Callers without valid credentials, and connections that had such a caller.
    CatchAll,
}

/// Why a request is long-running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stream {
    Watch,
    /// A followed log, a command, an attached output, forwarded ports.
    Connection,
}

/// Flow control of a server.
#[derive(Debug)]
pub(crate) struct Control {
    levels: [Arc<Level>; 7],
    /// Turns of heavy requests, of all levels.
    turns: Arc<Level>,
    streams: Arc<Streams>,
}

/// The long-running requests that are open, by user and kind.
type Streams = Mutex<HashMap<StreamKey, usize>>;

type StreamKey = (Arc<str>, Stream);

/// An open long-running request, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    /// None for callers without a bound.
    of: Option<(Arc<Streams>, StreamKey)>,
}

// === impl Priority ===

impl Priority {
    const ALL: [Self; 7] = [
        Self::Exempt,
        Self::System,
        Self::LeaderElection,
        Self::WorkloadHigh,
        Self::WorkloadLow,
        Self::GlobalDefault,
        Self::CatchAll,
    ];

    /// The level of an authenticated caller; `leases` if the request is about leases.
    pub(crate) fn of(caller: &Identity, leases: bool) -> Self {
        let is_component = &*caller.name == CONTROLLER || caller.name.starts_with(OWN_ACCOUNTS);
        if caller.is_member(SYSTEM_MASTERS) {
            Self::Exempt
        } else if caller.is_member(SYSTEM_NODES) {
            Self::System
        } else if is_component && leases {
            Self::LeaderElection
        } else if is_component {
            Self::WorkloadHigh
        } else if caller.name.starts_with(SERVICE_ACCOUNT_PREFIX) {
            Self::WorkloadLow
        } else if caller.is_member(SYSTEM_AUTHENTICATED) {
            Self::GlobalDefault
        } else {
            Self::CatchAll
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::System => "system",
            Self::LeaderElection => "leader-election",
            Self::WorkloadHigh => "workload-high",
            Self::WorkloadLow => "workload-low",
            Self::GlobalDefault => "global-default",
            Self::CatchAll => "catch-all",
        }
    }

    fn bounds(self) -> Bounds {
        let unbounded = usize::MAX;
        match self {
            Self::Exempt => Bounds { seats: unbounded, flow: unbounded, all: unbounded },
            // As many writes as one group commit takes without effort; reads hardly use a seat.
            Self::System | Self::WorkloadHigh | Self::WorkloadLow | Self::GlobalDefault => {
                Bounds { seats: 64, flow: FLOW, all: ALL }
            }
            Self::LeaderElection => Bounds { seats: 16, flow: FLOW, all: ALL },
            // Checking a signature takes a processor for some 0.1 ms.
            Self::CatchAll => Bounds { seats: 1, flow: 32, all: 512 },
        }
    }
}

// === impl Control ===

impl Control {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Bounds { seats: processors, flow: usize::MAX, all: usize::MAX };
        Self {
            levels: Priority::ALL.map(|priority| Level::new(priority.bounds())),
            turns: Level::new(turns),
            streams: Arc::default(),
        }
    }

    /// Counts a request as in flight.
    ///
    /// # Errors
    /// 429 if too many are.
    pub(crate) fn arrive(&self, priority: Priority, flow: &Arc<str>) -> Result<Arrival, ApiError> {
        self.level(priority).arrive(flow)
    }

    /// Waits for a turn of a heavy request. Cancellation safe.
    pub(crate) async fn turn(&self, flow: &Arc<str>) -> Seat {
        self.turns.seat(flow).await
    }

    /// Counts a long-running request.
    ///
    /// # Errors
    /// 429 if its user has too many open.
    pub(crate) fn open(
        &self,
        priority: Priority,
        flow: &Arc<str>,
        stream: Stream,
    ) -> Result<OpenStream, ApiError> {
        if priority == Priority::Exempt {
            return Ok(OpenStream { of: None });
        }
        let limit = match stream {
            Stream::Watch => WATCHES,
            Stream::Connection => STREAMS,
        };
        let key = (Arc::clone(flow), stream);
        let mut streams = self.streams.lock();
        let open = streams.entry(key.clone()).or_default();
        if *open >= limit {
            drop(streams);
            self.level(priority).reject(level::Rejection::Streams);
            return Err(ApiError::overloaded());
        }
        *open += 1;
        Ok(OpenStream { of: Some((Arc::clone(&self.streams), key)) })
    }

    fn level(&self, priority: Priority) -> &Arc<Level> {
        let [exempt, system, election, high, low, default, catch_all] = &self.levels;
        match priority {
            Priority::Exempt => exempt,
            Priority::System => system,
            Priority::LeaderElection => election,
            Priority::WorkloadHigh => high,
            Priority::WorkloadLow => low,
            Priority::GlobalDefault => default,
            Priority::CatchAll => catch_all,
        }
    }

    /// The metrics, in the OpenMetrics text format and with upstream's names, without its end mark.
    pub(crate) fn metrics(&self) -> String {
        let mut out = String::new();
        let name = "apiserver_flowcontrol_rejected_requests";
        let _ = writeln!(out, "# TYPE {name} counter");
        for priority in Priority::ALL {
            for (reason, count) in self.level(priority).rejected() {
                let level = priority.name();
                let _ = writeln!(
                    out,
                    "{name}_total{{priority_level=\"{level}\",reason=\"{reason}\"}} {count}"
                );
            }
        }
        let mut gauge = |name: &str, value: fn(&Level) -> usize| {
            let _ = writeln!(out, "# TYPE {name} gauge");
            for priority in Priority::ALL {
                let (level, value) = (priority.name(), value(self.level(priority)));
                let _ = writeln!(out, "{name}{{priority_level=\"{level}\"}} {value}");
            }
        };
        gauge("apiserver_flowcontrol_current_inqueue_requests", Level::waiting);
        gauge("apiserver_flowcontrol_current_executing_requests", Level::executing);
        out
    }
}

// === impl OpenStream ===

impl Drop for OpenStream {
    fn drop(&mut self) {
        let Some((streams, key)) = &self.of else { return };
        let mut streams = streams.lock();
        if let Some(open) = streams.get_mut(key) {
            *open -= 1;
            if *open == 0 {
                streams.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_the_levels_of_upstream() {
        let anonymous =
            Identity { groups: Arc::default(), ..Identity::new("system:anonymous", "", []) };
        let account = |namespace| Identity::service_account(namespace, "a", "");
        for (caller, of_leases, of_others) in [
            (Identity::admin(), Priority::Exempt, Priority::Exempt),
            (Identity::node("n"), Priority::System, Priority::System),
            (Identity::controller(), Priority::LeaderElection, Priority::WorkloadHigh),
            (account("kube-system"), Priority::LeaderElection, Priority::WorkloadHigh),
            (account("kube-system-b"), Priority::WorkloadLow, Priority::WorkloadLow),
            (Identity::new("ann", "", []), Priority::GlobalDefault, Priority::GlobalDefault),
            (anonymous, Priority::CatchAll, Priority::CatchAll),
        ] {
            let found = [true, false].map(|leases| Priority::of(&caller, leases));
            assert_eq!(found, [of_leases, of_others], "{}", caller.name);
        }
    }

    #[test]
    fn long_running_requests_are_bounded_by_user_and_kind() {
        let control = Control::new();
        let [ann, bob]: [Arc<str>; 2] = ["ann".into(), "bob".into()];
        let open = |user, stream| control.open(Priority::GlobalDefault, user, stream);
        let mut kept: Vec<_> =
            (0..STREAMS).map(|_| open(&ann, Stream::Connection).unwrap()).collect();
        assert!(open(&ann, Stream::Connection).is_err());
        assert!(open(&ann, Stream::Watch).is_ok() && open(&bob, Stream::Connection).is_ok());
        kept.pop();
        assert!(open(&ann, Stream::Connection).is_ok());
        assert!(control.metrics().contains(
            "apiserver_flowcontrol_rejected_requests_total{priority_level=\"global-default\",reason=\"concurrency-limit\"} 1\n"
        ));
        drop(kept);
        assert!(control.streams.lock().is_empty());
    }
}
