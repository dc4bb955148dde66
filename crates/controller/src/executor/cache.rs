//! What the controller knows: jobs, their pods and services, and what could not be created.
//!
//! Reconciles read here and nowhere else. One lock covers all of it. It is held for a look-up or a
//! change of one object, never across a request.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_api::labels;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::capacity::{Capacity, Decided};
use super::local_cache::{Change, LocalCache, apply};
use super::object::{Identity, Key, controller};
use super::requests::Child;
use super::stored_job::{InvalidJob, JobDocument, StoredJob, UnreadableJob};
use crate::metrics::{self, Metrics};
use crate::plan::{Problem, Snapshot};
use crate::pod_group::PodGroupView;
use crate::scheduling::{SchedulingState, WaitKind, Waiting};
use crate::view::{PodView, ServiceView};

/// The resources that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Jobs,
    /// What jobs own.
    Children(Child),
    /// Followed only where the controller schedules jobs.
    Nodes,
    /// Followed only where the controller schedules jobs.
    PriorityClasses,
}

impl Resource {
    /// Whether the resource is cluster-scoped.
    pub(super) fn is_of_cluster(self) -> bool {
        matches!(self, Self::Nodes | Self::PriorityClasses)
    }
}

/// The state of the cluster as the controller sees it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    state: Mutex<CacheState>,
    /// Notified when a new decision about the queue may have another result.
    queue_changed: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct CacheState {
    jobs: LocalCache<StoredJob>,
    pods: LocalCache<Arc<PodView>>,
    services: LocalCache<Arc<ServiceView>>,
    groups: LocalCache<Arc<PodGroupView>>,
    problems: HashMap<Key, Vec<Problem>>,
    /// The jobs that hold or wait for capacity, where the controller schedules jobs.
    capacity: Option<Capacity>,
    /// The state in which each job is counted.
    states: HashMap<Key, metrics::JobState>,
}

/// The result of looking up a job.
pub(super) enum Lookup {
    /// No job to manage, or not yet.
    Nothing,
    /// A job, its objects, and its pod group.
    Job(Arc<JobDocument>, Box<Snapshot>, Option<Arc<PodGroupView>>),
    /// A job that is invalid and that API admission did not reject.
    Invalid(Arc<InvalidJob>),
    /// A job that cannot be read and is ignored.
    Unreadable(Arc<UnreadableJob>),
}

impl Cache {
    /// Creates an empty cache. `schedules`: whether the controller decides which jobs may start. It
    /// must then see all pods, because all of them take capacity.
    pub(super) fn new(schedules: bool, metrics: Metrics) -> Self {
        let state =
            CacheState { capacity: schedules.then(Capacity::default), ..CacheState::default() };
        Self { state: Mutex::new(state), queue_changed: Notify::new(), metrics }
    }

    /// Applies a change of a watch, and returns the jobs concerned.
    pub(super) fn apply(&self, resource: Resource, change: Change<'_>) -> Vec<Key> {
        let state = &mut *self.state();
        match resource {
            Resource::Jobs => {
                let keys =
                    apply(&mut state.jobs, change, |value| Some(StoredJob::read(value)), job_key);
                for key in &keys {
                    self.update_job(state, key);
                }
                keys
            }
            Resource::Children(Child::Pod) => {
                let mut change = change;
                if let Some(capacity) = &mut state.capacity {
                    if capacity.apply_pod(change) && capacity.has_queued_jobs() {
                        self.queue_changed.notify_one();
                    }
                    match change {
                        Change::Listed(pod) if !is_labelled(pod) => return Vec::new(),
                        Change::Applied(pod) if !is_labelled(pod) => change = Change::Deleted(pod),
                        _ => {}
                    }
                }
                apply(
                    &mut state.pods,
                    change,
                    |value| PodView::read(value).map(Arc::new),
                    owner_key,
                )
            }
            Resource::Nodes | Resource::PriorityClasses => {
                if let Some(capacity) = &mut state.capacity {
                    match resource {
                        Resource::Nodes => capacity.apply_node(change),
                        _ => capacity.apply_priority_class(change),
                    }
                    if capacity.has_queued_jobs() {
                        self.queue_changed.notify_one();
                    }
                }
                Vec::new()
            }
            Resource::Children(Child::Service) => apply(
                &mut state.services,
                change,
                |value| ServiceView::read(value).map(Arc::new),
                owner_key,
            ),
            Resource::Children(Child::PodGroup(_)) => apply(
                &mut state.groups,
                change,
                |value| PodGroupView::read(value).map(Arc::new),
                owner_key,
            ),
        }
    }

