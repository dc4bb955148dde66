//! Persistent volumes (upstream's `ValidatePersistentVolume`). The manager binds and reclaims them.

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::quantity::Quantity;
use mxjob_machinery::{names, pod_spec};
use serde_json::{Map, Value, json};

use super::{VOLUME_MODES, class_of, mode_errors, modes};
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::kinds::default_to;
use crate::kinds::rules::{self, Rule, Table};
use crate::strategy::Strategy;

/// The finalizer that keeps a volume while a claim is bound to it.
const PROTECTION: &str = "kubernetes.io/pv-protection";
/// Fields of a spec that are not the source of the volume.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];
/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Capacity", 0, |volume, _| {
        let size = volume.pointer("/spec/capacity/storage");
        size.and_then(|size| Quantity::from_value(size).ok())
            .map_or_else(|| "0".to_owned(), |size| size.to_string())
            .into()
    }),
    computed("Access Modes", 0, |volume, _| modes(volume, "/spec/accessModes")),
    computed("Reclaim Policy", 0, |volume, _| {
        text(volume, "/spec/persistentVolumeReclaimPolicy").into()
    }),
    computed("Status", 0, |volume, _| {
        let terminating = !text(volume, "/metadata/deletionTimestamp").is_empty();
        if terminating { "Terminating".into() } else { text(volume, "/status/phase").into() }
    }),
    computed("Claim", 0, |volume, _| {
        let (namespace, name) =
            (text(volume, "/spec/claimRef/namespace"), text(volume, "/spec/claimRef/name"));
        if name.is_empty() { "".into() } else { format!("{namespace}/{name}").into() }
    }),
    computed("StorageClass", 0, |volume, _| class_of(volume).into()),
    computed("VolumeAttributesClass", 0, |volume, _| {
        let name = text(volume, "/spec/volumeAttributesClassName");
        if name.is_empty() { "<unset>".into() } else { name.into() }
    }),
    computed("Reason", 0, |volume, _| text(volume, "/status/reason").into()),
    AGE,
    computed("VolumeMode", 1, |volume, _| {
        let mode = text(volume, "/spec/volumeMode");
        if mode.is_empty() { "<unset>".into() } else { mode.into() }
    }),
];

const SPEC: Table = &[
    ("persistentVolumeReclaimPolicy", Rule::OneOf(&["Delete", "Recycle", "Retain"])),
    ("storageClassName", Rule::Name(names::dns1123_subdomain)),
    ("volumeMode", Rule::OneOf(VOLUME_MODES)),
];

/// The rules of a volume.
#[derive(Debug)]
pub(super) struct Volume;

impl Volume {
    /// Upstream's `SetDefaults_PersistentVolume`.
    fn defaults(volume: &mut Value) {
        let Some(spec) = volume.get_mut("spec").filter(|spec| spec.is_object()) else { return };
        default_to(spec, "persistentVolumeReclaimPolicy", "Retain");
        default_to(spec, "volumeMode", "Filesystem");
        if let Some(source) = spec.get_mut("hostPath").filter(|source| source.is_object()) {
            default_to(source, "type", "");
        }
        if let Some(reference) = spec.get_mut("claimRef").filter(|it| it.is_object()) {
            default_to(reference, "kind", "PersistentVolumeClaim");
            default_to(reference, "apiVersion", "v1");
        }
    }
}

impl Strategy for Volume {
    fn prepare_create(&self, volume: &mut Value) {
        if let Some(map) = volume.as_object_mut() {
            map.insert("status".to_owned(), json!({ "phase": "Pending" }));
        }
        Self::defaults(volume);
        super::add_finalizer(volume, PROTECTION);
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        Self::defaults(new);
    }

    fn validate(&self, volume: &Value) -> Errors {
        let path = Path::new("spec");
        let mut errors = mode_errors(volume, "");
        errors.append(capacity_errors(volume));
        errors.append(source_errors(volume));
        errors.append(rules::check(&volume["spec"], &path, SPEC));
        errors
    }

    /// The part of upstream's `ValidatePersistentVolumeUpdate` that compares.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = Errors::new();
        let sources = |volume| sources(volume).collect::<Map<_, _>>();
        if sources(old) != sources(new) {
            let path = Path::new("spec").child("persistentvolumesource");
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(Error::forbidden(&path, detail));
        }
        let mode = |volume: &Value| volume["spec"]["volumeMode"].clone();
        if mode(old) != mode(new) {
            let path = Path::new("volumeMode");
            errors.push(Error::invalid(&path, &mode(new), "field is immutable"));
        }
        let affinity = |volume: &Value| volume["spec"]["nodeAffinity"].clone();
        if !affinity(old).is_null() && affinity(old) != affinity(new) {
            let path = Path::new("nodeAffinity");
            errors.push(Error::invalid(&path, &affinity(new), "field is immutable"));
        }
        errors
    }
}

/// The sources of a volume; a valid one has exactly one.
fn sources(volume: &Value) -> impl Iterator<Item = (String, Value)> {
    let spec = volume.get("spec").and_then(Value::as_object).into_iter().flatten();
    spec.filter(|(name, value)| !NOT_SOURCES.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
}

fn capacity_errors(volume: &Value) -> Errors {
    let path = Path::new("spec").child("capacity");
    let capacity = volume.pointer("/spec/capacity").and_then(Value::as_object);
    let Some(capacity) = capacity.filter(|capacity| !capacity.is_empty()) else {
        return Error::required(&path, "").into();
    };
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let shown = Value::from(capacity.clone());
        return Error::not_supported(&path, &shown, &["storage"]).into();
    }
    capacity.iter().map(|(name, size)| super::positive(size, &path.key(name))).collect()
}

fn source_errors(volume: &Value) -> Errors {
    let path = Path::new("spec");
    let mut errors = Errors::new();
    let mut names = sources(volume).map(|(name, _)| name);
    if names.next().is_none() {
        errors.push(Error::required(&path, "must specify a volume type"));
    }
    for name in names {
        let detail = "may not specify more than 1 volume type";
        errors.push(Error::forbidden(&path.child(name), detail));
    }
    for source in ["hostPath", "local"] {
        let Some(value) = volume["spec"].get(source).filter(|value| !value.is_null()) else {
            continue;
        };
        let (folder, at) = (text(value, "/path"), path.child(source).child("path"));
        if folder.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if let Err(detail) = pod_spec::no_back_steps(folder) {
            errors.push(Error::invalid(&at, folder, detail));
        }
    }
    let kind = text(volume, "/spec/hostPath/type");
    if !pod_spec::HOST_PATH_TYPES.contains(&kind) {
        let path = path.child("hostPath").child("type");
        errors.push(Error::not_supported(&path, kind, pod_spec::HOST_PATH_TYPES));
    }
    let terms = list(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    if !volume["spec"]["local"].is_null() && terms.is_empty() {
        let detail = "Local volume requires node affinity";
        errors.push(Error::required(&path.child("nodeAffinity"), detail));
    }
    errors
}
