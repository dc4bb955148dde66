//! Events that say why a claim waits.

use k8s_openapi::api::core::v1::{EventSource, ObjectReference};
use mxjob_client::events::{EventWriter, Level, event};
use mxjob_machinery::object;
use serde_json::Value;

use super::ACCOUNT;
use crate::clock;

/// Reports why a claim waits. The next pass reports it again if it has not changed, and then it is
/// counted, so an event that could not be written is not worth a retry of its own.
pub(super) async fn warn(events: &EventWriter, claim: &Value, reason: &str, message: &str) {
    let field = |name| Some(object::meta_str(claim, name).to_owned());
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: field("namespace"),
        name: field("name"),
        uid: field("uid"),
        resource_version: field("resourceVersion"),
        ..ObjectReference::default()
    };
    let level = match reason {
        "ExternalProvisioning" => Level::Normal,
        _ => Level::Warning,
    };
    let source = EventSource { component: Some(ACCOUNT.to_owned()), host: None };
    let event = event(about, (level, reason, message.to_owned()), source, clock::now());
    if let Err(error) = events.write(event).await {
        tracing::debug!(%error, reason, "cannot write an event");
    }
}
