//! Roles for people, under the names that they have had since the first operators of MXJobs.
//!
//! Whoever is admin, may edit or may view in a namespace (or has such a role in Kubeflow) may do so with MXJobs too: the labels make
//! these roles part of those.

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
    // The status is the operator's to write.
    with(role, json!({ "rules": [rule("mxjobs", verbs), rule("mxjobs/status", &["get"])] }))
}
