//! Claims to persistent volumes (upstream's `ValidatePersistentVolumeClaim`). The manager binds
//! them.

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::text;
use mxjob_machinery::quantity::Quantity;
use mxjob_machinery::{labels, names};
use serde_json::{Value, json};

use super::{CLASS_ANNOTATION, VOLUME_MODES, class_of, mode_errors, modes};
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::kinds::default_to;
use crate::kinds::rules::{self, Rule, Table};
use crate::strategy::Strategy;

/// The finalizer that keeps a claim while a pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Annotations that mark the class of claims that name none.
const IS_DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// The annotation that names what made the volume of a claim.
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Status", 0, |claim, _| {
        let terminating = !text(claim, "/metadata/deletionTimestamp").is_empty();
        if terminating { "Terminating".into() } else { text(claim, "/status/phase").into() }
    }),
    computed("Volume", 0, |claim, _| text(claim, "/spec/volumeName").into()),
    computed("Capacity", 0, |claim, _| {
        if text(claim, "/spec/volumeName").is_empty() {
            return "".into();
        }
        let size = claim.pointer("/status/capacity/storage");
        size.and_then(|size| Quantity::from_value(size).ok())
            .map_or_else(|| "0".to_owned(), |size| size.to_string())
            .into()
    }),
    computed("Access Modes", 0, |claim, _| {
        if text(claim, "/spec/volumeName").is_empty() {
            return "".into();
        }
        modes(claim, "/status/accessModes")
    }),
    computed("StorageClass", 0, |claim, _| class_of(claim).into()),
    computed("VolumeAttributesClass", 0, |claim, _| {
        let name = text(claim, "/spec/volumeAttributesClassName");
        if name.is_empty() { "<unset>".into() } else { name.into() }
    }),
    AGE,
    computed("VolumeMode", 1, |claim, _| {
        let mode = text(claim, "/spec/volumeMode");
        if mode.is_empty() { "<unset>".into() } else { mode.into() }
    }),
];

/// Whether claims that name no class get this one.
pub(crate) fn is_default_class(class: &Value) -> bool {
    let annotations = class.pointer("/metadata/annotations");
    IS_DEFAULT.iter().any(|name| annotations.is_some_and(|all| all[name] == "true"))
}

const SPEC: Table = &[
    ("storageClassName", Rule::Name(names::dns1123_subdomain)),
    ("volumeMode", Rule::OneOf(VOLUME_MODES)),
    ("volumeAttributesClassName", Rule::Name(names::dns1123_subdomain)),
];
const SOURCE: Table = &[
    ("name", Rule::Required("")),
    ("kind", Rule::Required("")),
    ("apiGroup", Rule::Name(names::dns1123_subdomain)),
    ("namespace", Rule::Name(names::dns1123_label)),
];

/// The rules of a claim.
#[derive(Debug)]
pub(super) struct Claim;

impl Strategy for Claim {
    fn claims_storage(&self) -> bool {
        true
    }

    fn prepare_create(&self, claim: &mut Value) {
        if let Some(map) = claim.as_object_mut() {
            map.insert("status".to_owned(), json!({ "phase": "Pending" }));
        }
        if let Some(spec) = claim.get_mut("spec") {
            default_to(spec, "volumeMode", "Filesystem");
        }
        super::add_finalizer(claim, PROTECTION);
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        if let Some(spec) = new.get_mut("spec") {
            default_to(spec, "volumeMode", "Filesystem");
        }
    }

    fn validate(&self, claim: &Value) -> Errors {
        let path = Path::new("spec");
        let mut errors = mode_errors(claim, "at least 1 access mode is required");
        let selector = &claim["spec"]["selector"];
        errors.append(labels::validate_selector(selector, &path.child("selector")));
        errors.append(size_errors(claim.pointer("/spec/resources/requests/storage")));
        errors.append(rules::check(&claim["spec"], &path, SPEC));
        for field in ["dataSource", "dataSourceRef"] {
            errors.append(source_errors(&claim["spec"][field], &path.child(field)));
        }
        errors
    }

    /// The part of upstream's `ValidatePersistentVolumeClaimUpdate` that compares.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = Errors::new();
        let class = |claim: &Value| {
            claim
                .pointer("/metadata/annotations")
                .and_then(|all| all.get(CLASS_ANNOTATION))
                .cloned()
        };
        if class(old) != class(new) {
            let path = Path::new("metadata").child("annotations").key(CLASS_ANNOTATION);
            let shown = class(new).unwrap_or_default();
            errors.push(Error::invalid(&path, &shown, "field is immutable"));
        }
        if comparable(old, old) != comparable(new, old) {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.push(Error::forbidden(&Path::new("spec"), detail));
        }
        errors.append(resize_errors(old, new));
        errors
    }
}

/// The size that is asked for: upstream's `ValidatePositiveQuantityValue`.
fn size_errors(size: Option<&Value>) -> Errors {
    let path = Path::new("spec").child("resources").key("storage");
    let Some(size) = size.filter(|size| !size.is_null()) else {
        return Error::required(&path, "").into();
    };
    super::positive(size, &path)
}

fn source_errors(source: &Value, path: &Path) -> Errors {
    if source.is_null() {
        return Errors::new();
    }
    let mut errors = rules::check(source, path, SOURCE);
    let kind = text(source, "/kind");
    if text(source, "/apiGroup").is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(Error::invalid(path, kind, detail));
    }
    // A claim that is filled from another object would be empty without a word.
    if errors.is_empty() {
        errors.push(Error::forbidden(path, "this server fills no volumes from other objects"));
    }
    errors
}

/// What may not change of a spec: all but what may be set once, and the size of a bound claim.
fn comparable(claim: &Value, old: &Value) -> Value {
    let mut spec = claim.get("spec").cloned().unwrap_or_default();
    let Some(map) = spec.as_object_mut() else { return spec };
    if text(old, "/spec/volumeName").is_empty() {
        map.remove("volumeName");
    }
    // An empty class is a choice, and stays.
    if old["spec"]["storageClassName"].is_null() {
        map.remove("storageClassName");
    }
    if text(old, "/status/phase") == "Bound" {
        map.remove("volumeAttributesClassName");
        if let Some(requests) =
            spec.pointer_mut("/resources/requests").and_then(Value::as_object_mut)
        {
            requests.remove("storage");
        }
    }
    spec
}

/// A claim may grow where its volume can, and never shrinks below what it has.
fn resize_errors(old: &Value, new: &Value) -> Errors {
    let size = |claim: &Value, pointer: &str| {
        claim.pointer(pointer).and_then(|size| Quantity::from_value(size).ok())
    };
    let requested = "/spec/resources/requests/storage";
    let (Some(before), Some(after)) = (size(old, requested), size(new, requested)) else {
        return Errors::new();
    };
    let path = Path::new("spec").child("resources").child("requests").child("storage");
    let annotations = old.pointer("/metadata/annotations");
    let is_provisioned = annotations.is_some_and(|all| rules::is_set(all.get(PROVISIONER)));
    if after < before {
        let has = size(old, "/status/capacity/storage");
        if has.is_none_or(|has| after <= has) {
            return Error::forbidden(&path, "field can not be less than status.capacity").into();
        }
    } else if after > before && text(old, "/status/phase") == "Bound" && !is_provisioned {
        let detail = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        return Error::forbidden(&path, detail).into();
    }
    Errors::new()
}
