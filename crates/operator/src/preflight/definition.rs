//! Whether the cluster knows jobs, and whether as this program does.

use http::{Request, StatusCode};
use kube::Client;
use mxjob_api::crd::{self, MENDING, Verdict};
use serde_json::Value;

use super::CRD;

/// What is wrong with the definition of the jobs, in a sentence with the command that mends it.
///
/// A server without definitions of its own (the API server of one machine has jobs built in) is judged by what it says it serves, and so is
/// one that does not let us look.
///
/// # Errors
/// Where the server does not answer.
pub(super) async fn judge(client: &Client) -> kube::Result<Option<String>> {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD}");
    match get(client, &path).await {
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
    match get(client, "/apis/kubeflow.org/v1").await {
        Ok(resources) => {
            let resources = resources.get("resources").and_then(Value::as_array);
            let has = |name: &str| {
                let mut names = resources.into_iter().flatten();
                names.any(|resource| resource.get("name").and_then(Value::as_str) == Some(name))
            };
            Ok(match (has("mxjobs"), has("mxjobs/status")) {
                (true, true) => None,
                (true, false) => Some(format!(
                    "The definition {CRD} is not the one of mxjob: it has no status subresource; put that in its place with: {MENDING}"
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
    format!("The cluster knows no MXJobs: the definition {CRD} is missing; make it with: {MENDING}")
}

/// What is to be said of the definition that the cluster has.
fn verdict(definition: &Value) -> Option<String> {
    match crd::judge(definition) {
        Verdict::Same => None,
        other => Some(other.to_string()),
    }
}

async fn get(client: &Client, path: &str) -> kube::Result<Value> {
    let request = Request::get(path).body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    client.request(request).await
}
