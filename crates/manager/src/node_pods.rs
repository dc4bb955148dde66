//! The pods of a node that does not run them any more.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use kube::api::ListParams;
use kube::{Api, Client};
use mxjob_client::Raw;
use mxjob_client::request::{self, JSON, MERGE_PATCH};
use mxjob_machinery::json::text;
use mxjob_machinery::object;
use serde_json::{Value, json};

use crate::api;

/// Maximum of parallel requests for the pods of one node.
const MAX_PARALLEL_REQUESTS: usize = 16;

/// The pods that are bound to a node.
pub(crate) async fn bound(client: &Client, node: &str) -> kube::Result<Vec<Value>> {
    let pods = Api::<Raw>::all_with(client.clone(), &api::built_in("", "Pod", "pods"));
    let of_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    Ok(pods.list(&of_node).await?.into_iter().map(|pod| pod.value).collect())
}

/// Whether a pod has ended.
pub(crate) fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Deletes the pods that have ended or are in deletion, without waiting for the node, and marks the
/// others as failed.
pub(crate) async fn end(client: &Client, pods: &[Value], message: &str) -> kube::Result<()> {
    let requests: Vec<_> = pods.iter().map(|pod| end_one(client, pod, message).boxed()).collect();
    stream::iter(requests).buffer_unordered(MAX_PARALLEL_REQUESTS).try_collect().await
}

async fn end_one(client: &Client, pod: &Value, message: &str) -> kube::Result<()> {
    let path = path(pod);
    let uid = object::meta_str(pod, "uid");
    let result = if object::is_terminating(pod) || is_over(pod) {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": { "uid": uid },
        });
        request::send(client, Method::DELETE, &path, JSON, Some(&options)).await
    } else {
        let patch = json!({
            "metadata": { "uid": uid, "resourceVersion": object::meta_str(pod, "resourceVersion") },
            "status": { "phase": "Failed", "reason": "NodeLost", "message": message },
        });
        request::send(client, Method::PATCH, &format!("{path}/status"), MERGE_PATCH, Some(&patch))
            .await
    };
    match result {
        // Changed or gone: the next pass handles it.
        Err(error) if matches!(request::code(&error), Some(404 | 409)) => Ok(()),
        result => result.map(drop),
    }
}

fn path(pod: &Value) -> String {
    let (namespace, name) = (object::meta_str(pod, "namespace"), object::meta_str(pod, "name"));
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}
