//! Which jobs hold capacity on the nodes and which wait for it, kept up to date by the watches.
//!
//! All of it follows from API objects, so a new controller knows the same: a job has started if it
//! has a start time and is not suspended, or if it has pods. Only the time between the decision
//! that a job may start and the write of its status exists here alone; if the controller dies in
//! between, the job waits again.
//!
//! The work is proportional to what is active: finished jobs and finished pods are left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_api::{ConditionType, Job, Role, labels};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::resources::Resources;
use serde_json::Value;
use tokio::time::Instant;

use super::local_cache::{Change, LocalCache, apply};
use super::object::{Key, controller};
use super::stored_job::JobDocument;
use crate::scheduling::SchedulingState;
use crate::scheduling::queue::{
    self, Allocation, DEFAULT_QUEUE, NodeCapacity, PodRequest, QueueDecision, QueueSnapshot,
    QueuedJob, decide,
};

/// Name and value of the classes that every Kubernetes cluster has.
const BUILT_IN: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Capacity in use, and the jobs that wait for it.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    nodes: LocalCache<Arc<NodeCapacity>>,
    classes: LocalCache<PriorityClass>,
    /// Pods that are not finished, with any owner.
    loads: LocalCache<Arc<PodLoad>>,
    queued: BTreeMap<Key, Demand>,
    started: BTreeMap<Key, Demand>,
    /// Uids of jobs that may start and whose status does not say so yet.
    may_start: HashSet<String>,
    /// The last decision about each waiting job, by uid.
    states: HashMap<String, SchedulingState>,
    /// Uids of jobs whose unknown priority class was reported.
    reported_classes: HashSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Jobs to reconcile: their state has changed.
    pub(super) changed: Vec<Key>,
    /// When to decide again even if nothing changes.
    pub(super) recheck_at: Option<Timestamp>,
    /// Jobs whose priority class does not exist, each reported once.
    pub(super) unknown_classes: Vec<UnknownPriorityClass>,
}

#[derive(Debug)]
pub(super) struct UnknownPriorityClass {
    pub(super) job: Key,
    pub(super) uid: String,
    pub(super) class: String,
}

/// What a job requests.
#[derive(Debug)]
struct Demand {
    job: Arc<Job>,
    since: Option<Timestamp>,
    /// The replicas that have not succeeded.
    replicas: Vec<(Role, Arc<PodRequest>, u32)>,
}

/// A pod that takes capacity.
#[derive(Debug)]
struct PodLoad {
    node: Option<String>,
    request: Arc<PodRequest>,
    role: Option<Role>,
    terminating: bool,
    /// Whether `spec.schedulingGates` holds it back: it is not bound, so it takes no capacity.
    is_gated: bool,
}

#[derive(Clone, Copy, Debug)]
struct PriorityClass {
    value: i32,
    is_default: bool,
}

// === impl Capacity ===

impl Capacity {
    /// Applies a change of a pod. Returns whether capacity may have become free.
    pub(super) fn apply_pod(&mut self, change: Change<'_>) -> bool {
        let change = match change {
            Change::Applied(pod) | Change::Listed(pod) if is_finished_pod(pod) => {
                Change::Deleted(pod)
            }
            other => other,
        };
        apply(&mut self.loads, change, |pod| Some(Arc::new(PodLoad::read(pod))), |_| None);
        matches!(change, Change::Deleted(_) | Change::ListEnds)
    }

    pub(super) fn apply_node(&mut self, change: Change<'_>) {
        apply(&mut self.nodes, change, |node| Some(Arc::new(read_node(node))), |_| None);
    }

    pub(super) fn apply_priority_class(&mut self, change: Change<'_>) {
        apply(&mut self.classes, change, PriorityClass::read, |_| None);
    }

    pub(super) fn apply_job(&mut self, key: &Key, document: Option<&JobDocument>) {
        let before = self.queued.remove(key).or_else(|| self.started.remove(key));
        let needs = document.filter(|document| needs_capacity(&document.job));
        let same = |before: &&Demand| needs.is_some_and(|now| now.job.uid == before.job.uid);
        if let Some(gone) = before.as_ref().filter(|before| !same(before)) {
            self.may_start.remove(&gone.job.uid);
            self.states.remove(&gone.job.uid);
            self.reported_classes.remove(&gone.job.uid);
        }
        let Some(document) = needs else { return };
        let demand = Demand::new(document);
        if has_started(&document.job) {
            self.may_start.remove(&document.job.uid);
            self.states.remove(&document.job.uid);
            self.started.insert(key.clone(), demand);
        } else if self.may_start.contains(&document.job.uid) {
            self.started.insert(key.clone(), demand);
        } else {
            self.queued.insert(key.clone(), demand);
        }
    }

