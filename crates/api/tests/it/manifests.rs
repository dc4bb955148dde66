//! The generated files are up to date and valid for a cluster.
//!
//! `UPDATE_MANIFESTS=1 cargo test -p mxjob-api fresh` regenerates them. After an update of the
//! Kubernetes types it takes two runs: the first writes the schema of the pod template, the second
//! the definition that is compiled with it. `cargo xtask codegen` does both.

mod pod_template;

use std::path::Path;

use mxjob_api::{crd, schema};
use serde_json::{Value, json};

/// Asserts that a file has this text, or writes it in update mode.
fn check_fresh(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == text,
        "{} is not what the types say; run `cargo xtask codegen`",
        path.display()
    );
}

#[test]
fn the_definition_is_fresh() {
    check_fresh("../../manifests/mxjobs.kubeflow.org.yaml", &crd::crd_yaml());
}

#[test]
fn the_schema_of_the_pod_template_is_fresh() {
    let text = format!("{}\n", pod_template::schema());
    assert!(text.len() < 120_000, "{}", text.len());
    check_fresh("src/schema/pod_template.json", &text);
}

#[test]
fn the_yaml_is_the_definition_and_small_enough_to_apply() {
    let yaml = crd::crd_yaml();
    assert!(yaml.len() < 300_000, "{}", yaml.len());
    assert_eq!(mxjob_machinery::yaml::decode(yaml.as_bytes()).unwrap(), crd::crd());
    // `kubectl apply` keeps the object in an annotation of at most 256 KiB.
    assert!(crd::crd().to_string().len() < 262_144);
}

#[test]
fn the_definition_names_the_resource_as_documented() {
    let crd = crd::crd();
    assert_eq!(crd["metadata"]["name"], "mxjobs.kubeflow.org");
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(
        crd["spec"]["names"],
        json!({
            "kind": "MXJob", "listKind": "MXJobList", "plural": "mxjobs", "singular": "mxjob", "shortNames": ["mxj"], "categories": ["all"],
        })
    );
    let version = &crd["spec"]["versions"][0];
    assert_eq!(
        (&version["name"], &version["served"], &version["storage"]),
        (&json!("v1"), &json!(true), &json!(true))
    );
    assert_eq!(version["subresources"], json!({ "status": {} }));
    assert_eq!(version["additionalPrinterColumns"][0]["jsonPath"], ".status.conditions[-1:].type");
}

#[test]
fn the_schema_holds_every_field_of_the_contract() {
    let spec = &schema::open_api()["properties"]["spec"];
    let fields = |value: &Value| {
        value["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        fields(spec),
        [
            "activeDeadlineSeconds",
            "backoffLimit",
            "cleanPodPolicy",
            "jobMode",
            "mxReplicaSpecs",
            "restartScope",
            "runPolicy",
            "schedulingPolicy",
            "successPolicy",
            "suspend",
            "ttlSecondsAfterFinished",
        ]
    );
    assert_eq!(
        fields(&spec["properties"]["runPolicy"]),
        [
            "activeDeadlineSeconds",
            "backoffLimit",
            "cleanPodPolicy",
            "schedulingPolicy",
            "suspend",
            "ttlSecondsAfterFinished"
        ]
    );
    let scheduling =
        ["minAvailable", "minResources", "priorityClass", "queue", "scheduleTimeoutSeconds"];
    assert_eq!(fields(&spec["properties"]["schedulingPolicy"]), scheduling);
    assert_eq!(
        fields(&spec["properties"]["runPolicy"]["properties"]["schedulingPolicy"]),
        scheduling
    );
    let replica = &spec["properties"]["mxReplicaSpecs"]["additionalProperties"];
    assert_eq!(fields(replica), ["label", "replicas", "restartPolicy", "template"]);
    assert_eq!(spec["required"], json!(["mxReplicaSpecs"]));
    assert_eq!(replica["required"], json!(["template"]));
    let container = replica
        .pointer("/properties/template/properties/spec/properties/containers/items/properties")
        .unwrap();
    for field in [
        "image",
        "command",
        "args",
        "env",
        "envFrom",
        "ports",
        "resources",
        "volumeMounts",
        "livenessProbe",
        "workingDir",
    ] {
        assert!(container.get(field).is_some(), "{field}");
    }
}
