//! What the cgroups of a pod and of its containers are limited to. Pure, except for the default
//! limit of processes.

use std::fs;

use k8s_openapi::api::core::v1::{Container, Pod};
use mxjob_machinery::resources::{CPU, MEMORY, Resources};

use crate::state::ResourceLimits;

/// More processes and threads than any training has, even with a loader per CPU and a pool of
/// threads in each.
const MAX_PIDS: u64 = 32_768;

/// The limits of all containers together. Memory and CPU are limited if they are for each
/// container.
pub(super) fn of_pod(pod: &Pod, pids: Option<u64>) -> ResourceLimits {
    // A typed object can always be serialised.
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    let (asks, limits) = (Resources::of_pod(&spec), Resources::limits_of_pod(&spec));
    let limits = ResourceLimits::of_amounts(asks.get(CPU), limits.get(CPU), limits.get(MEMORY));
    ResourceLimits { pids, ..limits }
}

/// The limits of a container.
pub(super) fn of_container(container: &Container) -> ResourceLimits {
    let container = serde_json::to_value(container).unwrap_or_default();
    let asks = Resources::of_container(&container);
    let limits = Resources::limits_of_container(&container);
    ResourceLimits::of_amounts(asks.get(CPU), limits.get(CPU), limits.get(MEMORY))
}

/// The default limit of processes and threads of a pod: half of what the machine can have at most,
/// so that one pod cannot use all.
pub(super) fn default_pids() -> u64 {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
    };
    let machine = ["pid_max", "threads-max"].into_iter().filter_map(number).min();
    machine.map_or(MAX_PIDS, |most| MAX_PIDS.min(most / 2))
}