    pub(super) fn has_queued_jobs(&self) -> bool {
        !self.queued.is_empty()
    }

    /// What was decided about a job; `None` if nothing was yet.
    pub(super) fn scheduling_state(&self, job: &Job) -> Option<SchedulingState> {
        if !needs_capacity(job) || has_started(job) || self.may_start.contains(&job.uid) {
            return Some(SchedulingState::MayStart);
        }
        self.states.get(&job.uid).cloned()
    }

    /// Decides about all waiting jobs.
    pub(super) fn decide(&mut self, now: Timestamp, instant: Instant) -> Decided {
        let mut decided = Decided::default();
        self.start_jobs_with_pods(instant, &mut decided);
        if self.queued.is_empty() {
            return decided;
        }
        let jobs = self.queued_jobs(&mut decided);
        let snapshot = QueueSnapshot {
            nodes: self.nodes.values().map(|node| NodeCapacity::clone(node)).collect(),
            allocations: self.allocations(instant),
            jobs,
        };
        let QueueDecision { mut states, recheck_at } = decide(&snapshot, now);
        decided.recheck_at = recheck_at;
        let mut starting = Vec::new();
        for (key, demand) in &self.queued {
            let uid = &demand.job.uid;
            let Some(answer) = states.remove(uid) else { continue };
            if answer == SchedulingState::MayStart {
                starting.push(key.clone());
            } else if self.states.get(uid) != Some(&answer) {
                self.states.insert(uid.clone(), answer);
                decided.changed.push(key.clone());
            }
        }
        for key in starting {
            self.start(key, &mut decided);
        }
        decided
    }

    /// A job whose pods exist has started, even if the write of its status failed.
    fn start_jobs_with_pods(&mut self, instant: Instant, decided: &mut Decided) {
        let mut with_pods = Vec::new();
        for (key, demand) in &self.queued {
            let pods = self.loads.owned_by(&demand.job.uid, instant);
            if pods.iter().any(|pod| !pod.terminating) {
                with_pods.push(key.clone());
            }
        }
        for key in with_pods {
            self.start(key, decided);
        }
    }

    fn start(&mut self, key: Key, decided: &mut Decided) {
        let Some(demand) = self.queued.remove(&key) else { return };
        self.states.remove(&demand.job.uid);
        self.may_start.insert(demand.job.uid.clone());
        self.started.insert(key.clone(), demand);
        decided.changed.push(key);
    }

    fn queued_jobs(&mut self, decided: &mut Decided) -> Vec<QueuedJob> {
        let mut jobs = Vec::with_capacity(self.queued.len());
        for (key, demand) in &self.queued {
            let class = demand.job.scheduling.priority_class.as_deref();
            let priority = priority(&self.classes, class);
            let uid = &demand.job.uid;
            if priority.is_none() && self.reported_classes.insert(uid.clone()) {
                let class = class.unwrap_or_default().to_owned();
                let unknown = UnknownPriorityClass { job: key.clone(), uid: uid.clone(), class };
                decided.unknown_classes.push(unknown);
            }
            jobs.push(demand.queued_job(priority.unwrap_or(0)));
        }
        jobs
    }

    fn allocations(&mut self, instant: Instant) -> Vec<Allocation> {
        let allocation = |load: &Arc<PodLoad>| Allocation {
            node: load.node.clone(),
            request: Arc::clone(&load.request),
            count: 1,
        };
        let mut allocations: Vec<Allocation> =
            self.loads.values().filter(|load| !load.is_gated).map(allocation).collect();
        for demand in self.started.values() {
            let pods = self.loads.owned_by(&demand.job.uid, instant);
            for (role, request, count) in &demand.replicas {
                let live = pods.iter().filter(|pod| pod.role == Some(*role)).count();
                let missing = count.saturating_sub(u32::try_from(live).unwrap_or(u32::MAX));
                if missing > 0 {
                    allocations.push(Allocation {
                        node: None,
                        request: Arc::clone(request),
                        count: missing,
                    });
                }
            }
        }
        allocations
    }
}

