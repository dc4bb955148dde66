//! The identity of the resource, and the fixed words of its pods.

/// API group.
pub const GROUP: &str = "kubeflow.org";
/// The only version that is served and accepted.
pub const VERSION: &str = "v1";
/// `apiVersion` of every object.
pub const API_VERSION: &str = "kubeflow.org/v1";
/// Kind.
pub const KIND: &str = "MXJob";
/// Kind of a list.
pub const LIST_KIND: &str = "MXJobList";
/// Resource name in paths.
pub const PLURAL: &str = "mxjobs";
/// Singular resource name.
pub const SINGULAR: &str = "mxjob";
/// Short name for `kubectl get`.
pub const SHORT_NAME: &str = "mxj";
/// Category for `kubectl get all`.
pub const CATEGORY: &str = "all";

/// The most replicas that a job may have in all roles together.
///
/// Whoever reads a job spends time and memory on each of its replicas, so a number that somebody typed must not decide how much. It is far
/// above what `MX_CONFIG` has room for, which names all replicas of a job in 128 KiB ([`env::CONFIG_LIMIT`](crate::env::CONFIG_LIMIT)).
/// Admission checks it, the rules of the definition do, and the controller does before it expands anything.
pub const MAX_REPLICAS: u32 = 10_000;

/// The training container: its port is advertised and its exit code decides.
pub const CONTAINER: &str = "mxnet";
/// Name of the container and service port that replicas advertise.
pub const PORT_NAME: &str = "mxjob-port";
/// The port where the training container names none.
pub const DEFAULT_PORT: u16 = 9091;
/// Template annotation that is another spelling of a replica's `label`.
pub const TUNER_KEY_ANNOTATION: &str = "tuner-server-key";
