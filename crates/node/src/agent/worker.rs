//! The task of one pod on this node, from its first appearance to the removal of its folder.
//!
//! The worker compares the pod with the state of its containers, takes the next step, reports, and
//! waits for the next change. Every step can be repeated, because the agent may crash between any
//! two.

mod begin;
mod end;
mod fields;
mod health;
mod invalid;
mod report;
mod resume;
mod volumes;

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Preconditions},
};
use mxjob_client::{Lenient, Raw};
use mxjob_machinery::error::chain;
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Context, PodUpdate,
    container::{ContainerState, RestartPolicy, Role, Tracked},
    events::Level,
    probes::{Addressed, MAX_REPORTS},
    status,
    upkeep::Upkeep,
};
use crate::{
    clock,
    runtime::{Attempt, Error, Sandbox},
    state::ExitRecord,
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
            Some(report) = worker.reports.1.recv() => worker.reported(report),
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
    /// The reports of the tasks beside the running attempts.
    reports: (mpsc::Sender<Addressed>, mpsc::Receiver<Addressed>),
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
        let init = |one: &Container| match one.restart_policy.as_deref() {
            Some("Always") => Tracked::new(one.name.clone(), Role::Sidecar),
            _ => Tracked::new(one.name.clone(), Role::Init),
        };
        let main = |one: &Container| Tracked::new(one.name.clone(), Role::Main);
        let containers = spec
            .iter()
            .flat_map(|spec| {
                let inits = spec.init_containers.iter().flatten().map(init);
                inits.chain(spec.containers.iter().map(main))
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
            reports: mpsc::channel(MAX_REPORTS),
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

    fn found(&mut self, index: usize, attempt: Attempt, is_resumed: bool) {
        // A pod that the node ends is not restarted.
        let policy = if self.ended_by_node.is_some() { RestartPolicy::Never } else { self.policy };
        match attempt {
            Attempt::NotStarted => {}
            Attempt::Ended(exit) => {
                if let Some(container) = self.containers.get_mut(index) {
                    container.ended(exit, policy, Instant::now());
                }
            }
            Attempt::Running(running) => {
                let live = self.live(index, running, is_resumed);
                let waiting = Arc::clone(&live.running);
                self.exits.push(async move { (index, waiting.wait().await) }.boxed());
                if let Some(container) = self.containers.get_mut(index) {
                    container.state = ContainerState::Running(live);
                }
            }
        }
    }

    fn exited(&mut self, index: usize, exit: Result<ExitRecord, Error>) {
        let exit = exit.unwrap_or_else(|error| {
            let (pod, error) = (self.pod.name_any(), chain(&error));
            tracing::error!(error, pod, "cannot read how a container ended; reported it as lost");
            ExitRecord::lost(None, clock::now())
        });
        self.found(index, Attempt::Ended(exit), false);
        if self.is_ending()
            && let Some(container) = self.containers.get_mut(index)
            && container.role == Role::Sidecar
        {
            container.give_up();
        }
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
            self.end_sidecars();
        }
        self.step_stops();
        self.release_devices();
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

    fn is_running(&self) -> bool {
        self.containers.iter().any(Tracked::is_running)
    }

    /// Frees the devices of a pod that has ended for good.
    fn release_devices(&self) {
        let is_final = self.finished_before
            || self.ended_by_node.is_some()
            || status::phase(&self.containers).is_final();
        if let (true, false, Some(uid)) = (is_final, self.is_running(), self.pod.uid()) {
            self.context.devices.pod_ended(&uid);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let starts = self.containers.iter().filter_map(Tracked::due_at).min();
        let starts = starts.filter(|_| !self.is_ending());
        let is_over = self.ended_by_node.is_some() || status::phase(&self.containers).is_final();
        let deadline = self.deadline().map(|end| {
            let left = Duration::try_from(end.duration_since(clock::now())).unwrap_or_default();
            Instant::now() + left
        });
        let deadline =
            deadline.filter(|_| !is_over && !self.finished_before && self.terminating.is_none());
        let volumes = self.volumes_due_at().filter(|_| !self.finished_before);
        let due = starts.into_iter().chain(deadline).chain(volumes);
        due.chain(self.retry_at).chain(self.stops_at()).min()
    }

    fn api(&self) -> Api<Lenient<Pod>> {
        let namespace = self.pod.namespace().unwrap_or_default();
        Api::namespaced(self.context.client.clone(), &namespace)
    }
}
