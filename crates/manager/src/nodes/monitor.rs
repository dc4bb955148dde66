//! Which nodes are alive. [`NodeMonitor`] decides, without I/O and without a clock.
//! A node is alive while its lease is
//! renewed. The time at which a renewal was *observed* counts, not the time written in it: clocks
//! of other machines may differ, and a server that resumes after a night must not count the night
//! as silence of its nodes. For the same reason time in which the monitor itself slept does not
//! count.
//!
//! ```text
//! renewed ── unreachable_after ──▶ Ready is Unknown ── lost_after ──▶ its pods fail (NodeLost)
//!    ▲                                   │
//!    └────────── renewed again ◀─────────┘
//! ```
//!
//! A pod that failed with its node has no exit code; the restart policy of the job decides whether
//! it is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long nodes may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After this time a node is not ready any more: four missed renewals, Kubernetes' value.
    pub unreachable_after: Duration,
    /// After this additional time the node and its pods are treated as lost. Kubernetes waits five
    /// minutes because networks may be partitioned for a while; with agent and server on one
    /// machine a minute is more than enough.
    pub lost_after: Duration,
}

/// How often the pods of a lost node are listed while there are any.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What to do about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeAction {
    /// Its lease was not renewed: its readiness is unknown.
    Unreachable(String),
    /// Its lease is renewed again.
    Reachable(String),
    /// It is lost, and its pods with it.
    Lost(String),
}

/// The readiness that a node object reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeReport {
    /// `status` of the condition `Ready`.
    pub(crate) ready: String,
    /// Whether a node monitor wrote it.
    pub(crate) is_ours: bool,
    /// `lastHeartbeatTime` of the condition.
    pub(crate) heartbeat: String,
}

/// Decides which nodes are alive.
#[derive(Debug)]
pub(crate) struct NodeMonitor {
    limits: Limits,
    nodes: BTreeMap<String, MonitoredNode>,
}

#[derive(Debug)]
struct MonitoredNode {
    report: NodeReport,
    renewed: String,
    heard: Instant,
    /// When to list its pods, once it is lost; `None` if there are none.
    sweep_at: Option<Instant>,
}

// === impl NodeAction ===

impl NodeAction {
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

// === impl NodeMonitor ===

impl NodeMonitor {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, nodes: BTreeMap::new() }
    }

    /// A node exists, or has changed.
    pub(crate) fn reported(&mut self, name: &str, report: NodeReport, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else {
            self.nodes.insert(name.to_owned(), MonitoredNode::new(report, now));
            return;
        };
        // A write of the monitor itself is no sign of life.
        if !report.is_ours && node.report.heartbeat != report.heartbeat {
            node.hear(now);
        }
        node.report = report;
    }

    /// A lease was observed. The lease of a node has its name.
    pub(crate) fn renewed(&mut self, name: &str, time: &str, now: Instant) {
        if let Some(node) = self.nodes.get_mut(name).filter(|node| node.renewed != time) {
            time.clone_into(&mut node.renewed);
            node.hear(now);
        }
    }

    /// A node was deleted. The garbage collector deletes its pods.
    pub(crate) fn removed(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// All nodes were listed: the others do not exist.
    pub(crate) fn retain(&mut self, listed: &BTreeSet<String>) {
        self.nodes.retain(|name, _| listed.contains(name));
    }

    /// The pods of a lost node were listed, and there were that many.
    pub(crate) fn swept(&mut self, name: &str, pods: usize, now: Instant) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.sweep_at = (pods > 0).then(|| now + SWEEP_EVERY);
        }
    }

    /// The monitor itself slept for that long (its process or machine was suspended, or the server
    /// did not answer). It observed nothing in that time, so no node counts as silent for it.
    pub(crate) fn has_slept(&mut self, slept: Duration, now: Instant) {
        for node in self.nodes.values_mut() {
            // A node that was observed after the sleep gains nothing.
            node.heard = (node.heard + slept).min(now);
        }
    }

    /// How often the monitor must run to distinguish its own sleep from silence of the nodes.
    pub(crate) fn tick(&self) -> Duration {
        self.limits.unreachable_after / 4
    }

    /// What to do now, and when there may be more to do.
    pub(crate) fn actions(&self, now: Instant) -> (Vec<NodeAction>, Option<Instant>) {
        let mut actions = Vec::new();
        let mut next: Option<Instant> = None;
        for (name, node) in &self.nodes {
            let unreachable_at = node.heard + self.limits.unreachable_after;
            let mut wake = |at: Instant| next = Some(next.map_or(at, |other| other.min(at)));
            if now < unreachable_at {
                if node.report.is_ours {
                    actions.push(NodeAction::Reachable(name.clone()));
                }
                wake(unreachable_at);
                continue;
            }
            if node.report.ready != "Unknown" {
                actions.push(NodeAction::Unreachable(name.clone()));
            }
            let Some(sweep_at) = node.sweep_at else { continue };
            let sweep_at = sweep_at.max(unreachable_at + self.limits.lost_after);
            if sweep_at <= now {
                actions.push(NodeAction::Lost(name.clone()));
            } else {
                wake(sweep_at);
            }
        }
        (actions, next)
    }
}

