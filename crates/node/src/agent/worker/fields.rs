//! Fields of a pod that have no effect on this node.

use mxjob_machinery::{
    field::Path,
    pod_fields::{self, FIELD_NOT_HONOURED},
};

use super::Worker;
use crate::agent::events::Level;

impl Worker {
    /// Publishes an event about the fields of the pod that have no effect, when the pod starts.
    pub(super) fn report_fields(&self) {
        let spec = serde_json::to_value(&self.pod.spec).unwrap_or_default();
        if let Some(message) = pod_fields::check(&spec, &Path::new("spec")).summary() {
            self.context.events.pod(&self.pod, Level::Warning, FIELD_NOT_HONOURED, message);
        }
    }
}
