//! What the controller knows: jobs, their pods and services, and what could not be made.
//!
//! Reconciles read here and nowhere else. One lock covers all of it and is held for a look-up or a change of one object, never across a
//! request.

use super::mirror::Mirror;
use super::object::{Identity, Key, controller};
use super::requests::Child;
use crate::admission::Admission;
use crate::memory::Memory;
use crate::plan::{Problem, Snapshot};
use crate::view::{PodView, ServiceView};
use mxjob_api::Job;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tracing::warn;

/// A job as it was last seen.
#[derive(Debug)]
pub(super) struct JobDocument {
    pub(super) job: Arc<Job>,
    pub(super) memory: Memory,
    /// The stored status, to patch.
    pub(super) status: Value,
    /// As text: only the server may interpret it.
    pub(super) resource_version: String,
}

/// The resources that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// The jobs.
    Jobs,
    /// What they own.
    Children(Child),
}

/// The controller's knowledge.
#[derive(Debug, Default)]
pub(super) struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: Mirror<Arc<JobDocument>>,
    pods: Mirror<Arc<PodView>>,
    services: Mirror<Arc<ServiceView>>,
    problems: HashMap<Key, Vec<Problem>>,
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
    /// Takes in what a watch tells; gives the jobs that are concerned.
    pub(super) fn take_in(&self, resource: Resource, change: Change<'_>) -> Vec<Key> {
        let state = &mut *self.state();
        match resource {
            Resource::Jobs => {
                take_in(&mut state.jobs, change, |value| read_job(value).map(Arc::new), job_key)
            }
            Resource::Children(Child::Pod) => take_in(
                &mut state.pods,
                change,
                |value| PodView::read(value).map(Arc::new),
                owner_key,
            ),
            Resource::Children(Child::Service) => take_in(
                &mut state.services,
                change,
                |value| ServiceView::read(value).map(Arc::new),
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
                if let Some(job) = read_job(object) {
                    state.jobs.wrote(identity, None, Arc::new(job), now);
                }
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
        }
    }

    /// Takes in that the server does not have this object.
    pub(super) fn forget(&self, child: Child, key: &Key, uid: &str) {
        let state = &mut *self.state();
        match child {
            Child::Pod => state.pods.forget(key, uid),
            Child::Service => state.services.forget(key, uid),
        }
    }

    /// A job and what belongs to it; `None` if there is no such job.
    pub(super) fn snapshot(&self, key: &Key) -> Option<(Arc<JobDocument>, Snapshot)> {
        let state = &mut *self.state();
        let Some(document) = state.jobs.get(key) else {
            state.problems.remove(key);
            return None;
        };
        let now = Instant::now();
        let snapshot = Snapshot {
            job: Arc::clone(&document.job),
            memory: document.memory.clone(),
            pods: state.pods.owned_by(&document.job.uid, now),
            services: state.services.owned_by(&document.job.uid, now),
            problems: state.problems.get(key).cloned().unwrap_or_default(),
            admission: Admission::Admitted,
        };
        Some((document, snapshot))
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

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_in<V: Clone>(
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

fn job_key(object: &Value) -> Option<Key> {
    Identity::read(object).map(|identity| identity.key)
}

fn owner_key(object: &Value) -> Option<Key> {
    controller(object).map(|owner| owner.key)
}

fn read_job(object: &Value) -> Option<JobDocument> {
    let job = match Job::from_value(object) {
        Ok(job) => Arc::new(job),
        Err(error) => {
            // Admission refuses such a job; one that is there all the same cannot be acted on.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            warn!(%error, cause, "job passed over");
            return None;
        }
    };
    let status = object.get("status").cloned().unwrap_or_default();
    let resource_version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    Some(JobDocument {
        job,
        memory: Memory::read(&status),
        status,
        resource_version: resource_version.unwrap_or_default().to_owned(),
    })
}
