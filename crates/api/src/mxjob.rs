//! The identity of the resource, and the fixed names in its pods.

/// API group.
pub const GROUP: &str = "kubeflow.org";
/// The only served and accepted version.
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

/// The maximum number of replicas of a job, all roles together.
///
/// Reading a job takes time and memory for each replica, so a number in a spec must be limited. The
/// limit is far above what fits into `MX_CONFIG`, which names all replicas of a job in 128 KiB
/// ([`env::CONFIG_LIMIT`](crate::env::CONFIG_LIMIT)). Admission, the rules of the definition and
/// the controller check it before they iterate.
pub const MAX_REPLICAS: u32 = 10_000;

/// The training container: its port is advertised and its exit code decides the outcome.
pub const CONTAINER: &str = "mxnet";
/// Name of the container and service port that replicas advertise.
pub const PORT_NAME: &str = "mxjob-port";
/// The port if the training container names none.
pub const DEFAULT_PORT: u16 = 9091;
/// Template annotation that is an alias of a replica's `label`.
pub const TUNER_KEY_ANNOTATION: &str = "tuner-server-key";
