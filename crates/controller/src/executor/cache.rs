//! What the controller knows: jobs, their pods and services, and what could not be made.
//!
//! Reconciles read here and nowhere else. One lock covers all of it and is held for a look-up or a change of one object, never across a
//! request.

use super::document::{JobDocument, Refused, Seen, Unreadable};
use super::ledger::{Decided, Ledger};
use super::mirror::Mirror;
use super::object::{Identity, Key, controller};
use super::requests::Child;
use crate::admission::{Admission, WaitKind, Waiting};
use crate::metrics::{self, Metrics};
use crate::plan::{Problem, Snapshot};
use crate::pod_group;
use crate::view::{PodView, ServiceView};
use jiff::Timestamp;
use mxjob_api::labels;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The resources that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// The jobs.
    Jobs,
    /// What they own.
    Children(Child),
    /// The nodes; followed only where the controller admits jobs.
    Nodes,
    /// The priority classes, likewise.
    PriorityClasses,
}

impl Resource {
    /// Whether it lies outside of namespaces.
    pub(super) fn is_of_cluster(self) -> bool {
        matches!(self, Self::Nodes | Self::PriorityClasses)
    }
}

/// The controller's knowledge.
#[derive(Debug, Default)]
pub(super) struct Cache {
    state: Mutex<State>,
    /// Told when a new decision about the line may come out differently.
    line: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    jobs: Mirror<Seen>,
    pods: Mirror<Arc<PodView>>,
    services: Mirror<Arc<ServiceView>>,
    groups: Mirror<Arc<pod_group::View>>,
    problems: HashMap<Key, Vec<Problem>>,
    /// Who holds and who waits for room, where the controller admits jobs.
    ledger: Option<Ledger>,
    /// The state in which each job is counted.
    states: HashMap<Key, metrics::State>,
}

/// What is known under the name of a job.
pub(super) enum Look {
    /// Nothing to look after, or not yet.
    Nothing,
    /// A job, what belongs to it, and its pod group.
    Job(Arc<JobDocument>, Box<Snapshot>, Option<Arc<pod_group::View>>),
    /// A job that slipped past admission.
    Refused(Arc<Refused>),
    /// A job that cannot be read and is left alone.
    Unreadable(Arc<Unreadable>),
}

