//! Fields of a job's pod templates that a node of processes does not honour.

use mxjob_machinery::field::Path;
use mxjob_machinery::pod_fields::{self, Findings};
use mxjob_machinery::schema::member;
use serde_json::Value;

use crate::job::Job;

/// The findings in the templates of any JSON. A template that is no object has none.
///
/// ```
/// use serde_json::json;
///
/// let job = json!({ "spec": { "mxReplicaSpecs": { "Worker": { "template": { "spec": {
///     "hostUsers": false,
/// } } } } } });
/// let found = mxjob_api::pod_fields::check(&job);
/// let path = "spec.mxReplicaSpecs.Worker.template.spec.hostUsers";
/// assert_eq!(found.refused[0].path.as_str(), path);
/// ```
pub fn check(job: &Value) -> Findings {
    let replicas = job.pointer("/spec/mxReplicaSpecs").and_then(Value::as_object);
    let templates = replicas.into_iter().flatten();
    all(templates.filter_map(|(role, spec)| Some((role.as_str(), spec.get("template")?))))
}

/// The same for a job that was read.
pub fn check_job(job: &Job) -> Findings {
    all(job.replicas.iter().map(|replica| (replica.role.as_str(), &replica.template)))
}

fn all<'a>(templates: impl Iterator<Item = (&'a str, &'a Value)>) -> Findings {
    let path = Path::new("spec").child("mxReplicaSpecs");
    let mut findings = Findings::default();
    for (role, template) in templates {
        let Some(spec) = template.get("spec") else { continue };
        let path = member(&path, role).child("template").child("spec");
        findings.append(pod_fields::check(spec, &path));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_checked_alike_as_json_and_as_read() {
        let template = json!({ "spec": { "hostUsers": false, "schedulerName": "volcano" } });
        let job = json!({ "metadata": { "name": "a", "namespace": "b", "uid": "c" }, "spec": {
            "mxReplicaSpecs": { "Worker": { "template": template }, "Server": { "template": template } },
        } });
        let found = check(&job);
        let refused: Vec<_> = found.refused.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            refused,
            [
                "spec.mxReplicaSpecs.Server.template.spec.hostUsers",
                "spec.mxReplicaSpecs.Worker.template.spec.hostUsers",
            ]
        );
        assert_eq!(found.warned.len(), 2);
        let mut read = check_job(&Job::from_value(&job).unwrap());
        read.warned.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(read.warned, found.warned);
    }

    #[test]
    fn any_json_may_be_checked() {
        for job in [
            json!(null),
            json!({ "spec": { "mxReplicaSpecs": [1] } }),
            json!({ "spec": { "mxReplicaSpecs": { "Worker": 1, "x": { "template": [] } } } }),
        ] {
            assert!(check(&job).is_empty(), "{job}");
        }
    }
}
