//! Carries a plan out.
//!
//! The order of effects makes a crash at any moment harmless:
//!
//! 1. A status that comes with deletions is written first: it holds the reason and the count of
//!    what is deleted. If the job has changed since the plan was made, the server refuses the write
//!    and nothing happens at all.
//! 2. Services are created before pods, because a process may look a name up only once.
//! 3. Every answer goes into the cache before the next plan is made.

mod announce;
mod group;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use mxjob_api::{Job, labels, names};
use mxjob_machinery::pod_fields;
use serde_json::{Value, json};

use super::cache::Resource;
use super::context::Context;
use super::error::ReconcileError;
use super::events::JobRef;
use super::object::{Identity, Key, controller};
use super::requests::{self, Child};
use super::status;
use super::stored_job::JobDocument;
use crate::event::{Event, EventKind};
use crate::plan::{Plan, Problem, ReplicaId};
use crate::pod_group::member::{self, Kind};
use crate::pod_group::{self, GroupAction};
use crate::target::Target;
use crate::view::STOP_DEADLINE_SECONDS;
use announce::{CREATED, DELETED, Done, STOPPED};

/// Maximum of parallel requests for one job: enough to fill a group commit, and a large job does
/// not crowd out the others.
const MAX_PARALLEL_REQUESTS: usize = 32;

/// Carries a plan out and returns the first error. `is_gang`: whether new pods are members of the
/// job's group.
pub(super) async fn carry_out(
    context: &Context,
    document: &JobDocument,
    plan: &Plan,
    group: &GroupAction,
    is_gang: bool,
    now: Timestamp,
) -> Result<(), ReconcileError> {
    let effects = Effects { context, document, job: &document.job, plan, group, is_gang, now };
    if plan.delete_job {
        return effects.delete_job().await;
    }
    let removes_group = matches!(group, GroupAction::Remove(_));
    let ends_pods = !(plan.delete_pods.is_empty() && plan.stop_pods.is_empty());
    if !ends_pods && plan.delete_services.is_empty() && !removes_group {
        let (written, created) = tokio::join!(effects.write_status(), effects.create());
        return written.and(created);
    }
    effects.write_status().await?;
    let (removed, created) = tokio::join!(effects.delete(), effects.create());
    removed.and(created)
}

#[derive(Clone, Copy)]
struct Effects<'a> {
    context: &'a Context,
    document: &'a JobDocument,
    job: &'a Job,
    plan: &'a Plan,
    group: &'a GroupAction,
    is_gang: bool,
    now: Timestamp,
}

