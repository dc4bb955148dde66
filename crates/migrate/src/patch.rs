//! Merge patches that adopt pods, services and the status of a job.

use mxjob_api::mxjob;
use serde_json::Value;

/// The kind of object that a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A pod.
    Pod,
    /// A service.
    Service,
    /// The job's `status` subresource.
    JobStatus,
}

/// A JSON merge patch (`application/merge-patch+json`). Its body names the uid, so it never changes
/// another object of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The kind of the patched object.
    pub target: Target,
    /// The namespace of the patched object.
    pub namespace: String,
    /// The name of the patched object.
    pub name: String,
    /// The merge patch.
    pub body: Value,
}

// === impl Target ===

impl Target {
    /// API group, version, resource and subresource, for a request path.
    pub fn resource(self) -> (&'static str, &'static str, &'static str, Option<&'static str>) {
        match self {
            Self::Pod => ("", "v1", "pods", None),
            Self::Service => ("", "v1", "services", None),
            Self::JobStatus => (mxjob::GROUP, mxjob::VERSION, mxjob::PLURAL, Some("status")),
        }
    }

    /// The kind of the patched object.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::JobStatus => mxjob::KIND,
        }
    }
}
