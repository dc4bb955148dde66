//! Which volume fits a claim, and the volume that is made for one: pure functions.

use mxjob_machinery::json::{list, text};
use mxjob_machinery::labels::Selector;
use mxjob_machinery::object;
use mxjob_machinery::quantity::Quantity;
use serde_json::{Value, json};

use super::{BOUND_BY_CONTROLLER, PROVISIONED_BY, PROVISIONER, VOLUME_PROTECTION};

/// The annotation by which older clients name a class.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const SIZE_OF_CLAIM: &str = "/spec/resources/requests/storage";
const SIZE_OF_VOLUME: &str = "/spec/capacity/storage";

/// What a claim gets.
#[derive(Debug)]
pub(super) enum Fit<'a> {
    Volume(&'a Value),
    None,
}

/// The class of a claim or a volume.
pub(super) fn class_of(object: &Value) -> &str {
    let annotations = object.pointer("/metadata/annotations");
    let annotation = annotations.and_then(|all| all.get(CLASS_ANNOTATION)).and_then(Value::as_str);
    annotation.unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

/// The reference of a volume to its claim.
pub(super) fn reference(claim: &Value) -> Value {
    let field = |name| object::meta_str(claim, name);
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": field("namespace"),
        "name": field("name"), "uid": field("uid"), "resourceVersion": field("resourceVersion"),
    })
}

/// Whether a volume is for this claim: it names it, and no earlier claim of that name.
fn is_for(volume: &Value, claim: &Value) -> bool {
    let same =
        |field| text(volume, &format!("/spec/claimRef/{field}")) == object::meta_str(claim, field);
    let uid = text(volume, "/spec/claimRef/uid");
    same("namespace") && same("name") && (uid.is_empty() || same("uid"))
}

fn is_free(volume: &Value) -> bool {
    text(volume, "/spec/claimRef/name").is_empty() && !object::is_terminating(volume)
}

/// Whether a claim that names a volume may have it.
pub(super) fn may_bind(volume: &Value, claim: &Value) -> bool {
    is_free(volume) || is_for(volume, claim)
}

/// The volume that names the claim, or else the smallest that fits.
pub(super) fn choose<'a>(
    claim: &Value,
    volumes: impl Iterator<Item = &'a Value> + Clone,
) -> Fit<'a> {
    let reserved = volumes.clone().find(|volume| is_for(volume, claim));
    let smallest =
        volumes.filter(|volume| fits(volume, claim)).min_by_key(|it| size(it, SIZE_OF_VOLUME));
    reserved.or(smallest).map_or(Fit::None, Fit::Volume)
}

fn size(object: &Value, pointer: &str) -> Option<Quantity> {
    Quantity::from_value(object.pointer(pointer)?).ok()
}

fn fits(volume: &Value, claim: &Value) -> bool {
    let modes = list(volume, "/spec/accessModes");
    let mode = |object| match text(object, "/spec/volumeMode") {
        "" => "Filesystem".to_owned(),
        mode => mode.to_owned(),
    };
    let selector = &claim["spec"]["selector"];
    let labels = volume.pointer("/metadata/labels");
    let selects = |selector: Selector| {
        selector.matches(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
    };
    is_free(volume)
        && class_of(volume) == class_of(claim)
        && mode(volume) == mode(claim)
        && size(volume, SIZE_OF_VOLUME) >= size(claim, SIZE_OF_CLAIM)
        && list(claim, "/spec/accessModes").iter().all(|mode| modes.contains(mode))
        && (selector.is_null() || Selector::from_object(selector).is_some_and(selects))
}

/// Why no volume can be made for a claim.
pub(super) fn unprovisionable(claim: &Value) -> Option<&'static str> {
    if !claim["spec"]["selector"].is_null() {
        return Some("claim Selector is not supported");
    }
    (text(claim, "/spec/volumeMode") == "Block").then_some("volumeMode Block is not supported")
}

/// A new volume for a claim: a folder that exists. Without it pods do not start, rather than start
/// with an empty one.
pub(super) fn volume(claim: &Value, class: &Value, name: &str, path: &str) -> Value {
    let policy = match text(class, "/reclaimPolicy") {
        "" => "Delete",
        policy => policy,
    };
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": { PROVISIONED_BY: PROVISIONER, BOUND_BY_CONTROLLER: "yes" },
            "finalizers": [VOLUME_PROTECTION],
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": { "storage": claim.pointer(SIZE_OF_CLAIM) },
            "claimRef": reference(claim),
            "hostPath": { "path": path, "type": "Directory" },
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": object::meta_str(class, "name"),
            "volumeMode": "Filesystem",
        },
    })
}

