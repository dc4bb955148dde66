//! The objects that install the operator on a cluster, from one source.
//!
//! ```text
//! Settings ─▶ all ─┬─▶ `mxjob manifests`            (any settings, any parts)
//!                  ├─▶ manifests/install.yaml       (the defaults), and with it the kustomization
//!                  └─▶ manifests/helm/mxjob/        (settings become values of a chart)
//! ```
//!
//! Rights come from [`preflight`](crate::preflight), which takes the controller's from the
//! controller. Pure: settings in, objects and text out.

mod admission;
mod chart;
mod command;
mod files;
mod rbac;
mod render;
mod user_roles;
mod workload;

use serde_json::{Map, Value, json};

pub use crate::names::{NAMESPACE, OPERATOR};
pub use files::{File, files};

/// The version of the image and the labels.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How the operator is installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The namespace of the operator.
    pub namespace: String,
    /// The image of its pods.
    pub image: String,
    /// The number of pods. One leads; all of them serve the webhook.
    pub replicas: u32,
    /// Gang scheduler: `none`, `volcano`, or the name of a scheduler with the coscheduling plugin.
    pub gang_scheduler: String,
    /// The one namespace whose jobs are managed; all namespaces if `None`.
    pub watch_namespace: Option<String>,
    /// Whether the webhook checks jobs.
    pub webhook: bool,
    /// Names of the Secrets with credentials for the image's registry.
    pub image_pull_secrets: Vec<String>,
    /// Labels of the nodes on which a pod may run.
    pub node_selector: Map<String, Value>,
    /// Additional arguments of `mxjob operator`, passed on unchanged.
    pub extra_args: Vec<String>,
    /// Requests and limits of a pod.
    pub resources: Value,
}

/// A group of objects that can be printed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The namespace of the operator.
    Namespace,
    /// The CustomResourceDefinition of the MXJob.
    Crd,
    /// The operator's ServiceAccount with its roles and bindings.
    Rbac,
    /// Roles for users.
    Roles,
    /// The Deployment, its Service for metrics and its PodDisruptionBudget.
    Operator,
    /// The Service and the configuration of the webhook.
    Webhook,
}

// === impl Part ===

impl Part {
    /// In the order of installation. The webhook comes last: from then on jobs need the operator.
    pub const ALL: [Self; 6] =
        [Self::Namespace, Self::Crd, Self::Rbac, Self::Roles, Self::Operator, Self::Webhook];

    /// Its name on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Crd => "crd",
            Self::Rbac => "rbac",
            Self::Roles => "roles",
            Self::Operator => "operator",
            Self::Webhook => "webhook",
        }
    }

    /// Its objects. A member `#NAME` is a comment on the member `NAME`.
    fn objects(self, settings: &Settings) -> Vec<Value> {
        match self {
            Self::Namespace => vec![workload::namespace(settings)],
            Self::Crd => vec![mxjob_api::crd::crd()],
            Self::Rbac => rbac::objects(settings),
            Self::Roles => user_roles::roles(),
            Self::Operator => workload::objects(settings),
            Self::Webhook if settings.webhook => admission::objects(settings),
            Self::Webhook => Vec::new(),
        }
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.to_owned(),
            image: format!("mxjob:{VERSION}"),
            replicas: 2,
            gang_scheduler: "none".to_owned(),
            watch_namespace: None,
            webhook: true,
            image_pull_secrets: Vec::new(),
            node_selector: Map::from_iter([("kubernetes.io/os".to_owned(), "linux".into())]),
            extra_args: Vec::new(),
            resources: workload::resources(),
        }
    }
}

impl Settings {
    /// The parts of a whole installation. A namespace other than the default one probably exists
    /// already and holds other objects, so an installation neither changes nor deletes it.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let is_included = |part: &Part| *part != Part::Namespace || self.namespace == NAMESPACE;
        Part::ALL.into_iter().filter(is_included).collect()
    }
}

/// All objects, in the order of installation.
#[must_use]
pub fn all(settings: &Settings) -> Vec<Value> {
    parts(settings, &settings.parts())
}

/// The objects of some parts, in the same order.
#[must_use]
pub fn parts(settings: &Settings, parts: &[Part]) -> Vec<Value> {
    let chosen = Part::ALL.into_iter().filter(|part| parts.contains(part));
    chosen.flat_map(|part| part.objects(settings)).map(|object| render::bare(&object)).collect()
}

/// The same as YAML documents for people: with the usual order of keys, and with comments.
#[must_use]
pub fn yaml(settings: &Settings, parts: &[Part]) -> String {
    let chosen = Part::ALL.into_iter().filter(|part| parts.contains(part));
    let objects: Vec<Value> = chosen.flat_map(|part| part.objects(settings)).collect();
    render::documents(&objects)
}

/// The same as one JSON object, a `List`.
#[must_use]
pub fn json(settings: &Settings, parts: &[Part]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": self::parts(settings, parts) })
}

/// An object with its name and labels.
fn object(group_version: &str, kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({ "name": name, "labels": labels("operator") });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": group_version, "kind": kind, "metadata": metadata })
}

/// The labels of an object of a component.
fn labels(component: &str) -> Value {
    let mut labels = selector(component);
    labels["app.kubernetes.io/part-of"] = "mxjob".into();
    labels["app.kubernetes.io/version"] = VERSION.into();
    labels
}

/// The labels that never change, for selectors.
fn selector(component: &str) -> Value {
    json!({ "app.kubernetes.io/name": "mxjob", "app.kubernetes.io/component": component })
}

/// An object with additional members.
fn with(mut object: Value, members: Value) -> Value {
    if let (Some(object), Value::Object(members)) = (object.as_object_mut(), members) {
        object.extend(members);
    }
    object
}

/// Adds labels or annotations.
fn annotate(object: &mut Value, field: &str, members: Map<String, Value>) {
    let target = &mut object["metadata"][field];
    if let Some(target) = target.as_object_mut() {
        target.extend(members);
    } else {
        *target = Value::Object(members);
    }
}

#[cfg(test)]
mod tests;
