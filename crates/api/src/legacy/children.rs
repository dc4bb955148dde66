//! The pods and services of one job, out of those of a namespace.

use crate::mxjob;
use serde_json::Value;

/// Pods and services as an API server lists them: all of the namespace, or those of the job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Children<'a> {
    /// The pods.
    pub pods: &'a [Value],
    /// The services.
    pub services: &'a [Value],
}

/// Those of one job, and those that only have the name of one of its own.
#[derive(Debug, Default)]
pub(super) struct Family<'a> {
    /// Pods that the job controls.
    pub(super) pods: Vec<&'a Value>,
    /// Services that the job controls.
    pub(super) services: Vec<&'a Value>,
    /// Pods that it does not control.
    pub(super) strangers: Vec<&'a Value>,
}

impl<'a> Children<'a> {
    pub(super) fn of(&self, job: &Value) -> Family<'a> {
        let uid = job.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let is_own = |object: &&Value| !uid.is_empty() && owner(object) == Some(uid);
        let (pods, strangers) = self.pods.iter().partition(is_own);
        Family { pods, strangers, services: self.services.iter().filter(is_own).collect() }
    }
}

/// The uid of the MXJob that controls an object, of whichever version the operator wrote.
pub fn owner(object: &Value) -> Option<&str> {
    let references = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let controller = references
        .iter()
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))?;
    let text = |field: &str| controller.get(field).and_then(Value::as_str);
    let is_job = text("kind") == Some(mxjob::KIND)
        && text("apiVersion")?.split_once('/').is_some_and(|(group, _)| group == mxjob::GROUP);
    if is_job { text("uid") } else { None }
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Whether it is about to go.
pub(super) fn is_leaving(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// Whether a pod has ended.
pub(super) fn has_ended(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// How often the containers of a pod were started again.
pub(super) fn restarts(pod: &Value) -> u64 {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .filter_map(|status| status.get("restartCount")?.as_u64())
        .fold(0, u64::saturating_add)
}
