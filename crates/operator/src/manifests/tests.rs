//! The objects and their YAML.

mod chart;
mod generated;
mod rights;
mod schemas;
mod webhook_calls;

use super::*;

/// Settings that cover every branch.
fn variety() -> Vec<Settings> {
    let mut all = Vec::new();
    for gang_scheduler in ["none", "volcano", "gangs.example.com"] {
        for watch_namespace in [None, Some("team"), Some("12345"), Some("mxjob-system")] {
            for webhook in [true, false] {
                all.push(Settings {
                    gang_scheduler: gang_scheduler.to_owned(),
                    watch_namespace: watch_namespace.map(str::to_owned),
                    webhook,
                    image: "registry.example.com:5000/team/mxjob@sha256:00".to_owned(),
                    replicas: 3,
                    image_pull_secrets: watch_namespace
                        .iter()
                        .map(|_| "registry".to_owned())
                        .collect(),
                    extra_args: match gang_scheduler {
                        "none" => Vec::new(),
                        _ => vec!["--log-level=debug".to_owned(), "--workers=3".to_owned()],
                    },
                    ..Settings::default()
                });
            }
        }
    }
    all.push(Settings::default());
    all.push(Settings { namespace: "on".to_owned(), ..Settings::default() });
    let mut nodes = Settings::default().node_selector;
    nodes.insert("kubernetes.io/arch".to_owned(), "arm64".into());
    all.push(Settings { node_selector: nodes, replicas: 1, ..Settings::default() });
    all
}

/// The parts of these settings. Only the default settings include the CustomResourceDefinition,
/// which is large and always the same.
fn chosen(settings: &Settings) -> Vec<Part> {
    let is_default = *settings == Settings::default();
    Part::ALL.into_iter().filter(|part| is_default || *part != Part::Crd).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
}

#[test]
fn the_yaml_reads_back_as_the_objects() {
    for settings in variety() {
        let chosen = chosen(&settings);
        let text = yaml(&settings, &chosen);
        let documents = text.split("---\n").skip(1);
        let read = |text: &str| mxjob_machinery::yaml::decode(text.as_bytes()).unwrap();
        let read: Vec<Value> = documents.map(read).collect();
        assert_eq!(read, parts(&settings, &chosen));
        assert_eq!(json(&settings, &chosen)["items"], Value::from(read));
    }
}

#[test]
fn the_yaml_has_the_usual_order_and_comments() {
    let text = yaml(&Settings::default(), &[Part::Operator, Part::Webhook]);
    assert!(text.contains("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: mxjob-operator\n  namespace: mxjob-system\n"), "{text}");
    assert!(text.contains("\n    # Called only for new jobs"), "{text}");
    for line in text.lines() {
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn parts_come_alone_and_in_order() {
    let settings = Settings::default();
    let kinds = |chosen: &[Part]| -> Vec<String> {
        let objects = parts(&settings, chosen);
        objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&[Part::Webhook]), ["Service", "ValidatingWebhookConfiguration"]);
    assert_eq!(kinds(&[Part::Crd, Part::Namespace]), ["Namespace", "CustomResourceDefinition"]);
    assert_eq!(kinds(&[Part::Operator]), ["Service", "Deployment", "PodDisruptionBudget"]);
    assert_eq!(
        kinds(&Part::ALL).last().map(String::as_str),
        Some("ValidatingWebhookConfiguration"),
        "the webhook comes last"
    );
    assert_eq!(all(&Settings::default())[0]["kind"], "Namespace");
    let shared = Settings { namespace: "shared".to_owned(), ..Settings::default() };
    assert!(
        all(&shared).iter().all(|object| object["kind"] != "Namespace"),
        "another namespace may hold other objects and is neither changed nor deleted"
    );
    assert_eq!(parts(&shared, &[Part::Namespace])[0]["metadata"]["name"], "shared");
    let without = Settings { webhook: false, ..Settings::default() };
    assert!(find(&all(&without), "ValidatingWebhookConfiguration", "mxjob").is_none());
}

#[test]
fn every_reference_has_a_target() {
    for settings in variety() {
        let objects = parts(&settings, &chosen(&settings));
        let deployment = find(&objects, "Deployment", "mxjob-operator").unwrap();
        let template = &deployment["spec"]["template"];
        let labels = template["metadata"]["labels"].as_object().unwrap();
        let container = &template["spec"]["containers"][0];
        let ports: Vec<&str> = container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["name"].as_str().unwrap())
            .collect();
        let selects = |selector: &Value| {
            selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        assert!(selects(&deployment["spec"]["selector"]["matchLabels"]));
        for object in &objects {
            match object["kind"].as_str().unwrap() {
                "Service" => {
                    assert!(selects(&object["spec"]["selector"]));
                    let target = object["spec"]["ports"][0]["targetPort"].as_str().unwrap();
                    assert!(ports.contains(&target));
                }
                "PodDisruptionBudget" => {
                    assert!(selects(&object["spec"]["selector"]["matchLabels"]));
                }
                "ValidatingWebhookConfiguration" => {
                    let service = &object["webhooks"][0]["clientConfig"]["service"];
                    assert!(find(&objects, "Service", service["name"].as_str().unwrap()).is_some());
                    assert_eq!(service["namespace"], settings.namespace);
                }
                "RoleBinding" | "ClusterRoleBinding" => {
                    let role = &object["roleRef"];
                    let (kind, name) = (role["kind"].as_str(), role["name"].as_str());
                    let role = find(&objects, kind.unwrap(), name.unwrap()).unwrap();
                    assert_eq!(role["metadata"]["namespace"], object["metadata"]["namespace"]);
                    let subject = &object["subjects"][0];
                    assert_eq!(subject["namespace"], settings.namespace);
                    assert_eq!(subject["name"], template["spec"]["serviceAccountName"]);
                }
                _ => {}
            }
        }
        for probe in ["livenessProbe", "readinessProbe"] {
            let port = container[probe]["httpGet"]["port"].as_str().unwrap();
            assert!(ports.contains(&port), "{port}");
        }
        let names: std::collections::BTreeSet<String> = objects
            .iter()
            .map(|object| {
                let metadata = &object["metadata"];
                format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
            })
            .collect();
        assert_eq!(names.len(), objects.len(), "no two are the same object");
    }
}
