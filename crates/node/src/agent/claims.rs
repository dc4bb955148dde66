//! The folders behind the claims of a pod. Pure.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::ResourceExt as _;

/// The folder of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimFolder {
    pub(super) path: PathBuf,
    /// The type that the path must have, as for a `hostPath` volume.
    pub(super) kind: String,
}

/// The name of a volume's claim; `None` for other types of volumes.
pub(super) fn name(pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some(source.claim_name.clone());
    }
    volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.name_any(), volume.name))
}

/// The name of the volume that is bound to a claim, or why the pod has to wait. `is_new`: no
/// container of the pod was started yet.
pub(super) fn bound(
    pod: &Pod,
    volume: &Volume,
    claim: &PersistentVolumeClaim,
    is_new: bool,
) -> Result<String, String> {
    let name = claim.name_any();
    if volume.ephemeral.is_some() && !is_owned_by(claim, pod) {
        return Err(format!(
            "persistentvolumeclaim {name:?} was not created for pod {:?} (pod is not owner)",
            pod.name_any()
        ));
    }
    if is_new && claim.metadata.deletion_timestamp.is_some() {
        return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
    }
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let phase = phase.unwrap_or("Pending");
    let spec = claim.spec.as_ref();
    match spec.and_then(|spec| spec.volume_name.clone()) {
        Some(bound) if phase == "Bound" && !bound.is_empty() => Ok(bound),
        _ => Err(format!("persistentvolumeclaim {name:?} is not bound to a volume: it is {phase}")),
    }
}

fn is_owned_by(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    pod.uid().is_some_and(|uid| {
        owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
    })
}

/// The folder of a claim's volume, or why it cannot be mounted.
pub(super) fn folder(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Result<ClaimFolder, String> {
    let name = volume.name_any();
    let spec = volume.spec.as_ref();
    let of_claim = spec.and_then(|spec| spec.claim_ref.as_ref()?.uid.clone());
    if of_claim.is_none() || of_claim != claim.uid() {
        return Err(format!(
            "persistentvolume {name:?} is not bound to persistentvolumeclaim {:?}",
            claim.name_any()
        ));
    }
    if spec.and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return Err(format!("persistentvolume {name:?} has the volumeMode Block"));
    }
    let host_path = spec.and_then(|spec| spec.host_path.as_ref());
    let local = spec.and_then(|spec| spec.local.as_ref());
    match (host_path, local) {
        (Some(source), _) => Ok(ClaimFolder {
            path: source.path.clone().into(),
            kind: source.type_.clone().unwrap_or_default(),
        }),
        (None, Some(source)) => {
            Ok(ClaimFolder { path: source.path.clone().into(), kind: String::new() })
        }
        (None, None) => Err(format!(
            "persistentvolume {name:?} is neither a hostPath nor a local volume; this node mounts no others"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn pod() -> Pod {
        read(json!({ "metadata": { "name": "p", "namespace": "ns", "uid": "u" } }))
    }

    fn claim(change: impl FnOnce(&mut Value)) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": { "name": "c", "namespace": "ns", "uid": "cu" },
            "spec": { "volumeName": "pv" }, "status": { "phase": "Bound" },
        });
        change(&mut claim);
        read(claim)
    }

    #[test]
    fn a_pod_waits_until_its_claim_is_bound() {
        let mount: Volume =
            read(json!({ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }));
        assert_eq!(name(&pod(), &mount).as_deref(), Some("c"));
        let check =
            |change: &dyn Fn(&mut Value), is_new| bound(&pod(), &mount, &claim(change), is_new);
        assert_eq!(check(&|_| (), true).as_deref(), Ok("pv"));
        let deleted = |claim: &mut Value| {
            claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        };
        let text = check(&deleted, true).unwrap_err();
        assert_eq!(text, "persistentvolumeclaim \"c\" is being deleted");
        assert!(check(&deleted, false).is_ok(), "a pod that uses it keeps it");
        for (change, phase) in [
            (json!({ "spec": {}, "status": { "phase": "Pending" } }), "Pending"),
            (json!({ "spec": {} }), "Pending"),
            (json!({ "spec": { "volumeName": "pv" } }), "Pending"),
            (json!({ "spec": { "volumeName": "pv" }, "status": { "phase": "Lost" } }), "Lost"),
        ] {
            let set = |claim: &mut Value| {
                claim["spec"] = change["spec"].clone();
                claim["status"] = change.get("status").cloned().unwrap_or_else(|| json!({}));
            };
            let text = check(&set, true).unwrap_err();
            assert!(text.ends_with(&format!("it is {phase}")), "{change}: {text}");
        }
    }

    #[test]
    fn an_ephemeral_volume_uses_only_a_claim_of_its_pod() {
        let mount: Volume = read(json!({ "name": "v", "ephemeral": {} }));
        assert_eq!(name(&pod(), &mount).as_deref(), Some("p-v"));
        assert!(bound(&pod(), &mount, &claim(|_| ()), true).unwrap_err().contains("not owner"));
        for (uid, is_controller, expect) in
            [("u", true, true), ("u", false, false), ("other", true, false)]
        {
            let owner = json!([{
                "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": is_controller,
            }]);
            let claim = claim(|claim| claim["metadata"]["ownerReferences"] = owner);
            assert_eq!(bound(&pod(), &mount, &claim, true).is_ok(), expect, "{uid}");
        }
        let other: Volume = read(json!({ "name": "v", "emptyDir": {} }));
        assert_eq!(name(&pod(), &other), None);
    }

    #[test]
    fn a_volume_is_a_folder_of_this_machine_that_belongs_to_the_claim() {
        let check = |spec: Value| {
            let mut volume = json!({ "metadata": { "name": "pv" }, "spec": spec });
            if volume["spec"]["claimRef"].is_null() {
                volume["spec"]["claimRef"] = json!({ "uid": "cu" });
            }
            let volume = read(volume);
            folder(&claim(|_| ()), &volume).map(|it| format!("{} {}", it.path.display(), it.kind))
        };
        let path = json!({ "hostPath": { "path": "/d", "type": "Directory" } });
        assert_eq!(check(path).as_deref(), Ok("/d Directory"));
        assert_eq!(check(json!({ "local": { "path": "/l" } })).as_deref(), Ok("/l "));
        for wrong in [
            json!({ "hostPath": { "path": "/d" }, "claimRef": { "uid": "other" } }),
            json!({ "hostPath": { "path": "/d" }, "claimRef": { "name": "c" } }),
            json!({ "hostPath": { "path": "/d" }, "volumeMode": "Block" }),
            json!({ "nfs": { "path": "/d", "server": "s" } }),
        ] {
            assert!(check(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
