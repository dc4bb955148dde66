//! Ends containers: the hook before the end, SIGTERM when it is a container's turn, and SIGKILL at
//! the end of the grace period, which the shim keeps.

use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt as _;
use tokio::{task::JoinSet, time::Instant};

use super::{ContainerState, RETRY_DELAY, Worker};
use crate::{
    agent::{
        action::Action,
        container::{Role, Stop, StopStage},
        events::Level,
        order,
        probes::{Report, run_hook},
        status,
    },
    clock,
};

/// The time that a container has at least after SIGTERM when its hook used up the grace period, as
/// in the kubelet.
const MIN_GRACE: u64 = 2;

impl Worker {
    /// Whether nothing is started any more.
    pub(super) fn is_ending(&self) -> bool {
        self.terminating.is_some()
            || self.finished_before
            || order::outcome(&self.containers).is_some()
            || status::phase(&self.containers).is_final()
    }

    /// Requests all containers to end, again for each shorter grace period.
    pub(super) fn terminate(&mut self) {
        let of_eviction = self.is_evicted().then_some(0);
        let of_deletion = self.pod.metadata.deletion_grace_period_seconds;
        let grace = of_eviction.or(of_deletion).map_or_else(|| self.grace(), to_seconds);
        if self.terminating.is_some_and(|known| known <= grace) {
            return;
        }
        self.terminating = Some(grace);
        for index in 0..self.containers.len() {
            self.stop(index, grace, None);
        }
    }

    /// Ends the sidecars of a pod whose other containers have ended for good.
    pub(super) fn end_sidecars(&mut self) {
        if order::outcome(&self.containers).is_none() {
            return;
        }
        let grace = self.grace();
        for index in 0..self.containers.len() {
            if let Some(container) = self.containers.get_mut(index)
                && container.role == Role::Sidecar
            {
                container.give_up();
                if container.live().is_some_and(|live| live.stop.is_none()) {
                    self.stop(index, grace, None);
                }
            }
        }
    }

    /// The grace period of the pod, in seconds.
    pub(super) fn grace(&self) -> u64 {
        let spec = self.pod.spec.as_ref();
        spec.and_then(|spec| spec.termination_grace_period_seconds).map_or(30, to_seconds)
    }

    /// Begins to end a container, or shortens the time that it has. `why` is the message of the
    /// event.
    pub(super) fn stop(&mut self, index: usize, grace: u64, why: Option<String>) {
        let now = Instant::now();
        let by = now + Duration::from_secs(grace.min(u64::from(u32::MAX)));
        let hook = self.pre_stop(index);
        let reporter = self.reporter(index);
        let target = self.target(index);
        let Some(container) = self.containers.get_mut(index) else { return };
        let name = container.name.clone();
        let Some(live) = container.live_mut() else { return };
        if let Some(stop) = &mut live.stop {
            stop.is_immediate |= grace == 0;
            if by < stop.by {
                stop.by = by;
                if matches!(stop.stage, StopStage::Requested) {
                    stop.stage = StopStage::Turn;
                }
            }
            return;
        }
        let mut stop = Stop { by, is_immediate: grace == 0, stage: StopStage::Turn };
        let dir = live.running.dir();
        if let Some(until) = dir.pre_stop() {
            // An earlier agent ran the hook, and may have been ended before SIGTERM.
            let left = Duration::try_from(until.duration_since(clock::now())).unwrap_or_default();
            stop.by = stop.by.min(now + left);
        } else if let (Some(hook), Some(target), true) = (hook, target, grace > 0) {
            let until = clock::now() + SignedDuration::try_from(by - now).unwrap_or_default();
            if let Err(error) = dir.write_pre_stop(until) {
                tracing::warn!(%error, "cannot record that a hook runs");
            }
            let mut task = JoinSet::new();
            task.spawn(async move {
                let result = run_hook(&hook, &target).await;
                reporter.send(Report::PreStop(result)).await;
            });
            stop.stage = StopStage::Hook { _task: task };
        }
        live.stop = Some(stop);
        let message = why.unwrap_or_else(|| format!("Stopping container {name}"));
        self.context.events.pod(&self.pod, Level::Normal, "Killing", message);
    }

    /// The hook before the end of a container.
    fn pre_stop(&self, index: usize) -> Option<Result<Action, String>> {
        let container = self.spec_of(index)?;
        let hook = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
        Some(Action::of_hook(hook, container))
    }

    /// The hook before the end of a container is over.
    pub(super) fn pre_stop_ended(&mut self, index: usize, result: &Result<(), String>) {
        let live = self.containers.get_mut(index).and_then(|one| one.live_mut());
        let Some(stop) = live.and_then(|live| live.stop.as_mut()) else { return };
        if !matches!(stop.stage, StopStage::Hook { .. }) {
            return;
        }
        stop.stage = StopStage::Turn;
        if let Err(why) = result {
            self.report_hook("FailedPreStopHook", "PreStopHook failed", why);
        }
    }

    /// Takes the steps of the ends that are due.
    pub(super) fn step_stops(&mut self) {
        let now = Instant::now();
        for index in 0..self.containers.len() {
            let is_turn = order::may_stop(&self.containers, index);
            let Some(container) = self.containers.get_mut(index) else { return };
            let name = container.name.clone();
            let ContainerState::Running(live) = &mut container.state else { continue };
            let Some(stop) = &mut live.stop else { continue };
            let is_late = stop.is_immediate || stop.by <= now;
            let mut is_cut_off = false;
            match stop.stage {
                StopStage::Requested => continue,
                StopStage::Hook { .. } if !is_late => continue,
                StopStage::Hook { .. } => is_cut_off = true,
                StopStage::Turn if !is_late && !is_turn => continue,
                StopStage::Turn => {}
            }
            let left = stop.by.saturating_duration_since(now);
            let left = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            let grace = if stop.is_immediate { 0 } else { left.max(MIN_GRACE) };
            stop.stage = match is_turn || is_late {
                true => StopStage::Requested,
                false => StopStage::Turn,
            };
            if let Err(error) = live.running.terminate(grace) {
                let pod = self.pod.name_any();
                tracing::error!(%error, pod, container = name, "cannot stop a container; will retry");
                stop.stage = StopStage::Turn;
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
            }
            if is_cut_off {
                let why = "it did not end within the grace period";
                self.report_hook("FailedPreStopHook", "PreStopHook failed", why);
            }
        }
    }

    /// When a step of an end is due without another change.
    pub(super) fn stops_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let stops = self.containers.iter().filter_map(|one| one.live()?.stop.as_ref());
        let waiting = stops.filter(|stop| !matches!(stop.stage, StopStage::Requested));
        waiting.map(|stop| stop.by).filter(|by| *by > now).min()
    }

    pub(super) fn report_hook(&self, reason: &str, message: &str, why: &str) {
        tracing::debug!(pod = self.pod.name_any(), why, "{message}");
        self.context.events.pod(&self.pod, Level::Warning, reason, format!("{message}: {why}"));
    }
}

fn to_seconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or_default()
}
