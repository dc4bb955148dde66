//! The requests of the controller. Bodies and answers are JSON: a typed struct would drop unknown
//! fields.

use kube::Client;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use mxjob_api::{labels, mxjob};
use mxjob_machinery::error::chain;
use serde_json::Value;

use super::object::Key;
use crate::pod_group::member::Kind;
use crate::target::Target;

/// The objects that a job owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Pod,
    Service,
    /// The pod group of all its pods.
    PodGroup(Kind),
}

/// Makes requests; cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    client: Client,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Requests").finish_non_exhaustive()
    }
}

// === impl Child ===

impl Child {
    /// The name in messages.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Service => "service",
            Self::PodGroup(_) => "PodGroup",
        }
    }

    /// The name in event reasons.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::PodGroup(_) => "PodGroup",
        }
    }

    fn collection(self, namespace: &str) -> Request {
        Request::new(match self {
            Self::Pod => format!("/api/v1/namespaces/{namespace}/pods"),
            Self::Service => format!("/api/v1/namespaces/{namespace}/services"),
            Self::PodGroup(kind) => {
                let (group, version) = (kind.group(), kind.version());
                format!("/apis/{group}/{version}/namespaces/{namespace}/podgroups")
            }
        })
    }
}

// === impl Requests ===

impl Requests {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) async fn create(
        &self,
        child: Child,
        namespace: &str,
        object: &Value,
    ) -> kube::Result<Value> {
        self.post(&child.collection(namespace), object).await
    }

    pub(super) async fn get(
        &self,
        child: Child,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Value> {
        let request = child.collection(namespace).get(name, &GetParams::default());
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Changes an object by a merge patch.
    pub(super) async fn patch(
        &self,
        child: Child,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> kube::Result<Value> {
        let request = child.collection(namespace).patch(name, &manager(), &Patch::Merge(patch));
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Deletes this object and no later one of its name.
    pub(super) async fn delete(
        &self,
        child: Child,
        namespace: &str,
        target: &Target,
    ) -> kube::Result<Value> {
        let preconditions = Preconditions { uid: Some(target.uid.clone()), resource_version: None };
        let parameters = DeleteParams::default().preconditions(preconditions);
        let request = child.collection(namespace).delete(&target.name, &parameters);
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    pub(super) async fn patch_status(&self, job: &Key, patch: &Value) -> kube::Result<Value> {
        let jobs = jobs(&job.namespace);
        let request = jobs.patch_subresource("status", &job.name, &manager(), &Patch::Merge(patch));
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Deletes the job, and in the background its objects, if it still has this version: a replace
    /// may have extended its lifetime at this very moment.
    pub(super) async fn delete_job(
        &self,
        job: &Key,
        uid: &str,
        resource_version: &str,
    ) -> kube::Result<Value> {
        let preconditions = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: Some(resource_version.to_owned()),
        };
        let parameters = DeleteParams::background().preconditions(preconditions);
        let request = jobs(&job.namespace).delete(&job.name, &parameters);
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    async fn post(&self, collection: &Request, object: &Value) -> kube::Result<Value> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let parameters = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        self.send(collection.create(&parameters, body).map_err(kube::Error::BuildRequest)?).await
    }

    async fn send(&self, request: http::Request<Vec<u8>>) -> kube::Result<Value> {
        self.client.request(request).await
    }
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(labels::OPERATOR.to_owned()), ..PatchParams::default() }
}

fn jobs(namespace: &str) -> Request {
    Request::new(format!("/apis/{}/namespaces/{namespace}/{}", mxjob::API_VERSION, mxjob::PLURAL))
}

pub(super) fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

pub(super) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

/// An error for a message: the server's own wording if it gave one.
pub(super) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    chain(error)
}
