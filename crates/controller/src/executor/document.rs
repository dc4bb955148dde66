//! Jobs as the controller keeps them: read once, when a watch or an answer brings them.

use crate::memory::Memory;
use mxjob_api::{Job, validate};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A job as it was last seen.
#[derive(Debug)]
pub(super) struct JobDocument {
    pub(super) job: Arc<Job>,
    pub(super) memory: Memory,
    /// `metadata.annotations`.
    pub(super) annotations: Map<String, Value>,
    /// The stored status, to patch.
    pub(super) status: Value,
    /// As text: only the server may interpret it.
    pub(super) resource_version: String,
}

/// A job that slipped past admission and that nobody has begun with.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) uid: String,
    /// What is wrong with it.
    pub(super) faults: String,
    pub(super) status: Value,
    pub(super) resource_version: String,
}

/// What a watch brings under the name of a job.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// A job to look after.
    Job(Arc<JobDocument>),
    /// One to be told that it will not do.
    Refused(Arc<Refused>),
    /// One that cannot be read although somebody has begun with it. It is left alone: to fail it for its form would stop what runs.
    Unreadable(Arc<Unreadable>),
    /// One that cannot be read and has failed: there is nothing left to do or to say.
    Finished,
}

/// A job that cannot be read and is left alone.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) uid: String,
    /// Which part of it, and why.
    pub(super) why: String,
    pub(super) resource_version: String,
}

impl Seen {
    /// Reads a job.
    ///
    /// Whether it is valid is asked only of one without conditions. One that has some was taken up by this operator or one before it,
    /// whose rules were other ones; it is managed as well as it can be read. A job that was refused has a condition `Failed` and stays
    /// refused, whatever is changed in it afterwards: nothing that has finished begins again.
    pub(super) fn read(object: &Value) -> Self {
        let status = object.get("status").cloned().unwrap_or_default();
        let text = |field: &str| {
            let value = object.get("metadata").and_then(|metadata| metadata.get(field));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let conditions = status.get("conditions").and_then(Value::as_array);
        let is_new = conditions.is_none_or(Vec::is_empty)
            && object.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null);
        let faults = if is_new { validate::validate(object) } else { Vec::new().into() };
        let job = Job::from_value(object);
        let faults = match &job {
            _ if !faults.is_empty() => faults.to_string(),
            Ok(_) => String::new(),
            Err(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let why =
                    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                // Once it has failed there is nothing more to say of it.
                if !is_new && has_failed(&status) {
                    return Self::Finished;
                }
                if !is_new {
                    let mut named = validate::validate(object);
                    named.extend(validate::validate_status(object));
                    // The reader does not say which field it was, the schema does.
                    let why = if named.is_empty() { why } else { format!("{why} ({named})") };
                    let (uid, resource_version) = (text("uid"), text("resourceVersion"));
                    return Self::Unreadable(Arc::new(Unreadable { uid, why, resource_version }));
                }
                why
            }
        };
        match job {
            Ok(job) if faults.is_empty() => Self::Job(Arc::new(JobDocument {
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
            _ => Self::Refused(Arc::new(Refused {
                uid: text("uid"),
                faults,
                status,
                resource_version: text("resourceVersion"),
            })),
        }
    }

    pub(super) fn job(&self) -> Option<&Arc<JobDocument>> {
        match self {
            Self::Job(document) => Some(document),
            Self::Refused(_) | Self::Unreadable(_) | Self::Finished => None,
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
    use super::*;
    use serde_json::json;

    fn read(change: impl FnOnce(&mut Value)) -> Seen {
        let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
        let mut object = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": { "name": "digits", "namespace": "default", "uid": "u", "resourceVersion": "7" },
            "spec": { "mxReplicaSpecs": { "Worker": { "template": template } } },
        });
        change(&mut object);
        Seen::read(&object)
    }

    fn conditions() -> Value {
        json!({ "conditions": [{ "type": "Created", "status": "True" }] })
    }

    #[test]
    fn only_a_new_job_is_refused_for_its_form() {
        assert!(matches!(read(|_| ()), Seen::Job(_)));
        let invalid = |job: &mut Value| job["spec"]["mxReplicaSpecs"]["Server"] = json!({});
        let Seen::Refused(refused) = read(invalid) else { panic!("it is invalid") };
        assert!(refused.faults.contains("spec.mxReplicaSpecs"), "{}", refused.faults);
        let begun = |job: &mut Value| {
            invalid(job);
            job["status"] = conditions();
        };
        assert!(matches!(read(begun), Seen::Job(_)));
    }

    #[test]
    fn what_cannot_be_read_is_refused_when_it_is_new_and_left_alone_else() {
        let unreadable = |job: &mut Value| job["spec"]["jobMode"] = json!(3);
        let Seen::Refused(refused) = read(unreadable) else { panic!("it cannot be read") };
        assert!(refused.faults.contains("spec.jobMode"), "{}", refused.faults);
        let begun = |job: &mut Value| {
            unreadable(job);
            job["status"] = conditions();
        };
        let Seen::Unreadable(unread) = read(begun) else { panic!("it cannot be read") };
        assert!(unread.why.contains("jobMode"), "{}", unread.why);
        assert_eq!((unread.uid.as_str(), unread.resource_version.as_str()), ("u", "7"));
        let failed = |job: &mut Value| {
            unreadable(job);
            job["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
        };
        assert!(matches!(read(failed), Seen::Finished));
        let strange = |job: &mut Value| job["status"] = json!({ "startTime": 5 });
        let Seen::Refused(refused) = read(strange) else { panic!("its status cannot be read") };
        assert!(refused.faults.contains("reading the status"), "{}", refused.faults);
    }
}
