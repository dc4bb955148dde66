//! The namespace, the Deployment, its metrics Service and its PodDisruptionBudget.

use serde_json::{Map, Value, json};

use super::{OPERATOR, Settings, annotate, labels, object, selector, with};

/// The user of the processes in the image: `nonroot` of distroless images.
const USER: u32 = 65532;
/// Ports of a pod.
const WEBHOOK: u16 = 9443;
const METRICS: u16 = 8080;
const PROBES: u16 = 8081;

/// The operator's namespace.
pub(super) fn namespace(settings: &Settings) -> Value {
    let mut namespace = object("v1", "Namespace", &settings.namespace, None);
    // The operator's pods comply, and so must all others in this namespace.
    let enforce = ("pod-security.kubernetes.io/enforce".to_owned(), "restricted".into());
    annotate(&mut namespace, "labels", Map::from_iter([enforce]));
    namespace
}

/// The default requests and limits of a pod.
pub(super) fn resources() -> Value {
    json!({
        "requests": { "cpu": "100m", "memory": "64Mi" },
        "#limits": "Enough for thousands of jobs and for the largest reviews. No CPU limit: it would only slow down the answers.",
        "limits": { "memory": "512Mi" },
    })
}

/// The Deployment, the Service for its metrics and its PodDisruptionBudget.
pub(super) fn objects(settings: &Settings) -> Vec<Value> {
    let namespace = Some(settings.namespace.as_str());
    let metrics = with(
        object("v1", "Service", "mxjob-operator-metrics", namespace),
        json!({ "spec": {
            "selector": selector("operator"),
            "ports": [{ "name": "metrics", "port": METRICS, "targetPort": "metrics" }],
        } }),
    );
    let budget = with(
        object("policy/v1", "PodDisruptionBudget", OPERATOR, namespace),
        json!({ "spec": {
            "selector": { "matchLabels": selector("operator") },
            "#maxUnavailable": "Not minAvailable: a single replica must not keep a node from being drained.",
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        } }),
    );
    vec![metrics, deployment(settings), budget]
}

fn deployment(settings: &Settings) -> Value {
    let template = json!({
        "metadata": {
            "labels": labels("operator"),
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/path": "/metrics",
                "prometheus.io/port": METRICS.to_string(),
            },
        },
        "spec": pod(settings),
    });
    with(
        object("apps/v1", "Deployment", OPERATOR, Some(&settings.namespace)),
        json!({ "spec": {
            "#replicas": "One leads; all of them serve the webhook.",
            "replicas": settings.replicas,
            "selector": { "matchLabels": selector("operator") },
            "#strategy": "A new pod is ready before an old one stops, so the webhook is always served.",
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": template,
        } }),
    )
}

fn pod(settings: &Settings) -> Value {
    let mut pod = json!({
        "serviceAccountName": OPERATOR,
        "#terminationGracePeriodSeconds": "Time to finish open requests, to release the lease, and to serve the webhook until every API server has noticed.",
        "terminationGracePeriodSeconds": 40,
        "enableServiceLinks": false,
        "nodeSelector": settings.node_selector,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "#topologySpreadConstraints": "The loss of one node takes only one replica.",
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector("operator") },
        }],
        "containers": [container(settings)],
    });
    if !settings.image_pull_secrets.is_empty() {
        let secrets = settings.image_pull_secrets.iter();
        pod["imagePullSecrets"] = secrets.map(|name| json!({ "name": name })).collect();
    }
    pod
}

fn container(settings: &Settings) -> Value {
    let port = |name: &str, port: u16| json!({ "name": name, "containerPort": port });
    let probe = |path: &str, members: Value| {
        with(json!({ "httpGet": { "path": path, "port": "probes" } }), members)
    };
    json!({
        "name": "operator",
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(settings),
        "ports": [port("webhook", WEBHOOK), port("metrics", METRICS), port("probes", PROBES)],
        "livenessProbe": probe("/livez", json!({ "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6 })),
        "readinessProbe": probe("/readyz", json!({ "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2 })),
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
    })
}

/// Only the arguments that depend on settings; the defaults of `mxjob operator` fit a pod.
fn arguments(settings: &Settings) -> Vec<String> {
    let mut arguments = vec![
        "operator".to_owned(),
        format!("--webhook={}", settings.webhook),
        format!("--gang-scheduler={}", settings.gang_scheduler),
    ];
    if let Some(namespace) = &settings.watch_namespace {
        arguments.push(format!("--namespace={namespace}"));
    }
    arguments.extend_from_slice(&settings.extra_args);
    arguments
}
