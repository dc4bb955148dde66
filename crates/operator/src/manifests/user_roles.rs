//! Roles for users, with the names of the first MXJob operators.
//!
//! The labels aggregate them into the roles `admin`, `edit` and `view` of Kubernetes and Kubeflow,
//! so users with such a role in a namespace have the same rights on MXJobs.

use serde_json::{Map, Value, json};

use super::{annotate, object, with};

/// `kubeflow-mxjobs-admin`, `-edit` and `-view`.
pub(super) fn roles() -> Vec<Value> {
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let read = ["get", "list", "watch"];
    let all: Vec<&str> = write.into_iter().chain(read).collect();
    vec![role("admin", &all), role("edit", &all), role("view", &read)]
}

fn role(word: &str, verbs: &[&str]) -> Value {
    let mut role = object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        &format!("kubeflow-mxjobs-{word}"),
        None,
    );
    let labels = [
        format!("rbac.authorization.k8s.io/aggregate-to-{word}"),
        format!("rbac.authorization.kubeflow.org/aggregate-to-kubeflow-{word}"),
    ];
    let labels: Map<String, Value> =
        labels.map(|label| (label, "true".into())).into_iter().collect();
    annotate(&mut role, "labels", labels);
    let rule = |resource: &str, verbs: &[&str]| json!({ "apiGroups": ["kubeflow.org"], "resources": [resource], "verbs": verbs });
    // Only the operator writes the status.
    with(role, json!({ "rules": [rule("mxjobs", verbs), rule("mxjobs/status", &["get"])] }))
}