    /// Applies the server's answer to a write of our own.
    pub(super) fn wrote(&self, resource: Resource, object: &Value) {
        let Some(identity) = Identity::read(object) else { return };
        let owner = controller(object);
        let now = Instant::now();
        let state = &mut *self.state();
        match resource {
            Resource::Jobs => {
                let key = identity.key.clone();
                state.jobs.wrote(identity, None, StoredJob::read(object), now);
                self.update_job(state, &key);
            }
            Resource::Children(Child::Pod) => {
                if let Some(pod) = PodView::read(object) {
                    state.pods.wrote(identity, owner, Arc::new(pod), now);
                }
            }
            Resource::Children(Child::Service) => {
                if let Some(service) = ServiceView::read(object) {
                    state.services.wrote(identity, owner, Arc::new(service), now);
                }
            }
            Resource::Children(Child::PodGroup(_)) => {
                if let Some(group) = PodGroupView::read(object) {
                    state.groups.wrote(identity, owner, Arc::new(group), now);
                }
            }
            // The controller does not write these to schedule jobs.
            Resource::Nodes | Resource::PriorityClasses => {}
        }
    }

    /// Removes an object that the server does not have.
    pub(super) fn forget(&self, child: Child, key: &Key, uid: &str) {
        let state = &mut *self.state();
        match child {
            Child::Pod => state.pods.forget(key, uid),
            Child::Service => state.services.forget(key, uid),
            Child::PodGroup(_) => state.groups.forget(key, uid),
        }
    }

    /// Looks up a job and its objects. Returns nothing, too, while it is not decided whether the
    /// job may start: the decision requeues it. `blocked`: why nothing but the job itself can be
    /// seen.
    pub(super) fn lookup(&self, key: &Key, blocked: Option<&str>) -> Lookup {
        let state = &mut *self.state();
        let document = match state.jobs.get(key) {
            Some(StoredJob::Job(document)) => document,
            Some(StoredJob::Invalid(invalid)) => return Lookup::Invalid(invalid),
            Some(StoredJob::Unreadable(unreadable)) => return Lookup::Unreadable(unreadable),
            Some(StoredJob::Finished) => return Lookup::Nothing,
            None => {
                state.problems.remove(key);
                return Lookup::Nothing;
            }
        };
        let scheduling = match (blocked, &state.capacity) {
            (Some(why), _) => SchedulingState::Waiting(Waiting {
                kind: WaitKind::Obstructed,
                message: format!("cannot proceed: {why}"),
            }),
            (None, None) => SchedulingState::MayStart,
            (None, Some(capacity)) => match capacity.scheduling_state(&document.job) {
                Some(scheduling) => scheduling,
                None => return Lookup::Nothing,
            },
        };
        let now = Instant::now();
        let uid = &document.job.uid;
        let snapshot = Box::new(Snapshot {
            job: Arc::clone(&document.job),
            memory: document.memory.clone(),
            pods: state.pods.owned_by(uid, now),
            services: state.services.owned_by(uid, now),
            problems: state.problems.get(key).cloned().unwrap_or_default(),
            scheduling,
        });
        let group = state.groups.owned_by(uid, now).into_iter();
        let group = group.into_iter().find(|group| group.name == document.job.name);
        Lookup::Job(document, snapshot, group)
    }

    /// The keys of all jobs.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.state().jobs.keys().cloned().collect()
    }

    /// Stores what could not be created in the last attempt; an empty list clears it.
    pub(super) fn set_problems(&self, key: &Key, mut problems: Vec<Problem>) {
        problems.sort();
        let state = &mut *self.state();
        if problems.is_empty() {
            state.problems.remove(key);
        } else {
            state.problems.insert(key.clone(), problems);
        }
    }

    /// Decides about the waiting jobs.
    pub(super) fn decide(&self, now: Timestamp) -> Decided {
        let state = &mut *self.state();
        state
            .capacity
            .as_mut()
            .map(|capacity| capacity.decide(now, Instant::now()))
            .unwrap_or_default()
    }

    /// Waits until a new decision may have another result. Safe to cancel.
    pub(super) async fn queue_changed(&self) {
        self.queue_changed.notified().await;
    }

    /// Updates the queue and the metrics for one job.
    fn update_job(&self, state: &mut CacheState, key: &Key) {
        let job = state.jobs.get(key);
        let job = job.as_ref().and_then(StoredJob::job);
        let is_in = job.map(|document| metrics::JobState::of(&document.job));
        let was_in = match is_in {
            Some(is_in) => state.states.insert(key.clone(), is_in),
            None => state.states.remove(key),
        };
        self.metrics.moved(&key.namespace, was_in, is_in);
        if was_in.is_some() && is_in.is_none() {
            self.metrics.deleted(&key.namespace);
        }
        if let Some(capacity) = &mut state.capacity {
            capacity.apply_job(key, job.map(|document| &**document));
            if capacity.has_queued_jobs() {
                self.queue_changed.notify_one();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock()
    }
}

fn is_labelled(object: &Value) -> bool {
    object
        .pointer("/metadata/labels")
        .and_then(|all| all.get(labels::OPERATOR_NAME))
        .and_then(Value::as_str)
        == Some(labels::OPERATOR)
}

fn job_key(object: &Value) -> Option<Key> {
    Identity::read(object).map(|identity| identity.key)
}

fn owner_key(object: &Value) -> Option<Key> {
    controller(object).map(|owner| owner.key)
}
