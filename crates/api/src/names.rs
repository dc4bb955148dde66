//! Names of a replica's pod and service.

use crate::job::Job;
use crate::role::Role;

/// `{job}-{role in lower case}-{index}`: the name of both the pod and the service of one replica.
///
/// There is no random suffix, so a replacement has its predecessor's name and must wait until that
/// pod is gone.
pub fn pod_name(job: &str, role: Role, index: u32) -> String {
    format!("{job}-{}-{index}", role.lower())
}

/// The name of a replica's service: the same as its pod's.
pub fn service_name(job: &str, role: Role, index: u32) -> String {
    pod_name(job, role, index)
}

/// The replica of a job with this pod or service name, if the job has such a replica.
pub fn replica_of(job: &Job, name: &str) -> Option<(Role, u32)> {
    let rest = name.strip_prefix(&job.name)?.strip_prefix('-')?;
    job.replicas.iter().find_map(|replica| {
        let index = rest.strip_prefix(replica.role.lower())?.strip_prefix('-')?.parse().ok()?;
        // Only the canonical decimal spelling names a replica.
        let is_replica = index < replica.count && pod_name(&job.name, replica.role, index) == name;
        is_replica.then_some((replica.role, index))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_consist_of_job_role_and_index() {
        for (role, index, name) in [
            (Role::Scheduler, 0, "mxnet-job-scheduler-0"),
            (Role::Worker, 12, "mxnet-job-worker-12"),
            (Role::TunerTracker, 0, "mxnet-job-tunertracker-0"),
        ] {
            assert_eq!(pod_name("mxnet-job", role, index), name);
            assert_eq!(service_name("mxnet-job", role, index), name);
        }
    }
    #[test]
    fn names_parse_back_to_their_replica() {
        let roles = json!({ "Scheduler": {}, "Worker": { "replicas": 12 } });
        let job = json!({ "metadata": { "name": "a-b" }, "spec": { "mxReplicaSpecs": roles } });
        let job = Job::from_value(&job).unwrap();
        for (name, replica) in [
            ("a-b-scheduler-0", Some((Role::Scheduler, 0))),
            ("a-b-worker-11", Some((Role::Worker, 11))),
            ("a-b-worker-12", None),
            ("a-b-worker-01", None),
            ("a-b-worker-+1", None),
            ("a-b-server-0", None),
            ("a-b", None),
            ("a-worker-0", None),
        ] {
            assert_eq!(replica_of(&job, name), replica, "{name}");
        }
    }
}
