//! Pods that this node does not run: with invalid names, which could lead to other folders, or with
//! fields that would change the result or the safety of a run.
//!
//! The API server rejects such pods, but an earlier release or another server may have stored one.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use mxjob_machinery::{field::Path, pod_fields, pod_spec};

use super::{ContainerState, Worker};
use crate::{
    agent::{events::Level, start::EXIT_CANNOT_RUN},
    clock,
    state::{ExitReason, ExitRecord, PodUid},
};

/// An event can have a message of one kilobyte.
const MAX_MESSAGE_BYTES: usize = 900;

impl Worker {
    /// Fails the pod if it has an invalid name or a field that this node refuses. Containers that
    /// an earlier agent started run until the pod is deleted.
    pub(super) fn fail_if_refused(&mut self) {
        if self.finished_before {
            return;
        }
        let Some(why) = violations(&self.pod) else { return };
        let reason = ExitReason::InvalidPodSpec;
        let message = truncated(format!(
            "this node cannot run pod {}: {why}; delete it and create it without these errors",
            self.pod.name_any()
        ));
        for container in &mut self.containers {
            if matches!(container.state, ContainerState::Waiting { .. }) {
                let now = clock::now();
                let exit = ExitRecord::not_started(EXIT_CANNOT_RUN, reason, message.clone(), now);
                container.state = ContainerState::Ended(exit);
            }
        }
        let events = &self.context.events;
        events.pod(&self.pod, Level::Warning, reason.as_str(), message.clone());
        events.owner(&self.pod, Level::Warning, reason.as_str(), message);
    }
}

fn violations(pod: &Pod) -> Option<String> {
    if let Err(error) = pod.uid().unwrap_or_default().parse::<PodUid>() {
        return Some(error.to_string());
    }
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    let path = Path::new("spec");
    let mut errors = pod_spec::validate_names(&spec, &path);
    errors.append(pod_fields::check(&spec, &path).refused);
    (!errors.is_empty()).then(|| errors.to_string())
}

fn truncated(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.push('…');
    }
    message
}
