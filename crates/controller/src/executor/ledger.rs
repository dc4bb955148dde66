//! Who holds room on the nodes and who waits for it, kept up to date by the watches.
//!
//! Everything in it follows from API objects, so a new controller knows the same: a job with a start time that is not suspended, or with
//! pods, has started. Only the moment between the decision that a job may start and the write that says so lives here alone; if the
//! controller dies in it, the job is in line again.
//!
//! Work is proportional to what lives: finished jobs and finished pods are not in it.

use super::cache::{Change, take_in};
use super::document::JobDocument;
use super::mirror::Mirror;
use super::object::{Key, controller};
use crate::admission::{
    self, Admission, Ask, Candidate, DEFAULT_QUEUE, Holding, Node, Snapshot, decide,
};
use jiff::Timestamp;
use mxjob_api::{ConditionType, Job, Role, labels};
use mxjob_machinery::resources::Resources;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::time::Instant;

/// The classes that every Kubernetes cluster has.
const BUILT_IN: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// The ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    nodes: Mirror<Arc<Node>>,
    classes: Mirror<Class>,
    /// Pods that are not finished, whoever owns them.
    loads: Mirror<Arc<Load>>,
    line: BTreeMap<Key, Demand>,
    started: BTreeMap<Key, Demand>,
    /// Uids of jobs that may start and whose status does not say so yet.
    granted: HashSet<String>,
    /// The last answers to those in line, by uid.
    answers: HashMap<String, Admission>,
    /// Uids of jobs of which it was said that their class is unknown.
    told: HashSet<String>,
}

/// The outcome of a decision.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Jobs to look at: their answer has changed.
    pub(super) changed: Vec<Key>,
    /// When to decide again though nothing changes.
    pub(super) again_at: Option<Timestamp>,
    /// Jobs whose priority class does not exist, each said once.
    pub(super) unknown_classes: Vec<UnknownClass>,
}

/// A job that names a priority class which does not exist.
#[derive(Debug)]
pub(super) struct UnknownClass {
    pub(super) job: Key,
    pub(super) uid: String,
    pub(super) class: String,
}

/// What a job asks for.
#[derive(Debug)]
struct Demand {
    job: Arc<Job>,
    since: Option<Timestamp>,
    /// The replicas that have not succeeded.
    replicas: Vec<(Role, Arc<Ask>, u32)>,
}

/// A pod that takes up room.
#[derive(Debug)]
struct Load {
    node: Option<String>,
    ask: Arc<Ask>,
    /// Its role in its job.
    role: Option<Role>,
    leaving: bool,
    /// Whether it is held back by `spec.schedulingGates`: it is not to be bound, so it takes no room.
    is_gated: bool,
}

#[derive(Clone, Copy, Debug)]
struct Class {
    value: i32,
    is_default: bool,
}

// === impl Ledger ===

impl Ledger {
    /// Takes in what a watch tells of a pod; says whether room may have become free.
    pub(super) fn pod(&mut self, change: Change<'_>) -> bool {
        let change = match change {
            Change::Applied(pod) | Change::Listed(pod) if is_over(pod) => Change::Deleted(pod),
            other => other,
        };
        take_in(&mut self.loads, change, |pod| Some(Arc::new(Load::read(pod))), |_| None);
        matches!(change, Change::Deleted(_) | Change::ListEnds)
    }

    /// Takes in what a watch tells of a node.
    pub(super) fn node(&mut self, change: Change<'_>) {
        take_in(&mut self.nodes, change, |node| Some(Arc::new(read_node(node))), |_| None);
    }

    /// Takes in what a watch tells of a priority class.
    pub(super) fn class(&mut self, change: Change<'_>) {
        take_in(&mut self.classes, change, Class::read, |_| None);
    }

    /// Takes in what a job is like now.
    pub(super) fn job(&mut self, key: &Key, document: Option<&JobDocument>) {
        let before = self.line.remove(key).or_else(|| self.started.remove(key));
        let wants = document.filter(|document| wants_room(&document.job));
        let same = |before: &&Demand| wants.is_some_and(|now| now.job.uid == before.job.uid);
        if let Some(gone) = before.as_ref().filter(|before| !same(before)) {
            self.granted.remove(&gone.job.uid);
            self.answers.remove(&gone.job.uid);
            self.told.remove(&gone.job.uid);
        }
        let Some(document) = wants else { return };
        let demand = Demand::new(document);
        if has_started(&document.job) {
            self.granted.remove(&document.job.uid);
            self.answers.remove(&document.job.uid);
            self.started.insert(key.clone(), demand);
        } else if self.granted.contains(&document.job.uid) {
            self.started.insert(key.clone(), demand);
        } else {
            self.line.insert(key.clone(), demand);
        }
    }

    /// Whether anybody waits.
    pub(super) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// What was decided about a job; `None` if nothing was yet.
    pub(super) fn admission(&self, job: &Job) -> Option<Admission> {
        if !wants_room(job) || has_started(job) || self.granted.contains(&job.uid) {
            return Some(Admission::Admitted);
        }
        self.answers.get(&job.uid).cloned()
    }

    /// Decides about all in line.
    pub(super) fn decide(&mut self, now: Timestamp, instant: Instant) -> Decided {
        let mut decided = Decided::default();
        self.admit_those_with_pods(instant, &mut decided);
        if self.line.is_empty() {
            return decided;
        }
        let candidates = self.candidates(&mut decided);
        let snapshot = Snapshot {
            nodes: self.nodes.values().map(|node| Node::clone(node)).collect(),
            holdings: self.holdings(instant),
            candidates,
        };
        let admission::Decision { mut admissions, again_at } = decide(&snapshot, now);
        decided.again_at = again_at;
        let mut grants = Vec::new();
        for (key, demand) in &self.line {
            let uid = &demand.job.uid;
            let Some(answer) = admissions.remove(uid) else { continue };
            if answer == Admission::Admitted {
                grants.push(key.clone());
            } else if self.answers.get(uid) != Some(&answer) {
                self.answers.insert(uid.clone(), answer);
                decided.changed.push(key.clone());
            }
        }
        for key in grants {
            self.grant(key, &mut decided);
        }
        decided
    }