/// A change that a watch tells of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// A relist begins.
    ListBegins,
    /// A relist brings this.
    Listed(&'a Value),
    /// A relist is complete.
    ListEnds,
    /// This is new or has changed.
    Applied(&'a Value),
    /// This is gone.
    Deleted(&'a Value),
}

impl Cache {
    /// An empty one. `admits`: whether the controller decides which jobs may start; its pods are then to be all there are, for all take room.
    pub(super) fn new(admits: bool, metrics: Metrics) -> Self {
        let state = State { ledger: admits.then(Ledger::default), ..State::default() };
        Self { state: Mutex::new(state), line: Notify::new(), metrics }
    }

    /// Takes in what a watch tells; gives the jobs that are concerned.
    pub(super) fn take_in(&self, resource: Resource, change: Change<'_>) -> Vec<Key> {
        let state = &mut *self.state();
        match resource {
            Resource::Jobs => {
                let keys =
                    take_in(&mut state.jobs, change, |value| Some(Seen::read(value)), job_key);
                for key in &keys {
                    self.book(state, key);
                }
                keys
            }
            Resource::Children(Child::Pod) => {
                let mut change = change;
                if let Some(ledger) = &mut state.ledger {
                    if ledger.pod(change) && ledger.has_line() {
                        self.line.notify_one();
                    }
                    match change {
                        Change::Listed(pod) if !is_labelled(pod) => return Vec::new(),
                        Change::Applied(pod) if !is_labelled(pod) => change = Change::Deleted(pod),
                        _ => {}
                    }
                }
                take_in(
                    &mut state.pods,
                    change,
                    |value| PodView::read(value).map(Arc::new),
                    owner_key,
                )
            }
            Resource::Nodes | Resource::PriorityClasses => {
                if let Some(ledger) = &mut state.ledger {
                    match resource {
                        Resource::Nodes => ledger.node(change),
                        _ => ledger.class(change),
                    }
                    if ledger.has_line() {
                        self.line.notify_one();
                    }
                }
                Vec::new()
            }
            Resource::Children(Child::Service) => take_in(
                &mut state.services,
                change,
                |value| ServiceView::read(value).map(Arc::new),
                owner_key,
            ),
            Resource::Children(Child::PodGroup(_)) => take_in(
                &mut state.groups,
                change,
                |value| pod_group::View::read(value).map(Arc::new),
                owner_key,
            ),
        }
    }

    /// Takes in the server's answer to a write of our own.
    pub(super) fn wrote(&self, resource: Resource, object: &Value) {
        let Some(identity) = Identity::read(object) else { return };
        let owner = controller(object);
        let now = Instant::now();
        let state = &mut *self.state();
        match resource {
            Resource::Jobs => {
                let key = identity.key.clone();
                state.jobs.wrote(identity, None, Seen::read(object), now);
                self.book(state, &key);
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
                if let Some(group) = pod_group::View::read(object) {
                    state.groups.wrote(identity, owner, Arc::new(group), now);
                }
            }
            // Not the controller's to write, as far as the ledger goes.
            Resource::Nodes | Resource::PriorityClasses => {}
        }
    }

    /// Takes in that the server does not have this object.
    pub(super) fn forget(&self, child: Child, key: &Key, uid: &str) {
        let state = &mut *self.state();
        match child {
            Child::Pod => state.pods.forget(key, uid),
            Child::Service => state.services.forget(key, uid),
            Child::PodGroup(_) => state.groups.forget(key, uid),
        }
    }

    /// Looks at a job and what belongs to it. Nothing, too, if it is not decided yet whether it may start: the decision has the job looked
    /// at again. `blind`: why nothing but the job itself can be seen.
    pub(super) fn look(&self, key: &Key, blind: Option<&str>) -> Look {
        let state = &mut *self.state();
        let document = match state.jobs.get(key) {
            Some(Seen::Job(document)) => document,
            Some(Seen::Refused(refused)) => return Look::Refused(refused),
            Some(Seen::Unreadable(unreadable)) => return Look::Unreadable(unreadable),
            Some(Seen::Finished) => return Look::Nothing,
            None => {
                state.problems.remove(key);
                return Look::Nothing;
            }
        };
        let admission = match (blind, &state.ledger) {
            (Some(why), _) => Admission::Waiting(Waiting {
                kind: WaitKind::Obstructed,
                message: format!("cannot go on: {why}"),
            }),
            (None, None) => Admission::Admitted,
            (None, Some(ledger)) => match ledger.admission(&document.job) {
                Some(admission) => admission,
                None => return Look::Nothing,
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
            admission,
        });
        let group = state.groups.owned_by(uid, now).into_iter();
        let group = group.into_iter().find(|group| group.name == document.job.name);
        Look::Job(document, snapshot, group)
    }

    /// The names of all jobs.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.state().jobs.keys().cloned().collect()
    }

    /// Notes what could not be made in the last try; nothing, if all could.
    pub(super) fn set_problems(&self, key: &Key, mut problems: Vec<Problem>) {
        problems.sort();
        let state = &mut *self.state();
        if problems.is_empty() {
            state.problems.remove(key);
        } else {
            state.problems.insert(key.clone(), problems);
        }
    }

    /// Decides about the jobs in line.
    pub(super) fn decide(&self, now: Timestamp) -> Decided {
        let state = &mut *self.state();
        state.ledger.as_mut().map(|ledger| ledger.decide(now, Instant::now())).unwrap_or_default()
    }

    /// Waits until a new decision may come out differently. Safe to cancel.
    pub(super) async fn line_moved(&self) {
        self.line.notified().await;
    }

    /// Tells the ledger and the metrics what a job is like now.
    fn book(&self, state: &mut State, key: &Key) {
        let job = state.jobs.get(key);
        let job = job.as_ref().and_then(Seen::job);
        let is_in = job.map(|document| metrics::State::of(&document.job));
        let was_in = match is_in {
            Some(is_in) => state.states.insert(key.clone(), is_in),
            None => state.states.remove(key),
        };
        self.metrics.moved(&key.namespace, was_in, is_in);
        if was_in.is_some() && is_in.is_none() {
            self.metrics.deleted(&key.namespace);
        }
        if let Some(ledger) = &mut state.ledger {
            ledger.job(key, job.map(|document| &**document));
            if ledger.has_line() {
                self.line.notify_one();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

pub(super) fn take_in<V: Clone>(
    mirror: &mut Mirror<V>,
    change: Change<'_>,
    read: impl Fn(&Value) -> Option<V>,
    concerned: impl Fn(&Value) -> Option<Key>,
) -> Vec<Key> {
    match change {
        Change::ListBegins => {
            mirror.list_begins();
            Vec::new()
        }
        Change::ListEnds => mirror.list_ends(),
        Change::Listed(object) | Change::Applied(object) => {
            let (Some(identity), Some(value)) = (Identity::read(object), read(object)) else {
                return Vec::new();
            };
            let owner = controller(object);
            if matches!(change, Change::Listed(_)) {
                mirror.listed(identity, owner, value);
            } else {
                mirror.watched(identity, owner, value);
            }
            concerned(object).into_iter().collect()
        }
        Change::Deleted(object) => {
            if let Some(identity) = Identity::read(object) {
                mirror.deleted(&identity);
            }
            concerned(object).into_iter().collect()
        }
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
