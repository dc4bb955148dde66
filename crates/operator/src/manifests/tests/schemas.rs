//! Every object has only the fields of its kind, with the right types.

use mxjob_machinery::field::{Errors, Path};
use mxjob_machinery::schema::kubernetes;

use super::*;

#[test]
fn every_object_passes_strict_validation() {
    for settings in variety() {
        for object in parts(&settings, &chosen(&settings)) {
            let group_version = object["apiVersion"].as_str().unwrap();
            let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
            let kind = object["kind"].as_str().unwrap();
            let schema = kubernetes::kind(group, version, kind)
                .unwrap_or_else(|| panic!("there is no schema of {group_version} {kind}"));
            assert_eq!(schema.unknown_fields(&object), [] as [&str; 0], "{kind}");
            assert_eq!(schema.decode_problem(&object), None, "{kind}");
            let mut errors = Errors::new();
            schema.check(&object, &Path::new(kind), &mut errors);
            assert!(errors.is_empty(), "{kind}: {errors}");
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(mxjob_machinery::names::dns1123_subdomain(name).is_empty(), "{name}");
        }
    }
}

#[test]
fn pods_comply_with_the_restricted_standard() {
    let objects = all(&Settings::default());
    let pod = &find(&objects, "Deployment", "mxjob-operator").unwrap()["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (place, pointer, want) in [
        (pod, "/securityContext/runAsNonRoot", json!(true)),
        (pod, "/securityContext/seccompProfile/type", json!("RuntimeDefault")),
        (container, "/securityContext/allowPrivilegeEscalation", json!(false)),
        (container, "/securityContext/readOnlyRootFilesystem", json!(true)),
        (container, "/securityContext/capabilities/drop", json!(["ALL"])),
    ] {
        assert_eq!(place.pointer(pointer), Some(&want), "{pointer}");
    }
    for absent in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert!(pod.get(absent).is_none(), "{absent}");
    }
}