    /// A job whose pods exist has started, whatever became of the write that says so.
    fn admit_those_with_pods(&mut self, instant: Instant, decided: &mut Decided) {
        let mut with_pods = Vec::new();
        for (key, demand) in &self.line {
            let pods = self.loads.owned_by(&demand.job.uid, instant);
            if pods.iter().any(|pod| !pod.leaving) {
                with_pods.push(key.clone());
            }
        }
        for key in with_pods {
            self.grant(key, decided);
        }
    }

    fn grant(&mut self, key: Key, decided: &mut Decided) {
        let Some(demand) = self.line.remove(&key) else { return };
        self.answers.remove(&demand.job.uid);
        self.granted.insert(demand.job.uid.clone());
        self.started.insert(key.clone(), demand);
        decided.changed.push(key);
    }

    fn candidates(&mut self, decided: &mut Decided) -> Vec<Candidate> {
        let mut candidates = Vec::with_capacity(self.line.len());
        for (key, demand) in &self.line {
            let class = demand.job.scheduling.priority_class.as_deref();
            let priority = priority(&self.classes, class);
            let uid = &demand.job.uid;
            if priority.is_none() && self.told.insert(uid.clone()) {
                let class = class.unwrap_or_default().to_owned();
                let unknown = UnknownClass { job: key.clone(), uid: uid.clone(), class };
                decided.unknown_classes.push(unknown);
            }
            candidates.push(demand.candidate(priority.unwrap_or(0)));
        }
        candidates
    }

    fn holdings(&mut self, instant: Instant) -> Vec<Holding> {
        let hold = |load: &Arc<Load>| Holding {
            node: load.node.clone(),
            ask: Arc::clone(&load.ask),
            count: 1,
        };
        let mut holdings: Vec<Holding> =
            self.loads.values().filter(|load| !load.is_gated).map(hold).collect();
        for demand in self.started.values() {
            let pods = self.loads.owned_by(&demand.job.uid, instant);
            for (role, ask, count) in &demand.replicas {
                let live = pods.iter().filter(|pod| pod.role == Some(*role)).count();
                let missing = count.saturating_sub(u32::try_from(live).unwrap_or(u32::MAX));
                if missing > 0 {
                    holdings.push(Holding { node: None, ask: Arc::clone(ask), count: missing });
                }
            }
        }
        holdings
    }
}

/// Whether the job has pods, or would have if there were room. One that is too large is about to be refused.
fn wants_room(job: &Job) -> bool {
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
fn priority(classes: &Mirror<Class>, name: Option<&str>) -> Option<i32> {
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
            // It has been told to go on just now.
            Some(_) if job.status.is_true(&ConditionType::Suspended) => None,
            Some(resumed) => resumed.last_transition_time,
            None => job.creation_timestamp,
        };
        let replicas = job.replicas.iter().map(|replica| {
            let done = document.memory.completed_count(replica.role);
            let ask = Ask::of_pod(replica.template.get("spec"));
            (replica.role, Arc::new(ask), replica.count.saturating_sub(done))
        });
        Self { since, replicas: replicas.collect(), job }
    }

    fn candidate(&self, priority: i32) -> Candidate {
        let Job { uid, namespace, name, scheduling, .. } = &*self.job;
        let left =
            self.replicas.iter().fold(0_u32, |sum, (_, _, count)| sum.saturating_add(*count));
        let queue = scheduling.queue.as_deref().filter(|queue| !queue.is_empty());
        let min_resources = scheduling.min_resources.clone().unwrap_or_default();
        let min_resources = Value::Object(min_resources.into_iter().collect());
        Candidate {
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
                .map(|(_, ask, count)| (Arc::clone(ask), *count))
                .collect(),
        }
    }
}

// === impl Load ===

impl Load {
    fn read(pod: &Value) -> Self {
        let role = pod.pointer("/metadata/labels").and_then(|all| all.get(labels::REPLICA_TYPE));
        let role = role.and_then(Value::as_str).and_then(Role::parse);
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str);
        Self {
            node: node.filter(|node| !node.is_empty()).map(str::to_owned),
            ask: Arc::new(Ask::of_pod(pod.get("spec"))),
            role: role.filter(|_| controller(pod).is_some()),
            is_gated: pod
                .pointer("/spec/schedulingGates")
                .and_then(Value::as_array)
                .is_some_and(|gates| !gates.is_empty()),
            leaving: pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()),
        }
    }
}

fn is_over(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn read_node(node: &Value) -> Node {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let is_ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some("Ready"))
        .is_some_and(|ready| ready.get("status").and_then(Value::as_str) == Some("True"));
    let is_cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    Node {
        name: node.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        labels: admission::texts(node.pointer("/metadata/labels")),
        allocatable: Resources::from_list(node.pointer("/status/allocatable")),
        is_open: is_ready && !is_cordoned,
    }
}

// === impl Class ===

impl Class {
    fn read(class: &Value) -> Option<Self> {
        let value = class.get("value").and_then(Value::as_i64)?;
        let is_default = class.get("globalDefault") == Some(&Value::Bool(true));
        Some(Self { value: value.try_into().ok()?, is_default })
    }
}
