//! Resumes a pod of an earlier agent.

use jiff::Timestamp;
use kube::ResourceExt as _;
use mxjob_machinery::error::chain;
use tokio::time::Instant;

use super::{ContainerState, Worker};
use crate::{clock, runtime::Sandbox, state::ExitRecord};

impl Worker {
    /// Finds the sandbox and the attempts of an earlier agent.
    pub(super) async fn resume(&mut self) {
        let uid = self.pod.uid().and_then(|uid| uid.parse().ok());
        if let Some(sandbox) = uid.and_then(|uid| self.context.runtime.sandbox(&uid)) {
            self.sandbox = Some(sandbox.clone());
            self.attach(&sandbox).await;
            if let Some((_, hosts)) = self.names().await {
                self.context.names.keep_updated(&sandbox, &hosts);
            }
        }
        if !self.finished_before {
            self.mark_unrecorded_lost();
        }
    }

    async fn attach(&mut self, sandbox: &Sandbox) {
        for index in 0..self.containers.len() {
            let Some(container) = self.containers.get_mut(index) else { continue };
            let Ok(name) = container.name.parse() else { continue };
            let Some(attempt) = sandbox.newest_attempt(&name) else { continue };
            container.attempt = attempt;
            container.assume_failures(attempt);
            let previous = attempt.checked_sub(1);
            container.last =
                previous.and_then(|number| sandbox.dir().attempt(&name, number).exit());
            let again = sandbox.clone();
            // Cleaning up after a lost shim may block for some seconds.
            let found = tokio::task::spawn_blocking(move || again.find(&name, attempt)).await;
            match found {
                Ok(Ok(found)) => self.found(index, found, true),
                Ok(Err(error)) => {
                    let pod = self.pod.name_any();
                    tracing::error!(error = chain(&error), pod, "cannot resume a container");
                }
                Err(error) => {
                    let pod = self.pod.name_any();
                    tracing::error!(%error, pod, "resuming a container panicked");
                }
            }
        }
    }

    /// Marks containers as lost that run according to the API but are not recorded on this machine,
    /// because the state directory was lost. They must not be started again as if they were new.
    fn mark_unrecorded_lost(&mut self) {
        let statuses = self.pod.status.as_ref().map(|status| {
            status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
        });
        let started: Vec<(String, Option<Timestamp>)> = statuses
            .into_iter()
            .flatten()
            .filter_map(|one| {
                let state = one.state.as_ref()?;
                let started = state.running.as_ref()?.started_at.as_ref().map(|time| time.0);
                Some((one.name.clone(), started))
            })
            .collect();
        let now = Instant::now();
        for container in &mut self.containers {
            let known = !matches!(container.state, ContainerState::Waiting { .. });
            if let (false, Some((_, since))) =
                (known, started.iter().find(|(name, _)| *name == container.name))
            {
                container.ended(ExitRecord::lost(*since, clock::now()), self.policy, now);
            }
        }
    }
}
