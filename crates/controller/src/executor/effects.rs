//! Carries a plan out.
//!
//! The order of effects is what makes a crash at any moment harmless:
//!
//! 1. A status that comes with removals is written first: it holds the reason and the count of what is removed, and if the job has changed
//!    since it was planned for, the write is refused and nothing happens at all.
//! 2. Services are made before pods, because a process may look a name up only once.
//! 3. Every answer goes into the cache before the next plan is made.

mod group;

use super::cache::{Cache, Resource};
use super::document::JobDocument;
use super::events::{Recorder, Subject};
use super::gate::Gate;
use super::object::{Identity, Key, controller};
use super::pace::Pace;
use super::requests::{self, Child, Requests};
use super::status;
use crate::executor::PodGroups;
use crate::metrics::Metrics;
use crate::patch::status_patch;
use crate::plan::{Event, EventKind, Plan, Problem, ReplicaId, Target};
use crate::pod_group::{self, Kind, Step};
use crate::standing::Standing;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use mxjob_api::{Job, labels, names};
use serde_json::{Value, json};

/// Requests of one job in flight at once: enough to fill a group commit, and a large job does not crowd out the others.
const PARALLEL: usize = 32;

/// What a reconcile works with.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) requests: Requests,
    pub(super) cache: Cache,
    pub(super) recorder: Recorder,
    pub(super) metrics: Metrics,
    pub(super) gate: Gate,
    pub(super) standing: Standing,
    pub(super) pace: Pace,
    /// The scheduler that is told of the jobs by pod groups, if one is.
    pub(super) scheduler: Option<PodGroups>,
    pub(super) now: fn() -> Timestamp,
}

/// Why a plan could not be carried out in full. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The job has changed since it was planned for.
    #[error("the job has changed since it was planned for")]
    Conflict,
    /// The status could not be written.
    #[error("writing the status")]
    Status(#[source] kube::Error),
    /// The job could not be deleted.
    #[error("deleting the finished job")]
    DeleteJob(#[source] kube::Error),
    /// An object could not be made.
    #[error("making {object}")]
    Create {
        /// `pod digits-worker-0`.
        object: String,
        /// What the server said.
        #[source]
        source: kube::Error,
    },
    /// An object could not be changed.
    #[error("changing {object}")]
    Change {
        /// `PodGroup digits`.
        object: String,
        /// What the server said.
        #[source]
        source: kube::Error,
    },
    /// There is an object of that name already.
    #[error("making {object}: there is one already")]
    Taken {
        /// `pod digits-worker-0`.
        object: String,
    },
    /// An object could not be removed.
    #[error("removing {object}")]
    Delete {
        /// `pod digits-worker-0`.
        object: String,
        /// What the server said.
        #[source]
        source: kube::Error,
    },
}

impl Error {
    /// Whether it is part of normal life: somebody else was faster, or an answer was lost.
    pub(super) fn is_expected(&self) -> bool {
        matches!(self, Self::Conflict | Self::Taken { .. })
    }
}

/// Carries a plan out; the first of several errors is given back. `marks` says whether new pods are members of the job's group.
pub(super) async fn carry_out(
    context: &Context,
    document: &JobDocument,
    plan: &Plan,
    group: &Step,
    marks: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let effects = Effects { context, document, job: &document.job, plan, group, marks, now };
    if plan.delete_job {
        return effects.delete_job().await;
    }
    let removes_group = matches!(group, Step::Remove(_));
    if plan.delete_pods.is_empty() && plan.delete_services.is_empty() && !removes_group {
        let (written, made) = tokio::join!(effects.write_status(), effects.create());
        return written.and(made);
    }
    effects.write_status().await?;
    let (removed, made) = tokio::join!(effects.delete(), effects.create());
    removed.and(made)
}

#[derive(Clone, Copy)]
struct Effects<'a> {
    context: &'a Context,
    document: &'a JobDocument,
    job: &'a Job,
    plan: &'a Plan,
    group: &'a Step,
    marks: bool,
    now: Timestamp,
}

