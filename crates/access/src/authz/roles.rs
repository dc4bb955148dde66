//! The default roles and bindings. Names and rules are upstream's, limited to the resources served
//! here; `system:node`, `system:mxjob-controller` and the roles for MXJobs are ours.

use serde_json::{Value, json};

use crate::authz::policy::GROUP;
use crate::authz::rules::Rule;
use crate::identity::{
    CONTROLLER, SYSTEM_AUTHENTICATED, SYSTEM_MASTERS, SYSTEM_NODES, SYSTEM_SERVICE_ACCOUNTS,
    SYSTEM_UNAUTHENTICATED,
};

/// Annotation of a default role or binding; with `false` the server does not update it.
pub const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const EVERY: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const MXJOBS: &str = "kubeflow.org";
/// Labels by which `admin`, `edit` and `view` aggregate a role.
const TO_ADMIN: &str = "rbac.authorization.k8s.io/aggregate-to-admin";
const TO_EDIT: &str = "rbac.authorization.k8s.io/aggregate-to-edit";
const TO_VIEW: &str = "rbac.authorization.k8s.io/aggregate-to-view";
/// Labels by which Kubeflow's own roles aggregate.
const TO_KUBEFLOW_ADMIN: &str = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-admin";
const TO_KUBEFLOW_EDIT: &str = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-edit";
const TO_KUBEFLOW_VIEW: &str = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-view";
const TO_MXJOBS_ADMIN: &str = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-mxjobs-admin";

/// Prefix of the names of the roles for MXJobs.
pub const OF_MXJOBS: &str = "kubeflow-mxjobs-";
/// Paths about the server's health and version, for everybody.
const PUBLIC_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];
/// Paths of discovery and OpenAPI.
const DISCOVERY_PATHS: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

/// All default roles and bindings, without the fields that the server sets (uid, times).
pub fn all() -> Vec<Value> {
    let mut objects = users();
    objects.extend(aggregated());
    objects.extend(mxjobs());
    objects.extend(components());
    objects
}

