//! Names of the objects that make up an installation. The manifests create them and the operator
//! finds them by these names.

/// The default namespace of the operator.
pub const NAMESPACE: &str = "mxjob-system";
/// The name of the Deployment, the ServiceAccount, the roles and their bindings, the
/// PodDisruptionBudget and the Lease.
pub const OPERATOR: &str = "mxjob-operator";
/// The Service in front of the webhook.
pub const WEBHOOK_SERVICE: &str = "mxjob-webhook";
/// The Secret with the webhook's certificates.
pub const WEBHOOK_SECRET: &str = "mxjob-webhook-certificate";
/// The ValidatingWebhookConfiguration.
pub const WEBHOOK_CONFIGURATION: &str = "mxjob";
/// The name of the webhook in that configuration.
pub const WEBHOOK: &str = "validate.mxjobs.kubeflow.org";
/// The path to which the API server sends reviews.
pub const WEBHOOK_PATH: &str = "/validate";
