//! What runs: the namespace, the Deployment and what goes with it.

use serde_json::{Map, Value, json};

use super::{OPERATOR, Settings, annotate, labels, object, selector, with};

/// The user of the processes in the image: nobody's, as distroless images number it.
const USER: u32 = 65532;
/// Ports of a pod, and their names.
const WEBHOOK: u16 = 9443;
const METRICS: u16 = 8080;
const PROBES: u16 = 8081;

/// The operator's namespace.
pub(super) fn namespace(settings: &Settings) -> Value {
    let mut namespace = object("v1", "Namespace", &settings.namespace, None);
    // The pods keep to it; so must whatever else comes here.
    let enforce = ("pod-security.kubernetes.io/enforce".to_owned(), "restricted".into());
    annotate(&mut namespace, "labels", Map::from_iter([enforce]));
    namespace
}

/// Requests and limits of a pod, if nobody says otherwise.
pub(super) fn resources() -> Value {
    json!({
        "requests": { "cpu": "100m", "memory": "64Mi" },
        "#limits": "Room for thousands of jobs and for the largest reviews. No limit of the CPU: it would only slow the answers.",
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
            "#replicas": "One leads, and all of them answer the webhook.",
            "replicas": settings.replicas,
            "selector": { "matchLabels": selector("operator") },
            "#strategy": "A new one is there before an old one goes, so that the webhook is always answered.",
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": template,
        } }),
    )
}

fn pod(settings: &Settings) -> Value {
    let mut pod = json!({
        "serviceAccountName": OPERATOR,
        "#terminationGracePeriodSeconds": "Open requests are finished, the lease is let go, and the webhook answers until the cluster has heard of it.",
        "terminationGracePeriodSeconds": 40,
        "enableServiceLinks": false,
        "nodeSelector": settings.node_selector,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "#topologySpreadConstraints": "One node that goes takes one replica with it.",
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

/// Only what the settings decide; everything else is as `mxjob operator` has it in a pod.
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