/// Whether the job has pods, or would have if there were capacity. A job that is too large is about
/// to be rejected.
fn needs_capacity(job: &Job) -> bool {
    !job.status.is_finished()
        && !job.suspend
        && job.deletion_timestamp.is_none()
        && !job.is_too_large()
}

/// Whether the status says that the job has started.
fn has_started(job: &Job) -> bool {
    job.status.start_time.is_some() && !job.status.is_true(&ConditionType::Suspended)
}

/// The value of a class; `None` if there is no such class.
fn priority(classes: &LocalCache<PriorityClass>, name: Option<&str>) -> Option<i32> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Some(
            classes
                .values()
                .filter(|class| class.is_default)
                .map(|class| class.value)
                .max()
                .unwrap_or(0),
        );
    };
    let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name).map(|(_, value)| *value);
    let key = Key { namespace: String::new(), name: name.to_owned() };
    built_in.or_else(|| classes.get(&key).map(|class| class.value))
}

// === impl Demand ===

impl Demand {
    fn new(document: &JobDocument) -> Self {
        let job = Arc::clone(&document.job);
        let suspended = job.status.condition(&ConditionType::Suspended);
        let since = match suspended {
            // It was resumed just now.
            Some(_) if job.status.is_true(&ConditionType::Suspended) => None,
            Some(resumed) => resumed.last_transition_time,
            None => job.creation_timestamp,
        };
        let replicas = job.replicas.iter().map(|replica| {
            let done = document.memory.completed_count(replica.role);
            let request = PodRequest::of_pod(replica.template.get("spec"));
            (replica.role, Arc::new(request), replica.count.saturating_sub(done))
        });
        Self { since, replicas: replicas.collect(), job }
    }

    fn queued_job(&self, priority: i32) -> QueuedJob {
        let Job { uid, namespace, name, scheduling, .. } = &*self.job;
        let left =
            self.replicas.iter().fold(0_u32, |sum, (_, _, count)| sum.saturating_add(*count));
        let queue = scheduling.queue.as_deref().filter(|queue| !queue.is_empty());
        let min_resources = scheduling.min_resources.clone().unwrap_or_default();
        let min_resources = Value::Object(min_resources.into_iter().collect());
        QueuedJob {
            uid: uid.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            queue: queue.unwrap_or(DEFAULT_QUEUE).to_owned(),
            priority,
            since: self.since,
            timeout_seconds: scheduling.schedule_timeout_seconds,
            min_available: scheduling.min_available.min(left),
            min_resources: Resources::from_list(Some(&min_resources)),
            replicas: self
                .replicas
                .iter()
                .map(|(_, request, count)| (Arc::clone(request), *count))
                .collect(),
        }
    }
}

// === impl PodLoad ===

impl PodLoad {
    fn read(pod: &Value) -> Self {
        let role = pod.pointer("/metadata/labels").and_then(|all| all.get(labels::REPLICA_TYPE));
        let role = role.and_then(Value::as_str).and_then(Role::parse);
        let node = text(pod, "/spec/nodeName");
        Self {
            node: (!node.is_empty()).then(|| node.to_owned()),
            request: Arc::new(PodRequest::of_pod(pod.get("spec"))),
            role: role.filter(|_| controller(pod).is_some()),
            is_gated: !list(pod, "/spec/schedulingGates").is_empty(),
            terminating: pod
                .pointer("/metadata/deletionTimestamp")
                .is_some_and(|time| !time.is_null()),
        }
    }
}

fn is_finished_pod(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn read_node(node: &Value) -> NodeCapacity {
    let mut conditions = list(node, "/status/conditions").iter();
    let is_ready = conditions
        .find(|condition| text(condition, "/type") == "Ready")
        .is_some_and(|ready| text(ready, "/status") == "True");
    let is_cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    NodeCapacity {
        name: text(node, "/metadata/name").to_owned(),
        labels: queue::strings(node.pointer("/metadata/labels")),
        allocatable: Resources::from_list(node.pointer("/status/allocatable")),
        is_schedulable: is_ready && !is_cordoned,
    }
}

// === impl PriorityClass ===

impl PriorityClass {
    fn read(class: &Value) -> Option<Self> {
        let value = class.get("value").and_then(Value::as_i64)?;
        let is_default = class.get("globalDefault") == Some(&Value::Bool(true));
        Some(Self { value: value.try_into().ok()?, is_default })
    }
}
