//! Defaults: what is missing is filled in, and what is given stays.

use serde_json::{Value, json};

use super::super::defaults::{fill_pod, fill_template_spec, tolerate_lost_nodes, upstream};

/// The value that the default of a pod's member has; `given` is a member of its spec.
fn filled(given: &Value, pointer: &str) -> Value {
    let mut pod = json!({ "spec": { "containers": [{ "name": "c", "image": "i:1" }] } });
    pod["spec"].as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    fill_pod(&mut pod);
    let once = pod.clone();
    fill_pod(&mut pod);
    assert_eq!(pod, once, "a second time changes nothing");
    pod.pointer(&format!("/spec{pointer}")).cloned().unwrap_or_default()
}

/// Upstream's test, what is given, where the default is, and what it is.
type Case = (&'static str, Value, &'static str, Value);

fn cases() -> Vec<Case> {
    let c = |more: Value| {
        let mut container = json!({ "name": "c", "image": "i:1" });
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "containers": [container] })
    };
    let v = |source: Value| json!({ "volumes": [source] });
    let probe = |probe: Value| c(json!({ "livenessProbe": probe }));
    let image = |image: &str| c(json!({ "image": image }));
    let pull = "/containers/0/imagePullPolicy";
    vec![
        ("TestSetDefaultPodSpec", json!({}), "/dnsPolicy", json!("ClusterFirst")),
        ("TestSetDefaultPodSpec", json!({ "dnsPolicy": "None" }), "/dnsPolicy", json!("None")),
        (
            "TestSetDefaultPodSpec",
            json!({ "restartPolicy": "" }),
            "/restartPolicy",
            json!("Always"),
        ),
        (
            "TestSetDefaultPodSpec",
            json!({ "securityContext": null }),
            "/securityContext",
            json!({}),
        ),
        ("TestSetDefaultPodSpec", json!({}), "/terminationGracePeriodSeconds", json!(30)),
        (
            "TestSetDefaultPodSpec",
            json!({ "terminationGracePeriodSeconds": 0 }),
            "/terminationGracePeriodSeconds",
            json!(0),
        ),
        ("TestDefaultSchedulerName", json!({}), "/schedulerName", json!("default-scheduler")),
        ("TestSetDefaultEnableServiceLinks", json!({}), "/enableServiceLinks", json!(true)),
        (
            "TestSetDefaultEnableServiceLinks",
            json!({ "enableServiceLinks": false }),
            "/enableServiceLinks",
            json!(false),
        ),
        (
            "TestSetDefaultServiceAccount",
            json!({ "serviceAccount": "a" }),
            "/serviceAccountName",
            json!("a"),
        ),
        (
            "TestSetDefaultServiceAccount",
            json!({ "serviceAccountName": "a", "serviceAccount": "b" }),
            "/serviceAccount",
            json!("a"),
        ),
        ("TestSetDefaultImagePullPolicy", image("a:1"), pull, json!("IfNotPresent")),
        ("TestSetDefaultImagePullPolicy", image("a"), pull, json!("Always")),
        ("TestSetDefaultImagePullPolicy", image("a:latest"), pull, json!("Always")),
        ("TestSetDefaultImagePullPolicy", image("r.io:5000/a"), pull, json!("Always")),
        ("TestSetDefaultImagePullPolicy", image("r.io:5000/a:2"), pull, json!("IfNotPresent")),
        ("TestSetDefaultImagePullPolicy", image("a@sha256:00"), pull, json!("IfNotPresent")),
        ("TestSetDefaultImagePullPolicy", image("a:latest@sha256:00"), pull, json!("Always")),
        ("TestSetDefaultImagePullPolicy", image("Not A Reference"), pull, json!("IfNotPresent")),
        (
            "TestSetDefaultImagePullPolicy",
            c(json!({ "image": "a", "imagePullPolicy": "Never" })),
            pull,
            json!("Never"),
        ),
        (
            "TestSetDefaultContainer",
            json!({}),
            "/containers/0/terminationMessagePath",
            json!("/dev/termination-log"),
        ),
        (
            "TestSetDefaultContainer",
            json!({}),
            "/containers/0/terminationMessagePolicy",
            json!("File"),
        ),
        ("TestSetDefaultContainer", json!({}), "/containers/0/resources", json!({})),
        (
            "TestSetDefaultPort",
            c(json!({ "ports": [{ "containerPort": 1 }] })),
            "/containers/0/ports/0/protocol",
            json!("TCP"),
        ),
        (
            "TestSetDefaultPort",
            c(json!({ "ports": [{ "protocol": "UDP" }] })),
            "/containers/0/ports/0/protocol",
            json!("UDP"),
        ),
        (
            "TestSetDefaultHostNetwork",
            c(json!({ "ports": [{ "containerPort": 1 }] })),
            "/containers/0/ports/0/hostPort",
            json!(null),
        ),
        (
            "TestSetDefaultRequests",
            c(json!({ "resources": { "limits": { "cpu": "1" } } })),
            "/containers/0/resources/requests",
            json!({ "cpu": "1" }),
        ),
        (
            "TestSetDefaultRequests",
            c(
                json!({ "resources": { "limits": { "cpu": "1", "memory": "2" }, "requests": { "cpu": "0" } } }),
            ),
            "/containers/0/resources/requests",
            json!({ "cpu": "0", "memory": "2" }),
        ),
        (
            "TestSetDefaultRequests",
            c(json!({ "resources": { "limits": {}, "requests": null } })),
            "/containers/0/resources/requests",
            json!(null),
        ),
        (
            "TestSetDefaultProbe",
            probe(json!({ "exec": {} })),
            "/containers/0/livenessProbe",
            json!({ "exec": {}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 }),
        ),
        (
            "TestSetDefaultProbe",
            probe(json!({ "timeoutSeconds": 2, "periodSeconds": 0 })),
            "/containers/0/livenessProbe/periodSeconds",
            json!(10),
        ),
        (
            "TestSetDefaultProbe",
            probe(json!({ "grpc": { "port": 1 } })),
            "/containers/0/livenessProbe/grpc/service",
            json!(""),
        ),
        (
            "TestSetDefaultHTTPGet",
            probe(json!({ "httpGet": { "port": 1 } })),
            "/containers/0/livenessProbe/httpGet",
            json!({ "port": 1, "path": "/", "scheme": "HTTP" }),
        ),
        (
            "TestSetDefaultHTTPGet",
            c(json!({ "lifecycle": { "preStop": { "httpGet": { "port": 1, "scheme": "" } } } })),
            "/containers/0/lifecycle/preStop/httpGet/scheme",
            json!("HTTP"),
        ),
        (
            "TestSetDefaultObjectFieldSelectorAPIVersion",
            c(
                json!({ "env": [{ "name": "a", "valueFrom": { "fieldRef": { "fieldPath": "x" } } }] }),
            ),
            "/containers/0/env/0/valueFrom/fieldRef/apiVersion",
            json!("v1"),
        ),
        (
            "TestSetDefaultObjectFieldSelectorAPIVersion",
            c(
                json!({ "env": [{ "name": "a", "valueFrom": { "resourceFieldRef": { "resource": "x" } } }] }),
            ),
            "/containers/0/env/0/valueFrom/resourceFieldRef/divisor",
            json!("0"),
        ),
        (
            "TestSetDefaultVolumeSource",
            v(json!({ "name": "v" })),
            "/volumes/0",
            json!({ "name": "v", "emptyDir": {} }),
        ),
        (
            "TestSetDefaultVolumeSource",
            v(json!({ "name": "v", "nfs": {} })),
            "/volumes/0/emptyDir",
            json!(null),
        ),
        (
            "TestSetDefaultSecretVolumeSource",
            v(json!({ "secret": {} })),
            "/volumes/0/secret/defaultMode",
            json!(420),
        ),
        (
            "TestSetDefaultSecretVolumeSource",
            v(json!({ "secret": { "defaultMode": 0 } })),
            "/volumes/0/secret/defaultMode",
            json!(0),
        ),
        (
            "TestSetDefaultConfigMapVolumeSource",
            v(json!({ "configMap": {} })),
            "/volumes/0/configMap/defaultMode",
            json!(420),
        ),
        (
            "TestSetDefaultDownwardAPIVolumeSource",
            v(json!({ "downwardAPI": { "items": [{ "fieldRef": {} }] } })),
            "/volumes/0/downwardAPI",
            json!({ "defaultMode": 420, "items": [{ "fieldRef": { "apiVersion": "v1" } }] }),
        ),
        (
            "TestSetDefaultProjectedVolumeSource",
            v(json!({ "projected": {} })),
            "/volumes/0/projected/defaultMode",
            json!(420),
        ),
        (
            "TestSetDefaultServiceAccountToken",
            v(json!({ "projected": { "sources": [{ "serviceAccountToken": {} }] } })),
            "/volumes/0/projected/sources/0/serviceAccountToken/expirationSeconds",
            json!(3600),
        ),
        (
            "TestDefaultHostPathVolumeSource",
            v(json!({ "hostPath": { "path": "/" } })),
            "/volumes/0/hostPath/type",
            json!(""),
        ),
        (
            "TestSetDefaultsPersistentVolumeClaim",
            v(json!({ "ephemeral": { "volumeClaimTemplate": { "spec": {} } } })),
            "/volumes/0/ephemeral/volumeClaimTemplate/spec/volumeMode",
            json!("Filesystem"),
        ),
        (
            "TestSetDefaultISCSI",
            v(json!({ "iscsi": {} })),
            "/volumes/0/iscsi/iscsiInterface",
            json!("default"),
        ),
        (
            "TestSetDefaultRBD",
            v(json!({ "rbd": { "user": "u" } })),
            "/volumes/0/rbd",
            json!({ "user": "u", "pool": "rbd", "keyring": "/etc/ceph/keyring" }),
        ),
        (
            "TestSetDefaultAzureDisk",
            v(json!({ "azureDisk": {} })),
            "/volumes/0/azureDisk",
            json!({ "cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": false }),
        ),
        (
            "TestSetDefaultScaleIO",
            v(json!({ "scaleIO": {} })),
            "/volumes/0/scaleIO",
            json!({ "fsType": "xfs", "storageMode": "ThinProvisioned" }),
        ),
        (
            "TestSetDefaultImageVolume",
            v(json!({ "image": { "reference": "a" } })),
            "/volumes/0/image/pullPolicy",
            json!("Always"),
        ),
    ]
}

