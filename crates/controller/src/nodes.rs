//! Which nodes are alive: what a cluster's node controller does, for a server that has none.
//!
//! [`Vigil`] decides, without I/O and without a clock. A node lives as long as its lease is renewed. What counts is when a renewal was *seen*
//! here, not the time written in it: clocks of other machines may differ, and a server that comes back after a night must not take the
//! night for the silence of its nodes. For the same reason the vigil's own sleep, in which it could not hear, is nobody's silence.
//!
//! ```text
//! renewed ── unreachable_after ──▶ Ready is Unknown ── lost_after ──▶ its pods have failed (NodeLost)
//!    ▲                                   │
//!    └────────── renewed again ◀─────────┘
//! ```
//!
//! A pod that failed with its node has no exit code; the job's restart policy says whether it is replaced.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long nodes may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After that long a node is not ready any more: four missed renewals, Kubernetes' value.
    pub unreachable_after: Duration,
    /// After that long beyond it the node is lost and with it its pods. Kubernetes waits five minutes, for the sake of networks that
    /// part for a while; where agent and server are on one machine a minute is more than enough.
    pub lost_after: Duration,
}

/// How often the pods of a lost node are looked for while there are any.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What to do about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has not been heard of: its readiness is unknown.
    Unreachable(String),
    /// It is heard of again.
    Reachable(String),
    /// It is lost: so are its pods.
    Lost(String),
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// `status` of the condition `Ready`.
    pub(crate) ready: String,
    /// Whether it reads so because a vigil wrote it.
    pub(crate) is_ours: bool,
    /// `lastHeartbeatTime` of the condition.
    pub(crate) heartbeat: String,
}

/// Watches over the nodes.
#[derive(Debug)]
pub(crate) struct Vigil {
    limits: Limits,
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug)]
struct Node {
    /// `None` if there is no such node, only pods that are bound to it.
    report: Option<Report>,
    renewed: String,
    heard: Instant,
    /// When its pods are to be looked for, once it is lost; `None` if there are none.
    sweep_at: Option<Instant>,
}

// === impl Step ===

