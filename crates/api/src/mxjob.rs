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

/// The training container: its port is advertised and its exit code decides.
pub const CONTAINER: &str = "mxnet";
/// Name of the container and service port that replicas advertise.
pub const PORT_NAME: &str = "mxjob-port";
/// The port where the training container names none.
pub const DEFAULT_PORT: u16 = 9091;
/// Template annotation that is another spelling of a replica's `label`.
pub const TUNER_KEY_ANNOTATION: &str = "tuner-server-key";
