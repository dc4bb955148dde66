//! Writes statuses.

use super::cache::Resource;
use super::document::Refused;
use super::effects::{Context, Error};
use super::events::Subject;
use super::object::Key;
use super::{obstacles, requests};
use crate::patch::status_patch;
use crate::plan::{self, Event, EventKind};
use jiff::Timestamp;
use serde_json::Value;

/// Says of a job that slipped past admission that it has failed.
pub(super) async fn refuse(
    context: &Context,
    key: &Key,
    refused: &Refused,
    now: Timestamp,
) -> Result<(), Error> {
    let (next, event) = plan::refuse(&key.name, &refused.faults, now);
    let subject = Subject { namespace: &key.namespace, name: &key.name, uid: &refused.uid };
    let patch = status_patch(&refused.resource_version, &refused.status, &next);
    write_status(context, subject, &patch, now).await?;
    context.metrics.refused(&key.namespace);
    context.recorder.tell(subject, &event, "", now);
    Ok(())
}

/// Writes a status. That it may not be written is said to the job by an event: there is no other way.
pub(super) async fn write_status(
    context: &Context,
    subject: Subject<'_>,
    patch: &Value,
    now: Timestamp,
) -> Result<(), Error> {
    let what = format!("mxjobs/status of namespace {}", subject.namespace);
    let key = Key { namespace: subject.namespace.to_owned(), name: subject.name.to_owned() };
    match context.requests.patch_status(&key, patch).await {
        Ok(answer) => {
            context.standing.cleared(&what);
            context.cache.wrote(Resource::Jobs, &answer);
            Ok(())
        }
        Err(error) if requests::is_conflict(&error) => Err(Error::Conflict),
        Err(error) => {
            let told = if let Some(why) = obstacles::no_status(&error, subject.namespace) {
                context.standing.obstructed(&what, &why);
                let message = format!("MXJob {} cannot go on: {why}.", subject.name);
                Some(("MXJobObstructed", message))
            } else if matches!(&error, kube::Error::Api(status) if status.code == 403) {
                // Somebody has rules about this job: a webhook, or a namespace that is about to go.
                let why = requests::describe(&error);
                Some(("FailedUpdateStatus", format!("Error updating status: {why}")))
            } else {
                None
            };
            if let Some((reason, message)) = told {
                let (kind, reason) = (EventKind::Warning, reason.to_owned());
                context.recorder.tell(subject, &Event { kind, reason, message }, "", now);
            }
            Err(Error::Status(error))
        }
    }
}
