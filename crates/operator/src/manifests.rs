//! What installs the operator on a cluster: every object, from one source.
//!
//! ```text
//! Settings ─▶ all ─┬─▶ `mxjob manifests`            (any settings, any parts)
//!                  ├─▶ manifests/install.yaml       (the usual ones), and with it the kustomization
//!                  └─▶ manifests/helm/mxjob/        (settings turned into values of a chart)
//! ```
//!
//! Rights come from [`preflight`](crate::preflight), which takes the controller's from the controller: none is written here.
//! Pure: settings in, objects and texts out.

mod access;
mod admission;
mod chart;
mod command;
mod files;
mod text;
mod users;
mod workload;

use serde_json::{Map, Value, json};

pub use files::{File, files};

/// The usual namespace of the operator.
pub const NAMESPACE: &str = "mxjob-system";
/// The name of the Deployment, the ServiceAccount, the roles and their bindings, the PodDisruptionBudget and the Lease.
pub const OPERATOR: &str = "mxjob-operator";
/// The version that is installed.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How the operator is installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it runs.
    pub namespace: String,
    /// The image of its pods.
    pub image: String,
    /// How many of them there are. One leads; all of them answer the webhook.
    pub replicas: u32,
    /// Who starts a job's pods together: `none`, `volcano`, or the name of a scheduler with the coscheduling plugin.
    pub gang_scheduler: String,
    /// The one namespace whose jobs are looked after, instead of all.
    pub watch_namespace: Option<String>,
    /// Whether jobs are checked by the webhook.
    pub webhook: bool,
    /// Secrets with the credentials for the image's registry.
    pub image_pull_secrets: Vec<String>,
    /// Labels of the nodes that a pod may run on.
    pub node_selector: Map<String, Value>,
    /// More arguments of `mxjob operator`, as they are.
    pub extra_args: Vec<String>,
    /// Requests and limits of a pod.
    pub resources: Value,
}

/// Objects that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The namespace of the operator.
    Namespace,
    /// The definition of the MXJob.
    Crd,
    /// The operator's service account and its rights.
    Rbac,
    /// Roles for people.
    Roles,
    /// What runs: the Deployment, its Service for metrics and its PodDisruptionBudget.
    Operator,
    /// The Service and the configuration of the webhook.
    Webhook,
}

// === impl Part ===

impl Part {
    /// In the order in which a cluster should get them. The webhook comes last: from then on jobs need the operator.
    pub const ALL: [Self; 6] =
        [Self::Namespace, Self::Crd, Self::Rbac, Self::Roles, Self::Operator, Self::Webhook];

    /// The word for it on the command line.
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

    /// Its objects. A member whose name starts with `#` is a comment on the one with the rest of the name.
    fn objects(self, settings: &Settings) -> Vec<Value> {
        match self {
            Self::Namespace => vec![workload::namespace(settings)],
            Self::Crd => vec![mxjob_api::crd::crd()],
            Self::Rbac => access::objects(settings),
            Self::Roles => users::roles(),
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
    /// The parts of a whole installation. A namespace of another name than the usual one is likely to be there already, with other things in
    /// it: it is neither changed by an installation nor deleted with it.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let is_wanted = |part: &Part| *part != Part::Namespace || self.namespace == NAMESPACE;
        Part::ALL.into_iter().filter(is_wanted).collect()
    }
}

/// Every object, in the order in which a cluster should get them.
#[must_use]
pub fn all(settings: &Settings) -> Vec<Value> {
    parts(settings, &settings.parts())
}

/// The objects of some parts, in the same order.
#[must_use]
pub fn parts(settings: &Settings, parts: &[Part]) -> Vec<Value> {
    let chosen = Part::ALL.into_iter().filter(|part| parts.contains(part));
    chosen.flat_map(|part| part.objects(settings)).map(|object| text::bare(&object)).collect()
}

/// The same as YAML documents for people: in the order that they are used to, and with reasons.
#[must_use]
pub fn yaml(settings: &Settings, parts: &[Part]) -> String {
    let chosen = Part::ALL.into_iter().filter(|part| parts.contains(part));
    let objects: Vec<Value> = chosen.flat_map(|part| part.objects(settings)).collect();
    text::documents(&objects)
}

/// The same as one JSON object, a `List`.
#[must_use]
pub fn json(settings: &Settings, parts: &[Part]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": self::parts(settings, parts) })
}

/// An object with its identity.
fn object(group_version: &str, kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({ "name": name, "labels": labels("operator") });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": group_version, "kind": kind, "metadata": metadata })
}

/// The labels of an object that is part of something.
fn labels(component: &str) -> Value {
    let mut labels = selector(component);
    labels["app.kubernetes.io/part-of"] = "mxjob".into();
    labels["app.kubernetes.io/version"] = VERSION.into();
    labels
}

/// Those of them that never change, to select by.
fn selector(component: &str) -> Value {
    json!({ "app.kubernetes.io/name": "mxjob", "app.kubernetes.io/component": component })
}

/// An object with more members.
fn with(mut object: Value, members: Value) -> Value {
    if let (Some(object), Value::Object(members)) = (object.as_object_mut(), members) {
        object.extend(members);
    }
    object
}

/// Adds labels or annotations.
fn annotate(object: &mut Value, field: &str, members: Map<String, Value>) {
    let place = &mut object["metadata"][field];
    if let Some(place) = place.as_object_mut() {
        place.extend(members);
    } else {
        *place = Value::Object(members);
    }
}

#[cfg(test)]
mod tests;
