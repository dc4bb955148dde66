//! Checks that the cluster serves MXJobs, with the definition of this version.

use http::StatusCode;
use kube::Client;
use mxjob_api::crd::{self, FIX_COMMAND, Verdict};
use mxjob_client::request;
use serde_json::Value;

use super::CRD;

/// What is wrong with the CustomResourceDefinition, with the command that fixes it; `None` if
/// nothing is.
///
/// A server that has no such definition (mxjob's own API server has MXJobs built in), or does not
/// let the operator read it, is checked by its discovery document.
///
/// # Errors
/// Where the server does not answer.
pub(super) async fn check(client: &Client) -> kube::Result<Option<String>> {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD}");
    match request::get(client, &path).await {
        Ok(definition) => Ok(verdict(&definition)),
        Err(kube::Error::Api(status))
            if matches!(
                StatusCode::from_u16(status.code),
                Ok(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
            ) =>
        {
            discovered(client).await
        }
        Err(error) => Err(error),
    }
}

async fn discovered(client: &Client) -> kube::Result<Option<String>> {
    match request::get(client, "/apis/kubeflow.org/v1").await {
        Ok(resources) => {
            let resources = resources.get("resources").and_then(Value::as_array);
            let has = |name: &str| {
                let mut names = resources.into_iter().flatten();
                names.any(|resource| resource.get("name").and_then(Value::as_str) == Some(name))
            };
            Ok(match (has("mxjobs"), has("mxjobs/status")) {
                (true, true) => None,
                (true, false) => Some(format!(
                    "The CustomResourceDefinition {CRD} is not the one of mxjob: it has no status subresource; replace it with: {FIX_COMMAND}"
                )),
                (false, _) => Some(missing()),
            })
        }
        Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => {
            Ok(Some(missing()))
        }
        Err(error) => Err(error),
    }
}

fn missing() -> String {
    format!(
        "The cluster does not serve MXJobs: the CustomResourceDefinition {CRD} is missing; create it with: {FIX_COMMAND}"
    )
}

/// What is wrong with the cluster's definition.
fn verdict(definition: &Value) -> Option<String> {
    match crd::compare(definition) {
        Verdict::Same => None,
        other => Some(other.to_string()),
    }
}
