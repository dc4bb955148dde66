//! Pods that this node never runs, because of names that cannot become names of folders.
//!
//! The API server refuses such pods, but one may have been stored before it did, or by another server.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use mxjob_machinery::{field::Path, pod_spec};

use super::{State, Worker};
use crate::{
    agent::{events::Level, start::CANNOT_RUN},
    state::{ExitReason, ExitRecord, PodUid},
};

/// Longest message, in bytes: an event takes a kilobyte.
const MESSAGE_MAX: usize = 900;

impl Worker {
    /// Fails the pod if a name in it is not valid. What an earlier agent started of it goes on until the pod is deleted.
    pub(super) fn refuse_bad_names(&mut self) {
        if self.finished_before {
            return;
        }
        let Some(why) = bad_names(&self.pod) else { return };
        let reason = ExitReason::InvalidPodSpec;
        let message = shortened(format!(
            "this node cannot run pod {}: {why}; delete it and create it with valid names",
            self.pod.name_any()
        ));
        for container in &mut self.containers {
            if matches!(container.state, State::Waiting { .. }) {
                let now = Timestamp::now();
                let exit = ExitRecord::not_started(CANNOT_RUN, reason, message.clone(), now);
                container.state = State::Ended(exit);
            }
        }
        let events = &self.context.events;
        events.pod(&self.pod, Level::Warning, reason.as_str(), message.clone());
        events.owner(&self.pod, Level::Warning, reason.as_str(), message);
    }
}

fn bad_names(pod: &Pod) -> Option<String> {
    if let Err(error) = pod.uid().unwrap_or_default().parse::<PodUid>() {
        return Some(error.to_string());
    }
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    let errors = pod_spec::validate_names(&spec, &Path::new("spec"));
    (!errors.is_empty()).then(|| errors.to_string())
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        message.push('…');
    }
    message
}