impl Effects<'_> {
    async fn write_status(self) -> Result<(), Error> {
        let Some(next) = &self.plan.status else { return Ok(()) };
        let patch = status_patch(&self.document.resource_version, &self.document.status, next);
        status::write_status(self.context, self.subject(), &patch, self.now).await?;
        self.context.metrics.wrote(self.job, next, self.now);
        for event in &self.plan.events {
            self.context.recorder.tell(self.subject(), event, &self.now.to_string(), self.now);
        }
        Ok(())
    }

    async fn delete_job(self) -> Result<(), Error> {
        let version = &self.document.resource_version;
        match self.context.requests.delete_job(&self.key(), &self.job.uid, version).await {
            Ok(answer) => {
                // With a finalizer on it the job stays for a while, marked as leaving.
                self.context.cache.wrote(Resource::Jobs, &answer);
                Ok(())
            }
            Err(error) if requests::is_not_found(&error) => Ok(()),
            Err(error) if requests::is_conflict(&error) => Err(Error::Conflict),
            Err(error) => Err(Error::DeleteJob(error)),
        }
    }

    /// Makes or changes the pod group, makes the services, then the pods; none of what comes after one that is lacking.
    async fn create(self) -> Result<(), Error> {
        let mut failures: Vec<Error> = self.tend_group().await.err().into_iter().collect();
        // A group that could not be changed is there.
        let has_group = failures.is_empty() || !matches!(self.group, Step::Create(_));
        if has_group {
            let before = failures.len();
            failures.extend(self.create_all(Child::Service, &self.plan.create_services).await);
            if failures.len() == before {
                failures.extend(self.create_all(Child::Pod, &self.plan.create_pods).await);
            }
        }
        let problems = failures.iter().filter_map(problem).collect();
        self.context.cache.set_problems(&self.key(), problems);
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    async fn create_all(self, child: Child, replicas: &[ReplicaId]) -> Vec<Error> {
        let requests =
            replicas.iter().map(|replica| self.create_one(child, *replica).boxed()).collect();
        in_parallel(requests).await
    }

    /// Makes one object. It is built when its turn comes: the environment of each pod names all replicas, so all pods of a large
    /// job at once would be megabytes.
    async fn create_one(self, child: Child, replica: ReplicaId) -> Result<(), Error> {
        let object = match child {
            Child::Service => mxjob_api::pods::service(self.job, replica.role, replica.index),
            Child::Pod | Child::PodGroup(_) => self.plan.pod(self.job, replica),
        };
        // Only a role that the job does not have gives none, and a plan has no such role.
        let Some(mut object) = object else { return Ok(()) };
        if let (Child::Pod, true, Some(scheduler)) = (child, self.marks, &self.context.scheduler) {
            pod_group::mark(scheduler, self.job, replica.role, &mut object);
        }
        let name = names::pod_name(&self.job.name, replica.role, replica.index);
        self.post(child, &name, &object).await
    }

    /// Posts one object and tells of it.
    async fn post(self, child: Child, name: &str, object: &Value) -> Result<(), Error> {
        let named = || format!("{} {name}", child.word());
        let reason = |verb: &str| format!("{verb}Create{}", child.kind());
        let error = match self.context.requests.create(child, &self.job.namespace, object).await {
            Ok(answer) => {
                self.context.cache.wrote(Resource::Children(child), &answer);
                let uid = Identity::read(&answer).map(|made| made.uid).unwrap_or_default();
                let message = format!("Created {}", told(child, name));
                self.tell(EventKind::Normal, reason("Successful"), message, &uid);
                return Ok(());
            }
            Err(error) => error,
        };
        if requests::is_already_exists(&error) && self.is_ours(child, name).await {
            // Made by a request whose answer was lost. The cache has it now, or the watch is about to bring it.
            return Err(Error::Taken { object: named() });
        }
        // What is refused to all replicas in the same words is told once.
        let message = format!("Error creating: {}", requests::describe(&error));
        self.tell(EventKind::Warning, reason("Failed"), message, "");
        Err(Error::Create { object: named(), source: error })
    }

    /// Whether the object of that name is this very job's; if so the cache takes it in.
    async fn is_ours(self, child: Child, name: &str) -> bool {
        let Ok(object) = self.context.requests.get(child, &self.job.namespace, name).await else {
            return false;
        };
        let is_labelled = object
            .pointer("/metadata/labels")
            .and_then(|all| all.get(labels::OPERATOR_NAME))
            .is_some();
        let is_owned = controller(&object).is_some_and(|owner| owner.uid == self.job.uid);
        match child {
            Child::PodGroup(_) if is_owned && !is_labelled => {
                // Made by an operator that did not label them.
                let uid = object.pointer("/metadata/uid");
                let labels = pod_group::group_labels(self.job);
                let patch = json!({ "metadata": { "uid": uid, "labels": labels } });
                self.patch_group(child, name, &patch).await.is_ok()
            }
            _ if is_owned && is_labelled => {
                self.context.cache.wrote(Resource::Children(child), &object);
                true
            }
            _ => false,
        }
    }

    async fn delete(self) -> Result<(), Error> {
        let mut requests =
            Vec::with_capacity(self.plan.delete_pods.len() + self.plan.delete_services.len());
        for target in &self.plan.delete_pods {
            requests.push(self.delete_one(Child::Pod, target).boxed());
        }
        for target in &self.plan.delete_services {
            requests.push(self.delete_one(Child::Service, target).boxed());
        }
        if let (Some(scheduler), Step::Remove(target)) = (&self.context.scheduler, self.group) {
            requests.push(self.delete_one(Child::PodGroup(Kind::of(scheduler)), target).boxed());
        }
        in_parallel(requests).await.into_iter().next().map_or(Ok(()), Err)
    }

    async fn delete_one(self, child: Child, target: &Target) -> Result<(), Error> {
        let reason = |verb: &str| format!("{verb}Delete{}", child.kind());
        let error = match self.context.requests.delete(child, &self.job.namespace, target).await {
            Ok(answer) => {
                if answer.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
                {
                    self.context.cache.wrote(Resource::Children(child), &answer);
                } else if matches!(child, Child::PodGroup(_)) {
                    // Nothing waits for its end, so it is gone.
                    self.forget(child, target);
                }
                let message = format!("Deleted {}", told(child, &target.name));
                self.tell(EventKind::Normal, reason("Successful"), message, &target.uid);
                return Ok(());
            }
            Err(error) => error,
        };
        if requests::is_not_found(&error)
            || requests::is_conflict(&error) && self.is_no_more(child, target).await
        {
            self.forget(child, target);
            return Ok(());
        }
        let message = format!("Error deleting: {}", requests::describe(&error));
        self.tell(EventKind::Warning, reason("Failed"), message, &target.uid);
        Err(Error::Delete { object: format!("{} {}", child.word(), target.name), source: error })
    }

    /// Whether a conflict means that another object has the name by now. It may as well mean that this one was changed by somebody at
    /// the same moment, and what is taken for gone is never looked at again.
    async fn is_no_more(self, child: Child, target: &Target) -> bool {
        match self.context.requests.get(child, &self.job.namespace, &target.name).await {
            Ok(object) => Identity::read(&object).is_none_or(|found| found.uid != target.uid),
            Err(error) => requests::is_not_found(&error),
        }
    }

    fn forget(self, child: Child, target: &Target) {
        let key = Key { namespace: self.job.namespace.clone(), name: target.name.clone() };
        self.context.cache.forget(child, &key, &target.uid);
    }

    fn tell(self, kind: EventKind, reason: String, message: String, occasion: &str) {
        self.context.recorder.tell(
            self.subject(),
            &Event { kind, reason, message },
            occasion,
            self.now,
        );
    }

    fn key(self) -> Key {
        Key { namespace: self.job.namespace.clone(), name: self.job.name.clone() }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { namespace: &self.job.namespace, name: &self.job.name, uid: &self.job.uid }
    }
}

/// Does some requests, not too many at once; gives back what failed.
async fn in_parallel(requests: Vec<BoxFuture<'_, Result<(), Error>>>) -> Vec<Error> {
    let results: Vec<Result<(), Error>> =
        stream::iter(requests).buffer_unordered(PARALLEL).collect().await;
    results.into_iter().filter_map(Result::err).collect()
}

fn told(child: Child, name: &str) -> String {
    format!("{}: {name}", child.word())
}

/// What the job's status says of a failure: only what the server refuses, not that it cannot be reached.
fn problem(error: &Error) -> Option<Problem> {
    match error {
        Error::Create { object, source: source @ kube::Error::Api(_) } => {
            Some(Problem { object: object.clone(), message: requests::describe(source) })
        }
        _ => None,
    }
}