// === impl MonitoredNode ===

impl MonitoredNode {
    fn new(report: NodeReport, now: Instant) -> Self {
        Self { report, renewed: String::new(), heard: now, sweep_at: Some(now) }
    }

    fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.sweep_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Watch(NodeMonitor, Instant);

    impl Watch {
        fn new() -> Self {
            let mut watch = Self(NodeMonitor::new(Limits::default()), Instant::now());
            watch.report("True", false);
            watch.0.renewed("machine", "t0", watch.1);
            watch
        }

        fn report(&mut self, ready: &str, is_ours: bool) {
            let report = NodeReport { ready: ready.to_owned(), is_ours, heartbeat: "h".to_owned() };
            self.0.reported("machine", report, self.1);
        }

        fn after(&mut self, seconds: u64) -> Vec<NodeAction> {
            self.1 += Duration::from_secs(seconds);
            self.0.actions(self.1).0
        }

        /// Seconds until the next check.
        fn next(&self) -> Option<u64> {
            self.0.actions(self.1).1.map(|at| at.duration_since(self.1).as_secs())
        }
    }

    fn unreachable() -> Vec<NodeAction> {
        vec![NodeAction::Unreachable("machine".to_owned())]
    }

    fn lost() -> Vec<NodeAction> {
        vec![NodeAction::Lost("machine".to_owned())]
    }

    #[test]
    fn a_node_that_renews_its_lease_is_alive() {
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
    fn a_node_that_renews_again_is_ready_and_keeps_its_pods() {
        let mut watch = Watch::new();
        watch.after(40);
        watch.report("Unknown", true);
        watch.after(59);
        watch.0.renewed("machine", "t1", watch.1);
        assert_eq!(watch.after(1), [NodeAction::Reachable("machine".to_owned())]);
        watch.report("True", false);
        assert_eq!(watch.after(1), []);
    }

    #[test]
    fn a_repeated_renewal_is_no_sign_of_life() {
        let mut watch = Watch::new();
        watch.after(39);
        watch.0.renewed("machine", "t0", watch.1);
        watch.report("True", false);
        assert_eq!(watch.after(1), unreachable());
    }

    #[test]
    fn sleep_of_the_monitor_makes_no_node_lost() {
        let mut watch = Watch::new();
        assert_eq!(watch.after(30), []);
        watch.1 += Duration::from_secs(3600);
        watch.0.has_slept(Duration::from_secs(3600), watch.1);
        assert_eq!(
            (watch.after(0), watch.next()),
            (vec![], Some(10)),
            "silence before the sleep counts"
        );
        assert_eq!(watch.after(10), unreachable());
        watch.report("Unknown", true);
        watch.1 += Duration::from_secs(3600);
        watch.0.has_slept(Duration::from_secs(3600), watch.1);
        assert_eq!(watch.after(59), []);
        assert_eq!(watch.after(1), lost());
    }

    #[test]
    fn a_node_observed_after_the_sleep_gains_nothing() {
        let mut watch = Watch::new();
        watch.1 += Duration::from_secs(3600);
        watch.0.renewed("machine", "t1", watch.1);
        watch.0.has_slept(Duration::from_secs(3600), watch.1);
        assert_eq!((watch.after(39), watch.after(1)), (vec![], unreachable()));
    }

    #[test]
    fn a_deleted_node_is_forgotten() {
        let mut watch = Watch::new();
        watch.0.removed("machine");
        // Its lease may outlive it.
        watch.0.renewed("machine", "t1", watch.1);
        assert_eq!((watch.after(1000), watch.next()), (vec![], None));
        watch.report("True", false);
        watch.0.retain(&BTreeSet::new());
        assert_eq!((watch.after(1000), watch.next()), (vec![], None));
    }
}
