//! Writes the status of a pod, and removes the pod in the end.

use futures_util::StreamExt as _;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::time::Instant;

use super::{RETRY_DELAY, Worker, remove};
use crate::{
    agent::{devices, status},
    clock,
    runtime::Sandbox,
};

impl Worker {
    /// Writes the status if it changed.
    pub(super) async fn report(&mut self) {
        let devices = self.sandbox.as_ref().map(|sandbox| devices::of_pod(sandbox.dir()));
        let facts = status::StatusFacts {
            pod: &self.pod,
            containers: &self.containers,
            address: self.sandbox.as_ref().map(Sandbox::address),
            host_ip: &self.context.host_ip,
            start_time: self.start_time,
            ended_by_node: self.ended_by_node.as_ref().filter(|_| !self.is_running()),
            devices: devices.unwrap_or_default(),
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
    pub(super) async fn delete(&mut self) {
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
    pub(super) async fn clean_up(mut self) {
        for container in &self.containers {
            if let Some(live) = container.live()
                && let Err(error) = live.running.terminate(0)
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
        self.context.devices.pod_removed(&self.pod.uid().unwrap_or_default());
    }
}
