//! Creating the objects of a file.

use http::{Method, Request};
use kube::Client;
use mxjob_api::mxjob;
use serde_json::{Value, json};

use crate::exit::{Failure, chain};
use crate::manifest::Manifest;

/// Creates everything, what the jobs need first; the jobs as the server answered them.
pub(crate) async fn submit(client: &Client, manifest: &Manifest) -> Result<Vec<Value>, Failure> {
    for namespace in manifest.namespaces() {
        let path = format!("/api/v1/namespaces/{namespace}");
        match get(client, &path).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
                create(client, "/api/v1/namespaces", &object).await?;
            }
            Err(error) => return Err(refused(&json!({"kind": "Namespace"}), &error)),
        }
    }
    for object in &manifest.others {
        let plural = if object["kind"] == "Secret" { "secrets" } else { "configmaps" };
        create(client, &format!("/api/v1/namespaces/{}/{plural}", namespace(object)), object)
            .await?;
    }
    let mut jobs = Vec::new();
    for object in &manifest.jobs {
        let path = format!(
            "/apis/{}/namespaces/{}/{}",
            mxjob::API_VERSION,
            namespace(object),
            mxjob::PLURAL
        );
        jobs.push(create(client, &path, object).await?);
    }
    Ok(jobs)
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    client.request(Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?).await
}

async fn create(client: &Client, path: &str, object: &Value) -> Result<Value, Failure> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(object.to_string().into_bytes())
        .map_err(|error| Failure::of(&error))?;
    client.request(request).await.map_err(|error| refused(object, &error))
}

/// The server's own words, and whose fault it is.
fn refused(object: &Value, error: &kube::Error) -> Failure {
    let kind = object["kind"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match error {
        kube::Error::Api(status) if status.code < 500 => {
            Failure::input(format!("cannot create {kind} {name}: {}", status.message))
        }
        kube::Error::Api(status) => {
            Failure::system(format!("cannot create {kind} {name}: {}", status.message))
        }
        error => Failure::system(format!("cannot create {kind} {name}: {}", chain(error))),
    }
}
