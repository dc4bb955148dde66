//! What the node and its pods use, for the API server and for metrics.

use mxjob_apiserver::node;
use mxjob_node::agent;

/// The node's answer as the API server reads it.
pub(super) fn of(name: String, measured: agent::NodeUsage) -> node::NodeUsage {
    let usage = |used: agent::Usage| node::Usage { cpu_nanos: used.cpu_nanos, memory: used.memory };
    let pod = |pod: agent::PodUsage| node::PodUsage {
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        containers: pod.containers.into_iter().map(|(name, used)| (name, usage(used))).collect(),
    };
    node::NodeUsage {
        name,
        time: measured.time,
        window: measured.window,
        node: usage(measured.node),
        pods: measured.pods.into_iter().map(pod).collect(),
    }
}
