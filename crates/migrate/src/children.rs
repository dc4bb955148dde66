//! The pods and services of one job, selected from those of its namespace.

use mxjob_api::mxjob;
use mxjob_machinery::json::text;
use serde_json::Value;

/// Pods and services as an API server lists them: all of a namespace, or those of one job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Children<'a> {
    /// The pods.
    pub pods: &'a [Value],
    /// The services.
    pub services: &'a [Value],
}

/// The pods and services of one job.
#[derive(Debug, Default)]
pub(crate) struct Owned<'a> {
    /// Pods that the job controls.
    pub(crate) pods: Vec<&'a Value>,
    /// Services that the job controls.
    pub(crate) services: Vec<&'a Value>,
    /// Pods that the job does not control.
    pub(crate) other_pods: Vec<&'a Value>,
}

impl<'a> Children<'a> {
    pub(crate) fn of(&self, job: &Value) -> Owned<'a> {
        let uid = text(job, "/metadata/uid");
        let is_own = |object: &&Value| !uid.is_empty() && owner_uid(object) == Some(uid);
        let (pods, other_pods) = self.pods.iter().partition(is_own);
        Owned { pods, other_pods, services: self.services.iter().filter(is_own).collect() }
    }
}

/// The uid of the MXJob that controls an object, in any API version of the group.
pub(crate) fn owner_uid(object: &Value) -> Option<&str> {
    let references = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let controller = references
        .iter()
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))?;
    let text = |field: &str| controller.get(field).and_then(Value::as_str);
    let is_job = text("kind") == Some(mxjob::KIND)
        && text("apiVersion")?.split_once('/').is_some_and(|(group, _)| group == mxjob::GROUP);
    if is_job { text("uid") } else { None }
}

/// A member of an object; null counts as absent.
pub(crate) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Whether the object is being deleted.
pub(crate) fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// Whether the pod's phase is terminal.
pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// The sum of the restart counts of a pod's containers.
pub(crate) fn restarts(pod: &Value) -> u64 {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .filter_map(|status| status.get("restartCount")?.as_u64())
        .fold(0, u64::saturating_add)
}
