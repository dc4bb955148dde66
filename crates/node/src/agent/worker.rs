//! The task of one pod on this node, from its first appearance to the removal of its folder.
//!
//! The worker compares the pod with the state of its containers, takes the next step, reports, and
//! waits for the next change. Every step can be repeated, because the agent may crash between any
//! two.

mod fields;
mod invalid;
mod resume;
mod volumes;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use mxjob_client::{Lenient, Raw};
use mxjob_machinery::error::chain;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Context, PodUpdate,
    container::{ContainerState, RestartPolicy, Tracked},
    events::Level,
    limits,
    start::{self, Outcome},
    status,
    upkeep::Upkeep,
};
use crate::{
    clock,
    runtime::{Attempt, Error, Sandbox},
    state::{ExitRecord, Groups, PodRecord},
};

/// Delay before a failed step is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);

type ExitOf = (usize, Result<ExitRecord, Error>);

/// Runs one pod until it is removed.
pub(super) async fn run(context: Arc<Context>, mut updates: watch::Receiver<PodUpdate>) {
    let first = updates.borrow_and_update().clone();
    let PodUpdate::Present(pod) = first else { return };
    let mut worker = Worker::open(context, pod).await;
    loop {
        worker.step().await;
        let wake_at = worker.wake_at();
        tokio::select! {
            changed = updates.changed() => {
                if changed.is_err() {
                    return;
                }
                let newest = updates.borrow_and_update().clone();
                match newest {
                    PodUpdate::Present(pod) => worker.pod = pod,
                    PodUpdate::Gone => break,
                }
            }
            Some((index, exit)) = worker.exits.next(), if !worker.exits.is_empty() => {
                worker.exited(index, exit);
            }
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
        }
    }
    worker.clean_up().await;
}

