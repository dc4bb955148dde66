//! Writes the status of jobs.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::cache::Resource;
use super::context::Context;
use super::error::ReconcileError;
use super::events::JobRef;
use super::object::Key;
use super::stored_job::InvalidJob;
use super::{obstacles, requests};
use crate::event::{Event, EventKind};
use crate::patch;
use crate::plan::{self, NextStatus};

/// Fails an invalid job that API admission did not reject.
pub(super) async fn refuse(
    context: &Context,
    key: &Key,
    invalid: &InvalidJob,
    now: Timestamp,
) -> Result<(), ReconcileError> {
    let (next, event) = plan::refuse(&key.name, &invalid.errors, now);
    let job_ref = JobRef { namespace: &key.namespace, name: &key.name, uid: &invalid.uid };
    let patch = status_patch(&invalid.resource_version, &invalid.status, &next);
    write_status(context, job_ref, &patch, now).await?;
    context.metrics.refused(&key.namespace);
    context.recorder.record(job_ref, &event, "", now);
    Ok(())
}

/// Writes a status. If it may not be written, an event on the job reports it: there is no other
/// way.
pub(super) async fn write_status(
    context: &Context,
    job_ref: JobRef<'_>,
    patch: &Value,
    now: Timestamp,
) -> Result<(), ReconcileError> {
    let what = format!("mxjobs/status of namespace {}", job_ref.namespace);
    let key = Key { namespace: job_ref.namespace.to_owned(), name: job_ref.name.to_owned() };
    match context.requests.patch_status(&key, patch).await {
        Ok(answer) => {
            context.health.cleared(&what);
            context.cache.wrote(Resource::Jobs, &answer);
            Ok(())
        }
        Err(error) if requests::is_conflict(&error) => Err(ReconcileError::Conflict),
        Err(error) => {
            let event = if let Some(why) = obstacles::cannot_write_status(&error, job_ref.namespace)
            {
                context.health.obstructed(&what, &why);
                let message = format!("MXJob {} cannot proceed: {why}.", job_ref.name);
                Some(("MXJobObstructed", message))
            } else if matches!(&error, kube::Error::Api(status) if status.code == 403) {
                // A webhook refuses it, or the namespace is being terminated.
                let why = requests::describe(&error);
                Some(("FailedUpdateStatus", format!("Error updating status: {why}")))
            } else {
                None
            };
            if let Some((reason, message)) = event {
                let (kind, reason) = (EventKind::Warning, reason.to_owned());
                context.recorder.record(job_ref, &Event { kind, reason, message }, "", now);
            }
            Err(ReconcileError::Status(error))
        }
    }
}

/// The merge patch from a status to the next, tied to the version it was planned from: the server
/// refuses it if the job has changed since.
///
/// Only the controller's own keys are touched. Removed keys are written as `null`: in a merge patch
/// a missing key means "unchanged".
pub(crate) fn status_patch(resource_version: &str, status: &Value, next: &NextStatus) -> Value {
    let next = next.to_value();
    let mut changes = Map::new();
    for key in NextStatus::keys() {
        if let Some(change) = patch::diff(status.get(key), next.get(key)) {
            changes.insert(key.to_owned(), change);
        }
    }
    json!({ "metadata": { "resourceVersion": resource_version }, "status": changes })
}

#[cfg(test)]
mod tests {
    use mxjob_api::{JobStatus, ReplicaStatus, Role};
    use mxjob_machinery::patch::merge_patch;

    use super::*;
    use crate::memory::Memory;

    fn status(active: u32, succeeded: u32) -> NextStatus {
        let counts = ReplicaStatus { active, succeeded, ..ReplicaStatus::default() };
        let status =
            JobStatus { replicas: [(Role::Worker, counts)].into(), ..JobStatus::default() };
        NextStatus { status, memory: Memory::default() }
    }

    #[test]
    fn a_patch_removes_keys_explicitly_and_omits_unchanged_ones() {
        let before = status(2, 0).to_value();
        assert_eq!(
            status_patch("41", &before, &status(0, 2)),
            json!({
                "metadata": { "resourceVersion": "41" },
                "status": {
                    "mxReplicaStatuses": { "Worker": { "active": null, "succeeded": 2 } },
                    "replicaStatuses": { "Worker": { "active": null, "succeeded": 2 } },
                },
            })
        );
        assert_eq!(status_patch("41", &before, &status(2, 0))["status"], json!({}));
    }

    #[test]
    fn keys_of_other_writers_stay() {
        let mut before = status(2, 0).to_value();
        before["theirs"] = json!({ "a": 1 });
        let patch = status_patch("1", &before, &status(1, 0));
        assert_eq!(merge_patch(&before, &patch["status"])["theirs"], json!({ "a": 1 }));
    }

    #[test]
    fn the_first_status_is_written_into_an_empty_one() {
        for before in [Value::Null, json!({})] {
            let patch = status_patch("1", &before, &status(1, 0));
            assert_eq!(merge_patch(&before, &patch["status"]), status(1, 0).to_value());
        }
    }
}