impl Step {
    /// The node that it is about.
    pub(crate) fn node(&self) -> &str {
        match self {
            Self::Unreachable(node) | Self::Reachable(node) | Self::Lost(node) => node,
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { unreachable_after: Duration::from_secs(40), lost_after: Duration::from_secs(60) }
    }
}

// === impl Vigil ===

impl Vigil {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, nodes: BTreeMap::new() }
    }

    /// A node is there, or has changed.
    pub(crate) fn reported(&mut self, name: &str, report: &Report, now: Instant) {
        let is_heard = {
            let node = self.node(name, now);
            let before = node.report.replace(report.clone());
            // What the vigil itself writes is no sign of life.
            !report.is_ours && before.is_none_or(|before| before.heartbeat != report.heartbeat)
        };
        if is_heard {
            self.heard(name, now);
        }
    }

    /// A lease has been seen; that of a node has its name.
    pub(crate) fn renewed(&mut self, name: &str, time: &str, now: Instant) {
        let node = self.node(name, now);
        if node.renewed != time {
            time.clone_into(&mut node.renewed);
            self.heard(name, now);
        }
    }

    /// A node is no more, but pods may be bound to it.
    pub(crate) fn removed(&mut self, name: &str, now: Instant) {
        self.heard(name, now);
        self.node(name, now).report = None;
    }

    /// There are pods that are bound to that node.
    pub(crate) fn has_pods(&mut self, name: &str, now: Instant) {
        self.node(name, now);
    }

    /// The pods of a lost node were looked for, and there were that many.
    pub(crate) fn swept(&mut self, name: &str, pods: usize, now: Instant) {
        if pods == 0 && self.nodes.get(name).is_some_and(|node| node.report.is_none()) {
            self.nodes.remove(name);
            return;
        }
        let node = self.node(name, now);
        node.sweep_at = (pods > 0).then(|| now + SWEEP_EVERY);
    }

    /// The vigil itself has slept for so long (its process was stopped, or its machine, or the server did not answer): it has heard
    /// nothing in that time, whatever was said. Nobody is silent for that.
    pub(crate) fn has_slept(&mut self, slept: Duration, now: Instant) {
        for node in self.nodes.values_mut() {
            // One that was heard of since it woke gains nothing.
            node.heard = (node.heard + slept).min(now);
        }
    }

    /// How often the vigil has to be awake for its own sleep to be told from the silence of the nodes.
    pub(crate) fn tick(&self) -> Duration {
        self.limits.unreachable_after / 4
    }

    /// What to do now, and when there may be more to do.
    pub(crate) fn steps(&self, now: Instant) -> (Vec<Step>, Option<Instant>) {
        let mut steps = Vec::new();
        let mut next: Option<Instant> = None;
        for (name, node) in &self.nodes {
            let unreachable_at = node.heard + self.limits.unreachable_after;
            let mut wake = |at: Instant| next = Some(next.map_or(at, |other| other.min(at)));
            if now < unreachable_at {
                if node.report.as_ref().is_some_and(|report| report.is_ours) {
                    steps.push(Step::Reachable(name.clone()));
                }
                wake(unreachable_at);
                continue;
            }
            if node.report.as_ref().is_some_and(|report| report.ready != "Unknown") {
                steps.push(Step::Unreachable(name.clone()));
            }
            let Some(sweep_at) = node.sweep_at else { continue };
            let sweep_at = sweep_at.max(unreachable_at + self.limits.lost_after);
            if sweep_at <= now {
                steps.push(Step::Lost(name.clone()));
            } else {
                wake(sweep_at);
            }
        }
        (steps, next)
    }

    fn heard(&mut self, name: &str, now: Instant) {
        let node = self.node(name, now);
        node.heard = now;
        node.sweep_at = Some(now);
    }

    fn node(&mut self, name: &str, now: Instant) -> &mut Node {
        self.nodes.entry(name.to_owned()).or_insert_with(|| Node {
            report: None,
            renewed: String::new(),
            heard: now,
            sweep_at: Some(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vigil with a clock.
    struct Watch(Vigil, Instant);

    impl Watch {
        fn new() -> Self {
            let mut watch = Self(Vigil::new(Limits::default()), Instant::now());
            watch.report("True", false);
            watch.0.renewed("machine", "t0", watch.1);
            watch
        }

        fn report(&mut self, ready: &str, is_ours: bool) {
            let report = Report { ready: ready.to_owned(), is_ours, heartbeat: "h".to_owned() };
            self.0.reported("machine", &report, self.1);
        }

        fn after(&mut self, seconds: u64) -> Vec<Step> {
            self.1 += Duration::from_secs(seconds);
            self.0.steps(self.1).0
        }

        /// Seconds until the next look.
        fn next(&self) -> Option<u64> {
            self.0.steps(self.1).1.map(|at| at.duration_since(self.1).as_secs())
        }
    }

    fn unreachable() -> Vec<Step> {
        vec![Step::Unreachable("machine".to_owned())]
    }

    fn lost() -> Vec<Step> {
        vec![Step::Lost("machine".to_owned())]
    }

    #[test]
    fn a_node_that_renews_its_lease_lives() {
        let mut watch = Watch::new();
        for time in ["t1", "t2", "t3", "t4", "t5"] {
            assert_eq!(watch.after(39), []);
            watch.0.renewed("machine", time, watch.1);
        }
        assert_eq!(watch.next(), Some(40));
    }

    #[test]
    fn a_silent_node_is_unreachable_and_then_lost() {
        let mut watch = Watch::new();
        assert_eq!(watch.after(40), unreachable());
        watch.report("Unknown", true);
        assert_eq!(watch.after(0), []);
        assert_eq!(watch.next(), Some(60));
        assert_eq!(watch.after(60), lost());
        watch.0.swept("machine", 3, watch.1);
        assert_eq!(watch.next(), Some(10), "the removal of its pods takes a while");
        assert_eq!(watch.after(10), lost());
        watch.0.swept("machine", 0, watch.1);
        assert_eq!((watch.after(1000), watch.next()), (vec![], None));
    }

    #[test]
    fn a_node_that_is_heard_of_again_is_ready_again_and_keeps_its_pods() {
        let mut watch = Watch::new();
        watch.after(40);
        watch.report("Unknown", true);
        watch.after(59);
        watch.0.renewed("machine", "t1", watch.1);
        assert_eq!(watch.after(1), [Step::Reachable("machine".to_owned())]);
        watch.report("True", false);
        assert_eq!(watch.after(1), []);
    }

    #[test]
    fn the_same_renewal_seen_again_is_no_sign_of_life() {
        let mut watch = Watch::new();
        watch.after(39);
        watch.0.renewed("machine", "t0", watch.1);
        watch.report("True", false);
        assert_eq!(watch.after(1), unreachable());
    }

    #[test]
    fn a_vigil_that_slept_takes_nobody_for_lost() {
        let mut watch = Watch::new();
        assert_eq!(watch.after(30), []);
        watch.1 += Duration::from_secs(3600);
        watch.0.has_slept(Duration::from_secs(3600), watch.1);
        assert_eq!((watch.after(0), watch.next()), (vec![], Some(10)), "what it had heard counts");
        assert_eq!(watch.after(10), unreachable());
        watch.report("Unknown", true);
        watch.1 += Duration::from_secs(3600);
        watch.0.has_slept(Duration::from_secs(3600), watch.1);
        assert_eq!(watch.after(59), []);
        assert_eq!(watch.after(1), lost());
    }

    #[test]
    fn a_node_that_was_heard_of_after_the_sleep_gains_nothing_by_it() {
        let mut watch = Watch::new();
        watch.1 += Duration::from_secs(3600);
        watch.0.renewed("machine", "t1", watch.1);
        watch.0.has_slept(Duration::from_secs(3600), watch.1);
        assert_eq!((watch.after(39), watch.after(1)), (vec![], unreachable()));
    }

    #[test]
    fn pods_of_a_node_that_is_no_more_are_lost_with_it() {
        let mut watch = Watch::new();
        watch.0.removed("machine", watch.1);
        assert_eq!(watch.after(99), []);
        assert_eq!(watch.after(1), lost());
        watch.0.swept("machine", 0, watch.1);
        assert_eq!(watch.next(), None, "it is forgotten");
    }
}