#[test]
fn what_is_missing_gets_upstreams_default() {
    let mut tests = std::collections::BTreeSet::new();
    for (test, given, pointer, expected) in cases() {
        assert_eq!(filled(&given, pointer), expected, "{test}: {given}");
        tests.insert(test);
    }
    println!("{} cases of {} tests of {} functions", cases().len(), tests.len(), upstream().len());
    assert!(cases().len() >= 50 && tests.len() >= 22);
    assert!(upstream().iter().all(|name| name.is_empty() || name.starts_with("SetDefaults_")));
}

#[test]
fn a_template_gets_what_is_not_of_pods_alone() {
    let mut spec = json!({ "hostNetwork": true, "containers": [{
        "image": "i", "resources": { "limits": { "cpu": 1 } }, "ports": [{ "containerPort": 1 }],
    }] });
    let mut pod = json!({ "spec": spec });
    fill_template_spec(&mut spec);
    fill_pod(&mut pod);
    assert_eq!(spec["restartPolicy"], "Always");
    assert_eq!(spec.pointer("/containers/0/imagePullPolicy"), Some(&json!("Always")));
    for (pointer, of_pod) in [
        ("/enableServiceLinks", json!(true)),
        ("/containers/0/resources/requests", json!({ "cpu": 1 })),
        ("/containers/0/ports/0/hostPort", json!(1)),
    ] {
        assert_eq!(spec.pointer(pointer), None, "{pointer}");
        assert_eq!(pod["spec"].pointer(pointer), Some(&of_pod), "{pointer}");
    }
    // Other types stay for the schema to report.
    for odd in [
        json!(null),
        json!([1]),
        json!({ "containers": 1, "volumes": [2, null], "securityContext": "s" }),
    ] {
        let mut pod = json!({ "spec": odd });
        fill_pod(&mut pod);
        tolerate_lost_nodes(&mut pod);
    }
}

#[test]
fn pods_tolerate_a_lost_node_for_five_minutes() {
    let after = |tolerations: Value| {
        let mut pod = json!({ "spec": { "tolerations": tolerations } });
        tolerate_lost_nodes(&mut pod);
        pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default()
    };
    let added = after(json!(null));
    assert_eq!(added.len(), 2);
    assert_eq!(
        added[0],
        json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 })
    );
    assert_eq!(after(added.clone().into()), added);
    for (given, count) in [
        (json!([{ "operator": "Exists" }]), 1),
        (
            json!([{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" }]),
            2,
        ),
        (
            json!([{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule" }]),
            3,
        ),
        (json!([{ "key": "other" }]), 3),
    ] {
        assert_eq!(after(given.clone()).len(), count, "{given}");
    }
}
