//! Events that say why a claim waits.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::Method;
use kube::Client;
use mxjob_client::request::JSON;
use mxjob_machinery::object;
use mxjob_machinery::time::rfc3339;
use serde_json::{Value, json};

use super::ACCOUNT;
use crate::api::{self, Settled};
use crate::clock;

/// Reports why a claim waits. The name of the event follows from its content, so that the same
/// reason is reported once.
pub(super) async fn warn(client: &Client, claim: &Value, reason: &str, message: &str) -> Settled {
    let field = |name| object::meta_str(claim, name);
    let (namespace, name, uid) = (field("namespace"), field("name"), field("uid"));
    let mut hash = DefaultHasher::new();
    (uid, reason, message).hash(&mut hash);
    let now = rfc3339(clock::now());
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": format!("{name}.{:016x}", hash.finish()), "namespace": namespace },
        "involvedObject": {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name,
            "uid": uid, "resourceVersion": field("resourceVersion"),
        },
        "type": if reason == "ExternalProvisioning" { "Normal" } else { "Warning" },
        "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": { "component": ACCOUNT }, "reportingComponent": ACCOUNT,
    });
    let path = format!("/api/v1/namespaces/{namespace}/events");
    api::write(client, Method::POST, &path, JSON, Some(&event)).await
}
