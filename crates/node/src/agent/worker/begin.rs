//! Creates the sandbox of a pod and starts its containers.

use std::{net::Ipv4Addr, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use mxjob_machinery::error::chain;
use tokio::time::Instant;

use super::{ContainerState, RETRY_DELAY, Worker};
use crate::{
    agent::{
        Context,
        events::Level,
        limits, order,
        start::{self, Outcome},
    },
    runtime::Sandbox,
    state::{Groups, PodRecord},
};

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

impl Worker {
    /// Starts the containers that are due: init containers one after the other, then the others
    /// together (`order`). Returns whether a state changed, so that more may be due.
    pub(super) async fn start_due(&mut self) -> bool {
        if self.is_ending() {
            return false;
        }
        let now = Instant::now();
        let mut due = Vec::new();
        for index in order::candidates(&self.containers) {
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
            progress |= self.began(index, outcome);
        }
        progress
    }

    /// Notes the result of a start. Returns whether an attempt began.
    fn began(&mut self, index: usize, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Attempt(attempt) => {
                self.forget_old_attempts(index);
                self.found(index, attempt, false);
                self.report_back_off(index);
                true
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
                false
            }
        }
    }

    /// Keeps the logs of the new attempt and of the one before, as the kubelet does: a container
    /// that is restarted forever must not fill the disk.
    fn forget_old_attempts(&self, index: usize) {
        if let (Some(container), Some(sandbox)) = (self.containers.get(index), &self.sandbox)
            && let (Ok(name), Some(oldest)) =
                (container.name.parse(), container.attempt.checked_sub(1))
        {
            sandbox.forget_before(&name, oldest);
        }
    }

    /// The pod's address, and the content of its hosts file.
    pub(super) async fn names(&mut self) -> Option<(Ipv4Addr, String)> {
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
}