impl Effects<'_> {
    async fn write_status(self) -> Result<(), ReconcileError> {
        let Some(next) = &self.plan.status else { return Ok(()) };
        let patch =
            status::status_patch(&self.document.resource_version, &self.document.status, next);
        status::write_status(self.context, self.job_ref(), &patch, self.now).await?;
        self.context.metrics.wrote(self.job, next, self.now);
        for event in &self.plan.events {
            self.context.recorder.record(self.job_ref(), event, &self.now.to_string(), self.now);
        }
        Ok(())
    }

    async fn delete_job(self) -> Result<(), ReconcileError> {
        let version = &self.document.resource_version;
        match self.context.requests.delete_job(&self.key(), &self.job.uid, version).await {
            Ok(answer) => {
                // With a finalizer the job stays for a while, marked as terminating.
                self.context.cache.wrote(Resource::Jobs, &answer);
                Ok(())
            }
            Err(error) if requests::is_not_found(&error) => Ok(()),
            Err(error) if requests::is_conflict(&error) => Err(ReconcileError::Conflict),
            Err(error) => Err(ReconcileError::DeleteJob(error)),
        }
    }

    /// Creates or changes the pod group, then creates the services, then the pods. Each part is
    /// skipped if one before it failed.
    async fn create(self) -> Result<(), ReconcileError> {
        let mut failures: Vec<ReconcileError> =
            self.apply_group().await.err().into_iter().collect();
        // A group that could not be changed exists.
        let has_group = failures.is_empty() || !matches!(self.group, GroupAction::Create(_));
        if has_group {
            let before = failures.len();
            failures.extend(self.create_all(Child::Service, &self.plan.create_services).await);
            if failures.len() == before {
                self.report_fields();
                failures.extend(self.create_all(Child::Pod, &self.plan.create_pods).await);
            }
        }
        let problems = failures.iter().filter_map(problem).collect();
        self.context.cache.set_problems(&self.key(), problems);
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Reports the fields of new pods that their node does not honour. The events of one generation
    /// of the job have the same name, so only the first one is stored.
    fn report_fields(self) {
        if !self.context.process_node || self.plan.create_pods.is_empty() {
            return;
        }
        if let Some(message) = mxjob_api::pod_fields::check_job(self.job).summary() {
            let reason = pod_fields::FIELD_NOT_HONOURED.to_owned();
            self.record(EventKind::Warning, reason, message, &self.job.generation.to_string());
        }
    }

    async fn create_all(self, child: Child, replicas: &[ReplicaId]) -> Vec<ReconcileError> {
        let requests =
            replicas.iter().map(|replica| self.create_one(child, *replica).boxed()).collect();
        let (done, failures) = in_parallel(requests).await;
        self.announce(&CREATED, child, done);
        failures
    }

    /// Creates one object. It is built just before its request: the environment of each pod names
    /// all replicas, so all pods of a large job together would be megabytes.
    async fn create_one(
        self,
        child: Child,
        replica: ReplicaId,
    ) -> Result<Option<Done>, ReconcileError> {
        let object = match child {
            Child::Service => mxjob_api::pods::service(self.job, replica.role, replica.index),
            Child::Pod | Child::PodGroup(_) => self.plan.pod(self.job, replica),
        };
        // `None` means a role that the job does not have, and a plan has no such role.
        let Some(mut object) = object else { return Ok(None) };
        if let (Child::Pod, true, Some(scheduler)) = (child, self.is_gang, &self.context.scheduler)
        {
            member::mark(scheduler, self.job, replica.role, &mut object);
        }
        let name = names::pod_name(&self.job.name, replica.role, replica.index);
        self.post(child, &name, &object).await.map(Some)
    }

    /// Creates one object. Records an event about a failure; the caller announces a success.
    async fn post(self, child: Child, name: &str, object: &Value) -> Result<Done, ReconcileError> {
        let named = || format!("{} {name}", child.noun());
        let error = match self.context.requests.create(child, &self.job.namespace, object).await {
            Ok(answer) => {
                self.context.cache.wrote(Resource::Children(child), &answer);
                let uid = Identity::read(&answer).map(|made| made.uid).unwrap_or_default();
                return Ok(Done { name: name.to_owned(), uid });
            }
            Err(error) => error,
        };
        if requests::is_already_exists(&error) && self.is_ours(child, name).await {
            // Created by a request whose answer was lost. The cache has it now, or the watch will
            // bring it.
            return Err(ReconcileError::AlreadyExists { object: named() });
        }
        // Equal messages about several replicas become one event.
        let message = format!("Error creating: {}", requests::describe(&error));
        self.record(EventKind::Warning, format!("FailedCreate{}", child.kind()), message, "");
        Err(ReconcileError::Create { object: named(), source: error })
    }

    /// Whether the object of that name belongs to this very job; if so the cache stores it.
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
                // Created by an older operator that did not label them.
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

    async fn delete(self) -> Result<(), ReconcileError> {
        let group = match (&self.context.scheduler, self.group) {
            (Some(scheduler), GroupAction::Remove(target)) => {
                Some((Child::PodGroup(Kind::of(scheduler)), target))
            }
            _ => None,
        };
        let (pods, stopped, services, group) = tokio::join!(
            self.delete_all(Child::Pod, &self.plan.delete_pods),
            self.stop_all(&self.plan.stop_pods),
            self.delete_all(Child::Service, &self.plan.delete_services),
            async {
                match group {
                    Some((child, target)) => {
                        self.delete_all(child, std::slice::from_ref(target)).await
                    }
                    None => Vec::new(),
                }
            }
        );
        let failures = pods.into_iter().chain(stopped).chain(services).chain(group);
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    async fn delete_all(self, child: Child, targets: &[Target]) -> Vec<ReconcileError> {
        let requests =
            targets.iter().map(|target| self.delete_one(child, target).boxed()).collect();
        let (done, failures) = in_parallel(requests).await;
        self.announce(&DELETED, child, done);
        failures
    }

    async fn stop_all(self, targets: &[Target]) -> Vec<ReconcileError> {
        let requests = targets.iter().map(|target| self.stop_one(target).boxed()).collect();
        let (done, failures) = in_parallel(requests).await;
        self.announce(&STOPPED, Child::Pod, done);
        failures
    }

    /// Stops a pod without deleting it. Where that is not allowed, the pod is deleted: it would be
    /// restarted for ever.
    async fn stop_one(self, target: &Target) -> Result<Option<Done>, ReconcileError> {
        let patch = json!({
            "metadata": { "uid": target.uid },
            "spec": { "activeDeadlineSeconds": STOP_DEADLINE_SECONDS },
        });
        let namespace = &self.job.namespace;
        match self.context.requests.patch(Child::Pod, namespace, &target.name, &patch).await {
            Ok(answer) => {
                self.context.cache.wrote(Resource::Children(Child::Pod), &answer);
                Ok(Some(Done { name: target.name.clone(), uid: target.uid.clone() }))
            }
            Err(_) => self.delete_one(Child::Pod, target).await,
        }
    }

    async fn delete_one(
        self,
        child: Child,
        target: &Target,
    ) -> Result<Option<Done>, ReconcileError> {
        let error = match self.context.requests.delete(child, &self.job.namespace, target).await {
            Ok(answer) => {
                if answer.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
                {
                    self.context.cache.wrote(Resource::Children(child), &answer);
                } else if matches!(child, Child::PodGroup(_)) {
                    // Nothing waits for its deletion, so it is gone.
                    self.forget(child, target);
                }
                let (name, uid) = (target.name.clone(), target.uid.clone());
                return Ok(Some(Done { name, uid }));
            }
            Err(error) => error,
        };
        if requests::is_not_found(&error)
            || requests::is_conflict(&error) && self.is_gone(child, target).await
        {
            self.forget(child, target);
            return Ok(None);
        }
        let reason = format!("FailedDelete{}", child.kind());
        let message = format!("Error deleting: {}", requests::describe(&error));
        self.record(EventKind::Warning, reason, message, &target.uid);
        Err(ReconcileError::Delete {
            object: format!("{} {}", child.noun(), target.name),
            source: error,
        })
    }

    /// Whether a conflict means that another object has the name by now. It may also mean that this
    /// one was changed at the same moment, and an object that is treated as gone is never looked at
    /// again.
    async fn is_gone(self, child: Child, target: &Target) -> bool {
        match self.context.requests.get(child, &self.job.namespace, &target.name).await {
            Ok(object) => Identity::read(&object).is_none_or(|found| found.uid != target.uid),
            Err(error) => requests::is_not_found(&error),
        }
    }

    fn forget(self, child: Child, target: &Target) {
        let key = Key { namespace: self.job.namespace.clone(), name: target.name.clone() };
        self.context.cache.forget(child, &key, &target.uid);
    }

    fn record(self, kind: EventKind, reason: String, message: String, occasion: &str) {
        self.context.recorder.record(
            self.job_ref(),
            &Event { kind, reason, message },
            occasion,
            self.now,
        );
    }

    fn key(self) -> Key {
        Key { namespace: self.job.namespace.clone(), name: self.job.name.clone() }
    }

    fn job_ref(&self) -> JobRef<'_> {
        JobRef { namespace: &self.job.namespace, name: &self.job.name, uid: &self.job.uid }
    }
}

/// Runs the requests, some of them in parallel, and returns what they did and the errors.
async fn in_parallel(
    requests: Vec<BoxFuture<'_, Result<Option<Done>, ReconcileError>>>,
) -> (Vec<Done>, Vec<ReconcileError>) {
    let results: Vec<_> =
        stream::iter(requests).buffer_unordered(MAX_PARALLEL_REQUESTS).collect().await;
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => done.extend(one),
            Err(error) => failures.push(error),
        }
    }
    (done, failures)
}

/// What the job's status reports of a failure: only what the server refuses, not that it cannot be
/// reached.
fn problem(error: &ReconcileError) -> Option<Problem> {
    match error {
        ReconcileError::Create { object, source: source @ kube::Error::Api(_) } => {
            Some(Problem { object: object.clone(), message: requests::describe(source) })
        }
        _ => None,
    }
}