/// Removes a pod that was deleted from the API: kills its processes and removes its folder. Retries
/// until it succeeds.
pub(super) async fn remove(sandbox: Sandbox) {
    loop {
        let again = sandbox.clone();
        match tokio::task::spawn_blocking(move || again.remove()).await {
            Ok(Ok(())) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "cannot remove a pod; will retry");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Removes an unreadable pod that is being deleted, from the machine and from the API.
pub(super) async fn remove_unreadable(context: &Context, pod: Raw, sandbox: Option<Sandbox>) {
    if let Some(sandbox) = sandbox {
        remove(sandbox).await;
    }
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Lenient<Pod>> = Api::namespaced(context.client.clone(), &namespace);
    let parameters = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions { uid: pod.uid(), resource_version: None });
    loop {
        match api.delete(&pod.name_any(), &parameters).await {
            Ok(_) => return,
            // The pod is deleted, or another pod has its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(%error, pod = %pod.name_any(), "cannot remove a deleted pod");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

async fn start_one(
    context: &Context,
    pod: &Pod,
    sandbox: &Sandbox,
    index: usize,
    name: String,
    attempt: u32,
) -> (usize, Outcome) {
    (index, start::container(context, pod, sandbox, &name, attempt).await)
}

struct Worker {
    context: Arc<Context>,
    pod: Arc<Pod>,
    /// `None` until it is created, and for a pod that was finished before.
    sandbox: Option<Sandbox>,
    containers: Vec<Tracked>,
    policy: RestartPolicy,
    exits: FuturesUnordered<BoxFuture<'static, ExitOf>>,
    start_time: Timestamp,
    /// The last known status in the API.
    reported: Value,
    /// When to retry a failed step.
    retry_at: Option<Instant>,
    /// The grace period in seconds, once the containers were requested to end.
    terminating: Option<u64>,
    /// The reason and message of a pod that the node ends: it was active for longer than its
    /// `activeDeadlineSeconds`, or it was evicted.
    ended_by_node: Option<(&'static str, String)>,
    upkeep: Upkeep,
    /// The pod was finished when this worker started, so nothing is started.
    finished_before: bool,
    /// The pod was removed from the API by this worker.
    deleted: bool,
}

impl Worker {
    async fn open(context: Arc<Context>, pod: Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref();
        let policy = RestartPolicy::of(spec.and_then(|spec| spec.restart_policy.as_deref()));
        let tracked = |init| {
            move |one: &k8s_openapi::api::core::v1::Container| Tracked::new(one.name.clone(), init)
        };
        let containers = spec
            .iter()
            .flat_map(|spec| {
                let init = spec.init_containers.iter().flatten().map(tracked(true));
                init.chain(spec.containers.iter().map(tracked(false)))
            })
            .collect();
        let reported = pod
            .status
            .as_ref()
            .and_then(|status| serde_json::to_value(status).ok())
            .unwrap_or_default();
        let start_time = pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref())
            .map_or_else(clock::now, |time| time.0);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let finished_before = matches!(phase, Some("Succeeded" | "Failed"));
        let upkeep = Upkeep::new(context.config.volume_interval);
        let mut worker = Self {
            context,
            pod,
            sandbox: None,
            containers,
            policy,
            exits: FuturesUnordered::new(),
            start_time,
            reported,
            retry_at: None,
            terminating: None,
            ended_by_node: None,
            upkeep,
            finished_before,
            deleted: false,
        };
        worker.resume().await;
        worker.fail_if_refused();
        worker
    }

    fn found(&mut self, index: usize, attempt: Attempt) {
        // A pod that the node ends is not restarted.
        let policy = if self.ended_by_node.is_some() { RestartPolicy::Never } else { self.policy };
        let Some(container) = self.containers.get_mut(index) else { return };
        match attempt {
            Attempt::NotStarted => {}
            Attempt::Ended(exit) => container.ended(exit, policy, Instant::now()),
            Attempt::Running(running) => {
                let running = Arc::new(running);
                let waiting = Arc::clone(&running);
                self.exits.push(async move { (index, waiting.wait().await) }.boxed());
                container.state = ContainerState::Running(running);
            }
        }
    }

    fn exited(&mut self, index: usize, exit: Result<ExitRecord, Error>) {
        let exit = exit.unwrap_or_else(|error| {
            let (pod, error) = (self.pod.name_any(), chain(&error));
            tracing::error!(error, pod, "cannot read how a container ended; reported it as lost");
            ExitRecord::lost(None, clock::now())
        });
        self.found(index, Attempt::Ended(exit));
        self.report_back_off(index);
    }

    fn report_back_off(&self, index: usize) {
        let Some(container) = self.containers.get(index) else { return };
        if let (ContainerState::Backoff { .. }, None) = (&container.state, self.terminating) {
            let message = format!("Back-off restarting failed container {}", container.name);
            self.context.events.pod(&self.pod, Level::Warning, "BackOff", message);
        }
    }

    /// Takes the steps that are due, and reports the status.
    async fn step(&mut self) {
        self.retry_at = None;
        if self.deleted {
            return;
        }
        self.check_deadline();
        self.keep_volumes().await;
        if self.pod.metadata.deletion_timestamp.is_some() || self.ended_by_node.is_some() {
            self.terminate();
        } else if !self.finished_before {
            while self.start_due().await {}
        }
        if !self.finished_before {
            self.report().await;
        }
        if self.pod.metadata.deletion_timestamp.is_some() && !self.is_running() {
            self.delete().await;
        }
    }

    /// When the pod's `activeDeadlineSeconds` end.
    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        self.start_time.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn check_deadline(&mut self) {
        let is_final = self.finished_before || status::phase(&self.containers).is_final();
        if self.ended_by_node.is_some()
            || is_final
            || self.deadline().is_none_or(|end| end > clock::now())
        {
            return;
        }
        let (reason, message) = status::DEADLINE_EXCEEDED;
        self.ended_by_node = Some((reason, message.to_owned()));
        self.context.events.pod(&self.pod, Level::Normal, reason, message.to_owned());
    }

    /// Starts the containers that are due: init containers one after the other, then the others
    /// together. Returns whether a state changed, so that more may be due.
    async fn start_due(&mut self) -> bool {
        if self.terminating.is_some() || status::phase(&self.containers).is_final() {
            return false;
        }
        let now = Instant::now();
        let next_init = self.containers.iter().position(|one| one.init && !one.succeeded());
        let candidates = match next_init {
            Some(index) => index..index + 1,
            None => 0..self.containers.len(),
        };
        let mut due = Vec::new();
        for index in candidates {
            if let Some(container) = self.containers.get_mut(index)
                && container.is_due(now)
            {
                due.push((index, container.name.clone(), container.attempt));
            }
        }
        if due.is_empty() || !self.prepare().await {
            return false;
        }
        let Some(sandbox) = self.sandbox.clone() else { return false };
        let mut starts = Vec::new();
        for (index, name, attempt) in due {
            starts.push(start_one(&self.context, &self.pod, &sandbox, index, name, attempt));
        }
        let outcomes = futures_util::future::join_all(starts).await;
        let mut progress = false;
        for (index, outcome) in outcomes {
            match outcome {
                Outcome::Attempt(attempt) => {
                    self.found(index, attempt);
                    self.report_back_off(index);
                    progress = true;
                }
                Outcome::Wait(reason, message) => {
                    if let Some(container) = self.containers.get_mut(index) {
                        // One event for each message, not for each attempt.
                        if !container.waits_with(&message) {
                            let (event, text) = start::waiting_event(reason, &message);
                            self.context.events.pod(&self.pod, Level::Warning, event, text);
                        }
                        let retry_at = Some(Instant::now() + RETRY_DELAY);
                        container.state =
                            ContainerState::Waiting { reason, message: Some(message), retry_at };
                    }
                }
            }
        }
        progress
    }

    /// The pod's address, and the content of its hosts file.
    async fn names(&mut self) -> Option<(Ipv4Addr, String)> {
        let (names, pod) = (Arc::clone(&self.context.names), Arc::clone(&self.pod));
        tokio::task::spawn_blocking(move || names.of_pod(&pod)).await.ok().flatten()
    }

    /// Creates the pod's sandbox. Returns whether it exists.
    async fn prepare(&mut self) -> bool {
        if self.sandbox.is_some() {
            return true;
        }
        // Pods with an invalid uid have failed before.
        let Some(uid) = self.pod.uid().and_then(|uid| uid.parse().ok()) else { return false };
        let Some((address, hosts)) = self.names().await else {
            self.retry_at = Some(Instant::now() + RETRY_DELAY);
            return false;
        };
        let record = PodRecord {
            namespace: self.pod.namespace().unwrap_or_default(),
            name: self.pod.name_any(),
            uid,
            address,
            host_network: self.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true),
            cgroup: None,
            groups: Groups::default(),
            limits: limits::of_pod(&self.pod, self.context.config.pod_pids_limit),
        };
        let (runtime, content) = (self.context.runtime.clone(), hosts.clone());
        match tokio::task::spawn_blocking(move || runtime.prepare(record, &content)).await {
            Ok(Ok(sandbox)) => {
                self.context.names.keep_updated(&sandbox, &hosts);
                self.sandbox = Some(sandbox);
                self.report_fields();
                true
            }
            Ok(Err(error)) => {
                let message = chain(&error);
                tracing::error!(error = %message, "cannot create the sandbox of a pod");
                self.context.events.pod(
                    &self.pod,
                    Level::Warning,
                    "FailedCreatePodSandBox",
                    message,
                );
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
                false
            }
            Err(error) => {
                tracing::error!(%error, pod = %self.pod.name_any(), "creating the sandbox of a pod panicked");
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
                false
            }
        }
    }

    /// Requests the containers to end, again for each shorter grace period.
    fn terminate(&mut self) {
        let meta = &self.pod.metadata;
        let of_spec = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let of_eviction = self.is_evicted().then_some(0);
        let grace = of_eviction.or(meta.deletion_grace_period_seconds).or(of_spec).unwrap_or(30);
        let grace = u64::try_from(grace).unwrap_or_default();
        if self.terminating.is_some_and(|known| known <= grace) {
            return;
        }
        let first = self.terminating.replace(grace).is_none();
        for container in &self.containers {
            let ContainerState::Running(running) = &container.state else { continue };
            if let Err(error) = running.terminate(grace) {
                let (pod, container) = (self.pod.name_any(), &container.name);
                tracing::error!(%error, pod, container, "cannot stop a container; will retry");
                self.terminating = None;
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
            }
            if first {
                let message = format!("Stopping container {}", container.name);
                self.context.events.pod(&self.pod, Level::Normal, "Killing", message);
            }
        }
    }

    fn is_running(&self) -> bool {
        self.containers.iter().any(|one| matches!(one.state, ContainerState::Running(_)))
    }

    /// Writes the status if it changed.
    async fn report(&mut self) {
        let facts = status::StatusFacts {
            pod: &self.pod,
            containers: &self.containers,
            address: self.sandbox.as_ref().map(Sandbox::address),
            host_ip: &self.context.host_ip,
            start_time: self.start_time,
            ended_by_node: self.ended_by_node.as_ref().filter(|_| !self.is_running()),
        };
        let now = status::status(&facts, &self.reported, clock::now());
        if now == self.reported {
            return;
        }
        // With the uid another pod of the same name does not get this status.
        let patch = json!({ "metadata": { "uid": self.pod.uid() }, "status": now });
        match self
            .api()
            .patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => self.reported = now,
            // A conflict is retried: if another pod has the name, the watch reports the deletion of
            // this one soon.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => {
                tracing::warn!(%error, pod = %self.pod.name_any(), "cannot report a pod's status");
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
            }
        }
    }

    /// Removes the API object, after all containers have ended.
    async fn delete(&mut self) {
        let parameters = DeleteParams::default()
            .grace_period(0)
            .preconditions(Preconditions { uid: self.pod.uid(), resource_version: None });
        match self.api().delete(&self.pod.name_any(), &parameters).await {
            Ok(_) => self.deleted = true,
            Err(kube::Error::Api(status)) if status.is_not_found() => self.deleted = true,
            Err(error) => {
                tracing::warn!(%error, pod = %self.pod.name_any(), "cannot remove a deleted pod");
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
            }
        }
    }

    /// After the pod was deleted from the API: kills its containers and removes its folder.
    async fn clean_up(mut self) {
        for container in &self.containers {
            if let ContainerState::Running(running) = &container.state
                && let Err(error) = running.terminate(0)
            {
                let (pod, container) = (self.pod.name_any(), &container.name);
                tracing::error!(%error, pod, container, "cannot kill a container");
            }
        }
        while self.exits.next().await.is_some() {}
        self.context.tokens.forget(self.pod.metadata.uid.as_deref().unwrap_or_default());
        if let Some(sandbox) = self.sandbox {
            remove(sandbox).await;
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let due = self.containers.iter().filter_map(Tracked::due_at);
        let deadline = self.deadline().map(|end| {
            let left = Duration::try_from(end.duration_since(clock::now())).unwrap_or_default();
            Instant::now() + left
        });
        let due = due.chain(deadline).chain(self.volumes_due_at()).min();
        let due = if self.terminating.is_some() || self.finished_before { None } else { due };
        due.into_iter().chain(self.retry_at).min()
    }

    fn api(&self) -> Api<Lenient<Pod>> {
        let namespace = self.pod.namespace().unwrap_or_default();
        Api::namespaced(self.context.client.clone(), &namespace)
    }
}