fn users() -> Vec<Value> {
    let everybody = || group(SYSTEM_AUTHENTICATED);
    let reviews = &["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    vec![
        role(
            "cluster-admin",
            &[],
            &[Rule::on(&["*"], &["*"], &["*"]), Rule::on_paths(&["*"], &["*"])],
        ),
        binding("cluster-admin", "cluster-admin", &[group(SYSTEM_MASTERS)]),
        role("system:discovery", &[], &[Rule::on_paths(DISCOVERY_PATHS, &["get"])]),
        binding("system:discovery", "system:discovery", &[everybody()]),
        role(
            "system:basic-user",
            &[],
            &[
                Rule::on(&["authorization.k8s.io"], reviews, &["create"]),
                Rule::on(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
            ],
        ),
        binding("system:basic-user", "system:basic-user", &[everybody()]),
        role("system:public-info-viewer", &[], &[Rule::on_paths(PUBLIC_PATHS, &["get"])]),
        binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &[everybody(), group(SYSTEM_UNAUTHENTICATED)],
        ),
        role(
            "system:service-account-issuer-discovery",
            &[],
            &[Rule::on_paths(
                &["/.well-known/openid-configuration", "/openid/v1/jwks", "/openid/v1/jwks/"],
                &["get"],
            )],
        ),
        binding(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            &[group(SYSTEM_SERVICE_ACCOUNTS)],
        ),
        role(
            "system:monitoring",
            &[],
            &[Rule::on_paths(
                &[
                    "/healthz",
                    "/healthz/*",
                    "/livez",
                    "/livez/*",
                    "/metrics",
                    "/metrics/slis",
                    "/readyz",
                    "/readyz/*",
                ],
                &["get"],
            )],
        ),
        binding("system:monitoring", "system:monitoring", &[group("system:monitoring")]),
        role(
            "system:auth-delegator",
            &[],
            &[
                Rule::on(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
                Rule::on(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
            ],
        ),
    ]
}

fn aggregated() -> Vec<Value> {
    let into_pods = &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy"];
    vec![
        aggregating("admin", &[], TO_ADMIN),
        aggregating("edit", &[TO_ADMIN], TO_EDIT),
        aggregating("view", &[TO_EDIT], TO_VIEW),
        role(
            "system:aggregate-to-admin",
            &[TO_ADMIN],
            &[
                Rule::on(&["authorization.k8s.io"], &["localsubjectaccessreviews"], &["create"]),
                Rule::on(&[GROUP], &["roles", "rolebindings"], EVERY),
            ],
        ),
        role(
            "system:aggregate-to-edit",
            &[TO_EDIT],
            &[
                Rule::on(&[""], &[into_pods, &["secrets", "services/proxy"][..]].concat(), READ),
                Rule::on(&[""], &["serviceaccounts"], &["impersonate"]),
                Rule::on(&[""], &[&["pods"][..], into_pods].concat(), WRITE),
                Rule::on(&[""], &["pods/eviction"], &["create"]),
                Rule::on(
                    &[""],
                    &[
                        "configmaps",
                        "events",
                        "persistentvolumeclaims",
                        "secrets",
                        "serviceaccounts",
                        "services",
                        "services/proxy",
                    ],
                    WRITE,
                ),
                Rule::on(&[""], &["serviceaccounts/token"], &["create"]),
                Rule::on(&["coordination.k8s.io"], &["leases"], EVERY),
                Rule::on(&["events.k8s.io"], &["events"], WRITE),
                Rule::on(&["policy"], &["poddisruptionbudgets"], WRITE),
            ],
        ),
        // The role that comes with upstream's metrics server.
        role(
            "system:aggregated-metrics-reader",
            &[TO_ADMIN, TO_EDIT, TO_VIEW],
            &[Rule::on(&["metrics.k8s.io"], &["nodes", "pods"], READ)],
        ),
        role(
            "system:aggregate-to-view",
            &[TO_VIEW],
            &[
                Rule::on(
                    &[""],
                    &[
                        "configmaps",
                        "endpoints",
                        "persistentvolumeclaims",
                        "persistentvolumeclaims/status",
                        "pods",
                        "serviceaccounts",
                        "services",
                        "services/status",
                    ],
                    READ,
                ),
                Rule::on(
                    &[""],
                    &[
                        "bindings",
                        "events",
                        "limitranges",
                        "namespaces/status",
                        "pods/log",
                        "pods/status",
                        "resourcequotas",
                        "resourcequotas/status",
                    ],
                    READ,
                ),
                Rule::on(&[""], &["namespaces"], READ),
                Rule::on(&["discovery.k8s.io"], &["endpointslices"], READ),
                Rule::on(&["events.k8s.io"], &["events"], READ),
                Rule::on(
                    &["policy"],
                    &["poddisruptionbudgets", "poddisruptionbudgets/status"],
                    READ,
                ),
            ],
        ),
    ]
}

/// The roles of older operators (`kubeflow-mxjobs-…`), which also aggregate into the roles above.
fn mxjobs() -> Vec<Value> {
    vec![
        aggregating("kubeflow-mxjobs-admin", &[TO_KUBEFLOW_ADMIN], TO_MXJOBS_ADMIN),
        role(
            "kubeflow-mxjobs-edit",
            &[TO_EDIT, TO_KUBEFLOW_EDIT, TO_MXJOBS_ADMIN],
            &[
                Rule::on(&[MXJOBS], &["mxjobs"], EVERY),
                Rule::on(&[MXJOBS], &["mxjobs/status"], &["get"]),
            ],
        ),
        role(
            "kubeflow-mxjobs-view",
            &[TO_VIEW, TO_KUBEFLOW_VIEW],
            &[
                Rule::on(&[MXJOBS], &["mxjobs"], READ),
                Rule::on(&[MXJOBS], &["mxjobs/status"], &["get"]),
            ],
        ),
    ]
}

/// The rights that the components of this program need, and no more.
fn components() -> Vec<Value> {
    let mut objects = vec![
        role(
            "system:mxjob-controller",
            &[],
            &[
                Rule::on(&[MXJOBS], &["mxjobs"], &["delete", "get", "list", "watch"]),
                Rule::on(&[MXJOBS], &["mxjobs/status"], &["patch"]),
                Rule::on(&[""], &["pods"], &["create", "delete", "get", "list", "patch", "watch"]),
                Rule::on(&[""], &["services"], &["create", "delete", "get", "list", "watch"]),
                Rule::on(&[""], &["events"], &["create", "patch"]),
                // To admit jobs according to the nodes' capacity.
                Rule::on(&[""], &["nodes"], READ),
                Rule::on(&["scheduling.k8s.io"], &["priorityclasses"], READ),
            ],
        ),
        binding("system:mxjob-controller", "system:mxjob-controller", &[user(CONTROLLER)]),
        // Upstream's role of this name, without kubelet features that our agent does not have, plus
        // the binding of pods, which a scheduler does upstream. Upstream binds it to nobody, since
        // a separate authorizer restricts nodes there.
        role(
            "system:node",
            &[],
            &[
                Rule::on(&[""], &["nodes"], &["create", "get", "list", "patch", "update", "watch"]),
                Rule::on(&[""], &["nodes/status"], &["patch", "update"]),
                Rule::on(&["coordination.k8s.io"], &["leases"], &["create", "patch"]),
                Rule::on(&[""], &["pods"], &["delete", "get", "list", "watch"]),
                Rule::on(&[""], &["pods/status"], &["patch"]),
                Rule::on(&[""], &["pods/binding"], &["create"]),
                Rule::on(&[""], &["services"], READ),
                Rule::on(&[""], &["configmaps", "secrets"], &["get"]),
                Rule::on(&[""], &["persistentvolumeclaims", "persistentvolumes"], &["get"]),
                // The tokens of pods.
                Rule::on(&[""], &["serviceaccounts"], &["get"]),
                Rule::on(&[""], &["serviceaccounts/token"], &["create"]),
                Rule::on(&[""], &["events"], &["create", "patch"]),
            ],
        ),
        binding("system:node", "system:node", &[group(SYSTEM_NODES)]),
    ];
    for (name, account, rules) in [
        (
            "generic-garbage-collector",
            "generic-garbage-collector",
            vec![Rule::on(&["*"], &["*"], &["delete", "get", "list", "patch", "update", "watch"])],
        ),
        // One garbage collector has the work of both controllers here.
        (
            "namespace-controller",
            "generic-garbage-collector",
            vec![
                Rule::on(&[""], &["namespaces"], &["delete", "get", "list", "watch"]),
                Rule::on(&[""], &["namespaces/finalize", "namespaces/status"], &["update"]),
                Rule::on(&["*"], &["*"], &["delete", "deletecollection", "get", "list"]),
            ],
        ),
        (
            "clusterrole-aggregation-controller",
            "clusterrole-aggregation-controller",
            vec![Rule::on(
                &[GROUP],
                &["clusterroles"],
                &["escalate", "get", "list", "patch", "update", "watch"],
            )],
        ),
        (
            "endpoint-controller",
            "endpoint-controller",
            vec![
                Rule::on(&[""], &["pods", "services"], READ),
                Rule::on(&[""], &["endpoints"], EVERY),
                Rule::on(&["discovery.k8s.io"], &["endpointslices"], EVERY),
            ],
        ),
        (
            "persistent-volume-binder",
            "persistent-volume-binder",
            vec![
                Rule::on(&[""], &["persistentvolumes"], EVERY),
                Rule::on(&[""], &["persistentvolumeclaims"], &["get", "list", "patch", "watch"]),
                Rule::on(
                    &[""],
                    &["persistentvolumeclaims/status", "persistentvolumes/status"],
                    &["patch"],
                ),
                Rule::on(
                    &["storage.k8s.io"],
                    &["storageclasses"],
                    &["create", "get", "list", "watch"],
                ),
                Rule::on(&[""], &["pods"], &["get", "list"]),
                Rule::on(&[""], &["events"], &["create", "patch"]),
            ],
        ),
        (
            "service-account-controller",
            "service-account-controller",
            vec![
                Rule::on(&[""], &["serviceaccounts"], &["create", "get", "list", "watch"]),
                Rule::on(&[""], &["namespaces"], READ),
            ],
        ),
        (
            "root-ca-cert-publisher",
            "root-ca-cert-publisher",
            vec![
                Rule::on(&[""], &["configmaps"], &["create", "list", "patch", "watch"]),
                Rule::on(&[""], &["namespaces"], READ),
            ],
        ),
        (
            "ephemeral-volume-controller",
            "ephemeral-volume-controller",
            vec![
                Rule::on(&[""], &["pods"], READ),
                Rule::on(&[""], &["persistentvolumeclaims"], &["create"]),
            ],
        ),
        (
            "node-controller",
            "node-controller",
            vec![
                Rule::on(&[""], &["nodes"], READ),
                Rule::on(&["coordination.k8s.io"], &["leases"], READ),
                Rule::on(&[""], &["pods"], &["delete", "list"]),
                Rule::on(&[""], &["nodes/status", "pods/status"], &["patch"]),
            ],
        ),
    ] {
        let name = format!("system:controller:{name}");
        let subject =
            json!({"kind": "ServiceAccount", "name": account, "namespace": "kube-system"});
        objects.push(role(&name, &[], &rules));
        objects.push(binding(&name, &name, &[subject]));
    }
    objects
}

fn role(name: &str, labels: &[&str], rules: &[Rule]) -> Value {
    let rules: Vec<Value> = rules.iter().map(Rule::to_json).collect();
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta(name, labels), "rules": rules})
}

fn aggregating(name: &str, labels: &[&str], label: &str) -> Value {
    let mut role = role(name, labels, &[]);
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    role
}

fn binding(name: &str, role: &str, subjects: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta(name, &[]),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}, "subjects": subjects,
    })
}

fn meta(name: &str, labels: &[&str]) -> Value {
    let mut meta = json!({
        "name": name,
        "annotations": {AUTO_UPDATE: "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
    });
    for label in labels {
        meta["labels"][*label] = json!("true");
    }
    meta
}

fn group(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "Group", "name": name})
}

fn user(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "User", "name": name})
}