/// The size that a claim of ours has grown to.
pub(super) fn larger_size<'a>(volume: &Value, claim: &'a Value) -> Option<&'a Value> {
    let grown = super::has_annotation(volume, PROVISIONED_BY, PROVISIONER)
        && size(claim, SIZE_OF_CLAIM) > size(volume, SIZE_OF_VOLUME);
    claim.pointer(SIZE_OF_CLAIM).filter(|_| grown)
}

/// Whether a pod that has not ended uses a claim.
pub(super) fn uses(pod: &Value, claim: &Value) -> bool {
    let name = object::meta_str(claim, "name");
    let of_pod = |volume: &Value| {
        // The claim of an ephemeral volume has the names of the pod and the volume.
        let ephemeral = format!("{}-{}", object::meta_str(pod, "name"), text(volume, "/name"));
        text(volume, "/persistentVolumeClaim/claimName") == name
            || !volume["ephemeral"].is_null() && ephemeral == name
    };
    !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
        && list(pod, "/spec/volumes").iter().any(of_pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(spec: &Value) -> Value {
        let mut claim = json!({
            "metadata": { "name": "c", "namespace": "ns", "uid": "u" },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "resources": { "requests": { "storage": "5Gi" } },
            },
        });
        for (field, value) in spec.as_object().unwrap() {
            claim["spec"][field] = value.clone();
        }
        claim
    }

    fn volume(name: &str, size: &str, spec: &Value) -> Value {
        let mut volume = json!({
            "metadata": { "name": name, "labels": { "disk": name } },
            "spec": { "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": { "storage": size } },
        });
        for (field, value) in spec.as_object().unwrap() {
            volume["spec"][field] = value.clone();
        }
        volume
    }

    #[test]
    fn a_claim_gets_the_smallest_volume_that_fits_or_the_one_that_names_it() {
        let reserved =
            |uid: &str| json!({ "claimRef": { "namespace": "ns", "name": "c", "uid": uid } });
        let check = |spec: Value, volumes: &[Value], expected: &str| {
            let found = match choose(&claim(&spec), volumes.iter()) {
                Fit::Volume(volume) => object::meta_str(volume, "name"),
                Fit::None => "",
            };
            assert_eq!(found, expected, "{spec}");
        };
        let volumes = [
            volume("big", "50Gi", &json!({})),
            volume("fit", "6Gi", &json!({})),
            volume("small", "1Gi", &json!({})),
            volume("fast", "5Gi", &json!({ "storageClassName": "fast" })),
            volume("block", "5Gi", &json!({ "volumeMode": "Block" })),
            volume("other", "5Gi", &reserved("other")),
        ];
        check(json!({}), &volumes, "fit");
        check(json!({ "storageClassName": "fast" }), &volumes, "fast");
        check(json!({ "volumeMode": "Block" }), &volumes, "block");
        check(json!({ "accessModes": ["ReadWriteMany"] }), &volumes, "");
        check(json!({ "accessModes": ["ReadOnlyMany", "ReadWriteOnce"] }), &volumes, "fit");
        check(json!({ "selector": { "matchLabels": { "disk": "big" } } }), &volumes, "big");
        check(json!({ "selector": { "matchLabels": { "disk": "none" } } }), &volumes, "");
        for uid in ["", "u"] {
            let mut volumes = volumes.to_vec();
            volumes.push(volume("mine", "1Ti", &reserved(uid)));
            check(json!({}), &volumes, "mine");
        }
    }

    #[test]
    fn pods_use_the_claims_that_they_mount_until_they_end() {
        let claim = claim(&json!({}));
        let pod = |volume: Value, phase: &str| json!({ "metadata": { "name": "p" }, "spec": { "volumes": [volume] }, "status": { "phase": phase } });
        let mount =
            |name: &str| json!({ "name": "v", "persistentVolumeClaim": { "claimName": name } });
        assert!(uses(&pod(mount("c"), "Pending"), &claim));
        assert!(uses(&pod(mount("c"), "Running"), &claim));
        assert!(!uses(&pod(mount("c"), "Succeeded"), &claim));
        assert!(!uses(&pod(mount("d"), "Running"), &claim));
        let mut other = claim;
        other["metadata"]["name"] = json!("p-v");
        assert!(uses(&pod(json!({ "name": "v", "ephemeral": {} }), "Running"), &other));
    }
}
