//! The recorded responses of a real API server, for kinds like the recorded ones.

use super::*;
use crate::kind::{Conventions, Subresource};
use crate::registry;

const STATUS: &[&str] = &["get", "patch", "update"];

fn built_in(
    group: &'static str,
    (kind, plural, singular): (&'static str, &'static str, &'static str),
    short_names: &[&'static str],
    categories: &[&'static str],
    subresources: &'static [Subresource],
) -> Kind {
    Kind {
        short_names: short_names.iter().map(|name| (*name).into()).collect(),
        categories: categories.iter().map(|name| (*name).into()).collect(),
        subresources,
        columns: Vec::new(),
        ..Kind::new(group, kind, plural, singular)
    }
}

fn documents() -> Documents {
    const POD: &[Subresource] = &[
        Subresource { name: "status", body: None, verbs: STATUS },
        Subresource {
            name: "eviction",
            body: Some(("policy", "v1", "Eviction")),
            verbs: &["create"],
        },
        Subresource { name: "log", body: None, verbs: &["get"] },
        Subresource { name: "binding", body: Some(("", "v1", "Binding")), verbs: &["create"] },
    ];
    const JOB: &[Subresource] = &[Subresource { name: "status", body: None, verbs: STATUS }];
    let kinds = [
        built_in("", ("Pod", "pods", "pod"), &["po"], &["all"], POD),
        built_in("", ("ConfigMap", "configmaps", "configmap"), &["cm"], &[], &[]),
        built_in("coordination.k8s.io", ("Lease", "leases", "lease"), &[], &[], &[]),
        Kind {
            verbs: &[
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "create",
                "update",
                "watch",
            ],
            conventions: Conventions::CUSTOM,
            ..built_in("kubeflow.org", ("MXJob", "mxjobs", "mxjob"), &[], &[], JOB)
        },
    ]
    .map(Arc::new);
    Documents::of(&kinds)
}

fn text(path: &str, accept: &str) -> Option<String> {
    documents()
        .find(path, accept)
        .map(|document| String::from_utf8(document.json.to_vec()).unwrap())
}

#[test]
fn plain_documents_are_the_recorded_ones() {
    let check = |path: &str, want: &str| {
        assert_eq!(text(path, "application/json").as_deref(), Some(want), "{path}");
        assert_eq!(text(&format!("{path}/"), "application/json").as_deref(), Some(want), "{path}/");
    };
    check("/api", r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#);
    check(
        "/apis",
        r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"coordination.k8s.io","versions":[{"groupVersion":"coordination.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"coordination.k8s.io/v1","version":"v1"}},{"name":"kubeflow.org","versions":[{"groupVersion":"kubeflow.org/v1","version":"v1"}],"preferredVersion":{"groupVersion":"kubeflow.org/v1","version":"v1"}}]}"#,
    );
    check(
        "/apis/kubeflow.org",
        r#"{"kind":"APIGroup","apiVersion":"v1","name":"kubeflow.org","versions":[{"groupVersion":"kubeflow.org/v1","version":"v1"}],"preferredVersion":{"groupVersion":"kubeflow.org/v1","version":"v1"}}"#,
    );
    check(
        "/apis/kubeflow.org/v1",
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"kubeflow.org/v1","resources":[{"name":"mxjobs","singularName":"mxjob","namespaced":true,"kind":"MXJob","verbs":["delete","deletecollection","get","list","patch","create","update","watch"],"storageVersionHash":"ZJQdE37eZJ4="},{"name":"mxjobs/status","singularName":"","namespaced":true,"kind":"MXJob","verbs":["get","patch","update"]}]}"#,
    );
    check(
        "/api/v1",
        r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cm"],"storageVersionHash":"qFsyl6wFWjQ="},{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["po"],"categories":["all"],"storageVersionHash":"xPOwRZ+Yhw8="},{"name":"pods/binding","singularName":"","namespaced":true,"kind":"Binding","verbs":["create"]},{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]},{"name":"pods/log","singularName":"","namespaced":true,"kind":"Pod","verbs":["get"]},{"name":"pods/status","singularName":"","namespaced":true,"kind":"Pod","verbs":["get","patch","update"]}]}"#,
    );
    check(
        "",
        r#"{"paths":["/api","/api/v1","/apis","/apis/coordination.k8s.io","/apis/coordination.k8s.io/v1","/apis/kubeflow.org","/apis/kubeflow.org/v1","/healthz","/livez","/openapi/v2","/openapi/v3","/readyz","/version"]}"#,
    );
    for path in [
        "/apis/nope.example.com",
        "/apis/kubeflow.org/v9",
        "/api/v2",
        "/apis//",
        "/apisx",
        "/api/v1/pods",
    ] {
        assert_eq!(text(path, "*/*"), None, "{path}");
    }
}

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[test]
fn the_aggregated_document_is_the_recorded_one() {
    let want = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"coordination.k8s.io","creationTimestamp":null},"versions":[{"version":"v1","resources":[{"resource":"leases","responseKind":{"group":"","version":"","kind":"Lease"},"scope":"Namespaced","singularResource":"lease","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}],"freshness":"Current"}]},{"metadata":{"name":"kubeflow.org","creationTimestamp":null},"versions":[{"version":"v1","resources":[{"resource":"mxjobs","responseKind":{"group":"kubeflow.org","version":"v1","kind":"MXJob"},"scope":"Namespaced","singularResource":"mxjob","verbs":["delete","deletecollection","get","list","patch","create","update","watch"],"subresources":[{"subresource":"status","responseKind":{"group":"kubeflow.org","version":"v1","kind":"MXJob"},"verbs":["get","patch","update"]}]}],"freshness":"Current"}]}]}"#;
    assert_eq!(text("/apis", V2).as_deref(), Some(want));
    let beta = V2.replace("v2", "v2beta1");
    assert_eq!(text("/apis", &beta), Some(want.replace("k8s.io/v2", "k8s.io/v2beta1")));

    let documents = documents();
    let (v2, beta1) =
        (documents.find("/apis", V2).unwrap(), documents.find("/apis/", &beta).unwrap());
    assert_eq!(
        (v2.content_type.as_deref(), beta1.content_type.as_deref()),
        (Some(V2), Some(beta.as_str()))
    );
    assert_eq!(v2.etag, beta1.etag);
    assert_eq!(v2.etag.unwrap().len(), 128 + 2);
    assert_ne!(documents.find("/api", V2).unwrap().etag, beta1.etag);
}

#[test]
fn the_core_group_is_aggregated_without_a_name_and_with_its_subresources() {
    let text = text("/api", V2).unwrap();
    assert!(text.contains(r#""items":[{"metadata":{"creationTimestamp":null},"versions":[{"version":"v1","resources":[{"resource":"configmaps","#), "{text}");
    assert!(text.contains(r#""shortNames":["po"],"categories":["all"],"subresources":[{"subresource":"binding","responseKind":{"group":"","version":"","kind":"Binding"},"verbs":["create"]},{"subresource":"eviction","responseKind":{"group":"policy","version":"v1","kind":"Eviction"},"verbs":["create"]},{"subresource":"log","responseKind":{"group":"","version":"","kind":"Pod"},"verbs":["get"]}"#), "{text}");
}

#[test]
fn only_the_roots_are_aggregated() {
    assert_eq!(text("/apis/kubeflow.org/v1", V2), text("/apis/kubeflow.org/v1", "*/*"));
}

#[test]
fn the_registry_is_what_is_served() {
    let documents = Documents::of(registry::built_in());
    for kind in registry::built_in() {
        let document = documents.find(&root(&kind.group, &kind.version), "*/*").unwrap();
        let list: serde_json::Value = serde_json::from_slice(&document.json).unwrap();
        let names: Vec<_> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["name"].as_str())
            .collect();
        assert!(names.contains(&&*kind.plural), "{} in {names:?}", kind.plural);
    }
}
