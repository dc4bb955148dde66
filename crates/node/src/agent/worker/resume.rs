//! Taking up a pod again that an earlier agent worked on.

use jiff::Timestamp;
use kube::ResourceExt as _;
use mxjob_machinery::error::chain;
use tokio::time::Instant;

use super::{State, Worker};
use crate::{runtime::Sandbox, state::ExitRecord};

impl Worker {
    /// Looks what an earlier agent left of this pod.
    pub(super) async fn find_again(&mut self) {
        let uid = self.pod.uid().and_then(|uid| uid.parse().ok());
        if let Some(sandbox) = uid.and_then(|uid| self.context.runtime.sandbox(&uid)) {
            self.attach(&sandbox).await;
            if let Some((_, hosts)) = self.context.names.of_pod(&self.pod) {
                self.context.names.keep(&sandbox, hosts);
            }
            self.sandbox = Some(sandbox);
        }
        if !self.finished_before {
            self.lose_unrecorded();
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
            // Cleaning up after a lost shim may take a while.
            let found = tokio::task::spawn_blocking(move || again.find(&name, attempt)).await;
            match found {
                Ok(Ok(found)) => self.found(index, found),
                Ok(Err(error)) => {
                    tracing::error!(error = %chain(&error), "cannot find a container again")
                }
                Err(error) => tracing::error!(%error, "cannot find a container again"),
            }
        }
    }

    /// A container that the API says was started, and of which this machine has no record (the state directory was lost), must
    /// not be started as if it were new.
    fn lose_unrecorded(&mut self) {
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
            let known = !matches!(container.state, State::Waiting { .. });
            if let (false, Some((_, since))) =
                (known, started.iter().find(|(name, _)| *name == container.name))
            {
                container.ended(ExitRecord::lost(*since, Timestamp::now()), self.policy, now);
            }
        }
    }
}
