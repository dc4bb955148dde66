//! Jobs as the controller keeps them: parsed once, when a watch or an answer brings them.

use std::sync::Arc;

use mxjob_api::{Job, validate};
use serde_json::{Map, Value};

use crate::memory::Memory;

#[derive(Debug)]
pub(super) struct JobDocument {
    pub(super) job: Arc<Job>,
    pub(super) memory: Memory,
    /// `metadata.annotations`.
    pub(super) annotations: Map<String, Value>,
    /// The stored status, which is patched.
    pub(super) status: Value,
    /// A string: only the server may interpret it.
    pub(super) resource_version: String,
}

/// An invalid job that API admission did not reject and that no controller has picked up.
#[derive(Debug)]
pub(super) struct InvalidJob {
    pub(super) uid: String,
    pub(super) errors: String,
    pub(super) status: Value,
    pub(super) resource_version: String,
}

/// An object of the resource `mxjobs`.
#[derive(Clone, Debug)]
pub(super) enum StoredJob {
    /// A job to manage.
    Job(Arc<JobDocument>),
    /// A job that must fail because it is invalid.
    Invalid(Arc<InvalidJob>),
    /// A job that cannot be read although a controller has picked it up. It is ignored: failing it
    /// would stop what runs.
    Unreadable(Arc<UnreadableJob>),
    /// A job that cannot be read and has failed: nothing is left to do or to report.
    Finished,
}

/// A job that cannot be read and is ignored.
#[derive(Debug)]
pub(super) struct UnreadableJob {
    pub(super) uid: String,
    pub(super) why: String,
    pub(super) resource_version: String,
}

impl StoredJob {
    /// Reads a job.
    ///
    /// Only a job without conditions is validated. One that has conditions was picked up by this
    /// operator or an older one with other rules; it is managed as well as it can be read. A job
    /// that was rejected has a condition `Failed` and stays rejected, even if it is corrected
    /// afterwards: a finished job never starts again.
    pub(super) fn read(object: &Value) -> Self {
        let status = object.get("status").cloned().unwrap_or_default();
        let text = |field: &str| {
            let value = object.get("metadata").and_then(|metadata| metadata.get(field));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let conditions = status.get("conditions").and_then(Value::as_array);
        let is_new = conditions.is_none_or(Vec::is_empty)
            && object.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null);
        let errors = if is_new { validate::validate(object) } else { Vec::new().into() };
        let job = Job::from_value(object);
        let errors = match &job {
            _ if !errors.is_empty() => errors.to_string(),
            Ok(_) => String::new(),
            Err(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let why =
                    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                // Nothing is left to report once it has failed.
                if !is_new && has_failed(&status) {
                    return Self::Finished;
                }
                if !is_new {
                    let mut named = validate::validate(object);
                    named.append(validate::validate_status(object));
                    // The parser does not name the field, the schema does.
                    let why = if named.is_empty() { why } else { format!("{why} ({named})") };
                    let (uid, resource_version) = (text("uid"), text("resourceVersion"));
                    return Self::Unreadable(Arc::new(UnreadableJob {
                        uid,
                        why,
                        resource_version,
                    }));
                }
                why
            }
        };
        match job {
            Ok(job) if errors.is_empty() => Self::Job(Arc::new(JobDocument {
                job: Arc::new(job),
                memory: Memory::read(&status),
                annotations: object
                    .pointer("/metadata/annotations")
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default(),
                status,
                resource_version: text("resourceVersion"),
            })),
            _ => Self::Invalid(Arc::new(InvalidJob {
                uid: text("uid"),
                errors,
                status,
                resource_version: text("resourceVersion"),
            })),
        }
    }

    pub(super) fn job(&self) -> Option<&Arc<JobDocument>> {
        match self {
            Self::Job(document) => Some(document),
            Self::Invalid(_) | Self::Unreadable(_) | Self::Finished => None,
        }
    }
}

fn has_failed(status: &Value) -> bool {
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let text = |field: &str| condition.get(field).and_then(Value::as_str);
        text("type") == Some("Failed") && text("status") == Some("True")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> StoredJob {
        let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
        let mut object = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": { "name": "digits", "namespace": "default", "uid": "u", "resourceVersion": "7" },
            "spec": { "mxReplicaSpecs": { "Worker": { "template": template } } },
        });
        change(&mut object);
        StoredJob::read(&object)
    }

    fn conditions() -> Value {
        json!({ "conditions": [{ "type": "Created", "status": "True" }] })
    }

    #[test]
    fn only_a_new_job_is_rejected_as_invalid() {
        assert!(matches!(read(|_| ()), StoredJob::Job(_)));
        let invalid = |job: &mut Value| job["spec"]["mxReplicaSpecs"]["Server"] = json!({});
        let StoredJob::Invalid(rejected) = read(invalid) else { panic!("it is invalid") };
        assert!(rejected.errors.contains("spec.mxReplicaSpecs"), "{}", rejected.errors);
        let begun = |job: &mut Value| {
            invalid(job);
            job["status"] = conditions();
        };
        assert!(matches!(read(begun), StoredJob::Job(_)));
    }

    #[test]
    fn unreadable_jobs_are_rejected_when_new_and_ignored_otherwise() {
        let unreadable = |job: &mut Value| job["spec"]["jobMode"] = json!(3);
        let StoredJob::Invalid(rejected) = read(unreadable) else { panic!("it cannot be read") };
        assert!(rejected.errors.contains("spec.jobMode"), "{}", rejected.errors);
        let begun = |job: &mut Value| {
            unreadable(job);
            job["status"] = conditions();
        };
        let StoredJob::Unreadable(unread) = read(begun) else { panic!("it cannot be read") };
        assert!(unread.why.contains("jobMode"), "{}", unread.why);
        assert_eq!((unread.uid.as_str(), unread.resource_version.as_str()), ("u", "7"));
        let failed = |job: &mut Value| {
            unreadable(job);
            job["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
        };
        assert!(matches!(read(failed), StoredJob::Finished));
        let strange = |job: &mut Value| job["status"] = json!({ "startTime": 5 });
        let StoredJob::Invalid(rejected) = read(strange) else {
            panic!("its status cannot be read")
        };
        assert!(rejected.errors.contains("reading the status"), "{}", rejected.errors);
    }
}
