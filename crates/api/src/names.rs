//! Names of a replica's pod and service.

use crate::role::Role;

/// `{job}-{role in lower case}-{index}`: the name of both the pod and the service of one replica.
///
/// There is no random suffix, so a replacement has its predecessor's name and waits until that one is gone.
pub fn pod_name(job: &str, role: Role, index: u32) -> String {
    format!("{job}-{}-{index}", role.lower())
}

/// The name of a replica's service: the same as its pod's.
pub fn service_name(job: &str, role: Role, index: u32) -> String {
    pod_name(job, role, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_named_after_its_job_role_and_index() {
        for (role, index, name) in [
            (Role::Scheduler, 0, "mxnet-job-scheduler-0"),
            (Role::Worker, 12, "mxnet-job-worker-12"),
            (Role::TunerTracker, 0, "mxnet-job-tunertracker-0"),
        ] {
            assert_eq!(pod_name("mxnet-job", role, index), name);
            assert_eq!(service_name("mxnet-job", role, index), name);
        }
    }
}
