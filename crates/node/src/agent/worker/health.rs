//! The hook after the start of a container, and its probes: starts the task that runs them, and
//! acts on its reports.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Probe};
use kube::ResourceExt as _;
use serde_json::Value;
use tokio::task::JoinSet;

use super::Worker;
use crate::{
    agent::{
        action::{Action, Target},
        container::{Live, RestartPolicy, Role},
        events::Level,
        probes::{Addressed, Kind, Report, Reporter, Settings, Watch},
        status,
    },
    clock,
    runtime::Running,
};

impl Worker {
    /// The container in the pod's spec.
    pub(super) fn spec_of(&self, index: usize) -> Option<&Container> {
        let (spec, name) = (self.pod.spec.as_ref()?, &self.containers.get(index)?.name);
        let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
        all.find(|one| one.name == *name)
    }

    pub(super) fn reporter(&self, index: usize) -> Reporter {
        let attempt = self.containers.get(index).map_or(0, |one| one.attempt);
        Reporter { queue: self.reports.0.clone(), index, attempt }
    }

    pub(super) fn target(&self, index: usize) -> Option<Target> {
        Some(Target {
            state_dir: self.context.runtime.state_dir().to_owned(),
            shim: Arc::new(self.context.config.shim.clone()),
            uid: self.pod.uid()?,
            container: self.containers.get(index)?.name.clone(),
            address: self.sandbox.as_ref()?.address(),
        })
    }

    /// The state of an attempt that runs, with its task. For an attempt of an earlier agent, what
    /// that agent reported holds until the probes say otherwise.
    pub(super) fn live(&self, index: usize, running: Running, is_resumed: bool) -> Live {
        let container = self.spec_of(index);
        let (was_started, was_ready) =
            if is_resumed { self.reported_state(index) } else { (false, false) };
        let lifecycle = container.and_then(|one| one.lifecycle.as_ref());
        let hook = lifecycle.and_then(|it| it.post_start.as_ref());
        let is_hooked = hook.is_none() || running.dir().post_started();
        let probe = |of: fn(&Container) -> Option<&Probe>| {
            container.and_then(|one| Settings::of(of(one), one))
        };
        let startup = probe(|one| one.startup_probe.as_ref()).filter(|_| !was_started);
        let readiness = probe(|one| one.readiness_probe.as_ref());
        let mut live = Live {
            running: Arc::new(running),
            is_hooked,
            has_passed: startup.is_none(),
            is_answering: readiness.is_none() || was_ready,
            stop: None,
            watch: JoinSet::new(),
        };
        if let (Some(container), Some(target)) = (container, self.target(index)) {
            let watch = Watch {
                post_start: hook
                    .filter(|_| !is_hooked)
                    .map(|hook| Action::of_hook(hook, container)),
                startup,
                liveness: probe(|one| one.liveness_probe.as_ref()),
                readiness,
                target,
                dir: live.running.dir().clone(),
                started_at: live.running.started_at().unwrap_or_else(clock::now),
                is_ready: was_ready,
            };
            live.watch = watch.start(self.reporter(index), Arc::clone(&self.context.probes));
        }
        live
    }

    /// Whether the current attempt is started and ready according to the API.
    fn reported_state(&self, index: usize) -> (bool, bool) {
        let find = || {
            let container = self.containers.get(index)?;
            let id = status::container_id(&self.pod, container);
            let list = match container.role {
                Role::Main => "containerStatuses",
                Role::Init | Role::Sidecar => "initContainerStatuses",
            };
            let known = self.reported.get(list)?.as_array()?;
            known.iter().find(|one| one.get("containerID").and_then(Value::as_str) == Some(&id))
        };
        let flag = |name: &str| {
            find().and_then(|one| one.get(name)).and_then(Value::as_bool).unwrap_or_default()
        };
        (flag("started"), flag("ready"))
    }

    /// Acts on a report of a running attempt.
    pub(super) fn reported(&mut self, (index, attempt, report): Addressed) {
        let Some(container) = self.containers.get_mut(index) else { return };
        if container.attempt != attempt {
            return;
        }
        let name = container.name.clone();
        let Some(live) = container.live_mut() else { return };
        let is_stopping = live.stop.is_some();
        match report {
            Report::PostStart(Ok(())) => live.is_hooked = true,
            Report::PostStart(Err(why)) => {
                self.report_hook("FailedPostStartHook", "PostStartHook failed", &why);
                self.stop(index, self.grace(), Some("FailedPostStartHook".to_owned()));
            }
            Report::PreStop(result) => self.pre_stop_ended(index, &result),
            Report::Unhealthy(kind, text) => {
                // A container that ends fails its probes.
                if !is_stopping || kind == Kind::Readiness {
                    let message = format!("{} probe failed: {text}", kind.as_str());
                    self.context.events.pod(&self.pod, Level::Warning, "Unhealthy", message);
                }
            }
            Report::Warning(kind, text) => {
                let message = format!("{} probe warning: {text}", kind.as_str());
                self.context.events.pod(&self.pod, Level::Warning, "ProbeWarning", message);
            }
            Report::Result(Kind::Readiness, is_answering) => live.is_answering = is_answering,
            Report::Result(Kind::Startup, true) => live.has_passed = true,
            Report::Result(Kind::Liveness, true) => {}
            Report::Result(kind @ (Kind::Startup | Kind::Liveness), false) => {
                if !is_stopping {
                    self.kill_unhealthy(index, kind, &name);
                }
            }
        }
    }

    fn kill_unhealthy(&mut self, index: usize, kind: Kind, name: &str) {
        let grace = self.probe_grace(index, kind).unwrap_or_else(|| self.grace());
        let is_sidecar = self.containers.get(index).is_some_and(|one| one.role == Role::Sidecar);
        let again = if is_sidecar || self.policy != RestartPolicy::Never {
            ", will be restarted"
        } else {
            ""
        };
        let probe = kind.as_str().to_lowercase();
        let message = format!("Container {name} failed {probe} probe{again}");
        self.stop(index, grace, Some(message));
    }

    /// The grace period that a probe sets.
    fn probe_grace(&self, index: usize, kind: Kind) -> Option<u64> {
        let container = self.spec_of(index)?;
        let probe = match kind {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
            Kind::Readiness => None,
        };
        u64::try_from(probe?.termination_grace_period_seconds?).ok()
    }
}
