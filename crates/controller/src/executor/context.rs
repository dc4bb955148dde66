//! What every reconcile works with.

use jiff::Timestamp;

use super::cache::Cache;
use super::debounce::Debounce;
use super::events::Recorder;
use super::requests::Requests;
use super::sync_gate::SyncGate;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::scheduling::PodGroups;

/// The parts of the executor that all workers share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) requests: Requests,
    pub(super) cache: Cache,
    pub(super) recorder: Recorder,
    pub(super) metrics: Metrics,
    pub(super) sync_gate: SyncGate,
    pub(super) health: Health,
    pub(super) debounce: Debounce,
    /// The scheduler that reads pod groups, if there is one.
    pub(super) scheduler: Option<PodGroups>,
    /// Whether a node of processes runs the pods.
    pub(super) process_node: bool,
    pub(super) now: fn() -> Timestamp,
}
