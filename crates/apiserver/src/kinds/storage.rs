//! Storage: persistent volumes, claims to them, and their classes.

mod claim;
mod volume;

use std::sync::Arc;

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::names;
use mxjob_machinery::quantity::Quantity;
use serde_json::{Map, Value};

use super::default_to;
use super::rules::{self, Rule, Table};
use crate::document;
use crate::kind::{AGE, STATUS_ONLY, computed};
use crate::kind::{Cell, Column, Kind};
use crate::strategy::Strategy;

pub(crate) use claim::is_default_class;

/// The annotation by which older clients name a class.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const ACCESS_MODES: &[&str] =
    &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// The most parameters of a class, and the most bytes of all.
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_BYTES: usize = 256 * 1024;

/// The rows of the core group.
pub(super) fn core() -> [Kind; 2] {
    [
        Kind {
            short_names: vec!["pvc".into()],
            subresources: STATUS_ONLY,
            columns: claim::COLUMNS.to_vec(),
            returns_deleted: true,
            strategy: Arc::new(claim::Claim),
            ..Kind::new(
                "",
                "PersistentVolumeClaim",
                "persistentvolumeclaims",
                "persistentvolumeclaim",
            )
        },
        Kind {
            short_names: vec!["pv".into()],
            namespaced: false,
            subresources: STATUS_ONLY,
            columns: volume::COLUMNS.to_vec(),
            returns_deleted: true,
            strategy: Arc::new(volume::Volume),
            ..Kind::new("", "PersistentVolume", "persistentvolumes", "persistentvolume")
        },
    ]
}

/// The row of `storage.k8s.io`.
pub(super) fn class() -> Kind {
    Kind {
        short_names: vec!["sc".into()],
        namespaced: false,
        columns: CLASS_COLUMNS.to_vec(),
        returns_deleted: true,
        strategy: Arc::new(Class),
        ..Kind::new("storage.k8s.io", "StorageClass", "storageclasses", "storageclass")
    }
}

const CLASS_COLUMNS: &[Column] = &[
    computed("Name", 0, |class, _| {
        let name = text(class, "/metadata/name");
        if is_default_class(class) { format!("{name} (default)").into() } else { name.into() }
    }),
    computed("Provisioner", 0, |class, _| text(class, "/provisioner").into()),
    computed("ReclaimPolicy", 0, |class, _| text(class, "/reclaimPolicy").into()),
    computed("VolumeBindingMode", 0, |class, _| text(class, "/volumeBindingMode").into()),
    Column::new(
        "AllowVolumeExpansion",
        "boolean",
        "Whether volumes can grow.",
        0,
        Cell::Computed(|class, _| {
            class.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or(false).into()
        }),
    ),
    AGE,
];

/// Access modes as `kubectl` abbreviates them.
fn modes(object: &Value, pointer: &str) -> Value {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => Some("RWO"),
        "ReadOnlyMany" => Some("ROX"),
        "ReadWriteMany" => Some("RWX"),
        "ReadWriteOncePod" => Some("RWOP"),
        _ => None,
    };
    let mut all: Vec<&str> = Vec::new();
    for mode in list(object, pointer).iter().filter_map(short) {
        if !all.contains(&mode) {
            all.push(mode);
        }
    }
    all.join(",").into()
}

/// The class of a volume or a claim; an annotation comes first, as upstream reads it.
fn class_of(object: &Value) -> &str {
    let annotations = object.pointer("/metadata/annotations");
    let annotation = annotations.and_then(|all| all.get(CLASS_ANNOTATION)).and_then(Value::as_str);
    annotation.unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

/// Whether a claim names a class; an empty name stands for none, and is a choice.
pub(crate) fn has_class(claim: &Value) -> bool {
    let annotations = claim.pointer("/metadata/annotations");
    annotations.is_some_and(|all| all.get(CLASS_ANNOTATION).is_some())
        || !claim["spec"]["storageClassName"].is_null()
}

/// Access modes that are missing, unknown or exclude each other.
fn mode_errors(object: &Value, missing: &str) -> Errors {
    let path = Path::new("spec").child("accessModes");
    let modes = list(object, "/spec/accessModes");
    if modes.is_empty() {
        return Error::required(&path, missing).into();
    }
    let mut errors: Errors = modes
        .iter()
        .map(|mode| Rule::RequiredOneOf(ACCESS_MODES).errors(Some(mode), &path))
        .collect();
    let exclusive = modes.iter().filter(|mode| *mode == "ReadWriteOncePod").count();
    if exclusive > 0 && exclusive < modes.len() {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden(&path, detail));
    }
    errors
}

/// The rules of a class.
#[derive(Debug)]
struct Class;

const CLASS: Table = &[
    ("provisioner", Rule::Required("")),
    ("provisioner", Rule::Name(provisioner)),
    ("reclaimPolicy", Rule::OneOf(&["Delete", "Retain"])),
    ("volumeBindingMode", Rule::RequiredOneOf(&["Immediate", "WaitForFirstConsumer"])),
];

/// Names of provisioners, in which upper case passes.
fn provisioner(name: &str) -> Vec<String> {
    names::qualified_name(&name.to_lowercase())
}

impl Strategy for Class {
    fn prepare_create(&self, class: &mut Value) {
        default_to(class, "reclaimPolicy", "Delete");
        default_to(class, "volumeBindingMode", "Immediate");
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    /// Upstream's `ValidateStorageClass`.
    fn validate(&self, class: &Value) -> Errors {
        let mut errors = rules::check(class, &Path::default(), CLASS);
        let parameters = class.get("parameters").and_then(Value::as_object);
        let path = Path::new("parameters");
        if parameters.map_or(0, Map::len) > MAX_PARAMETERS {
            errors.push(Error::too_long(&path, MAX_PARAMETERS));
            return errors;
        }
        let mut bytes = 0;
        for (key, value) in parameters.into_iter().flatten() {
            if key.is_empty() {
                errors.push(Error::invalid(&path, "", "field can not be empty."));
            }
            bytes += key.len() + value.as_str().map_or(0, str::len);
        }
        if bytes > MAX_PARAMETERS_BYTES {
            errors.push(Error::too_long(&path, MAX_PARAMETERS_BYTES));
        }
        errors
    }

    /// Upstream's `ValidateStorageClassUpdate`.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = Errors::new();
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if !rules::same(old.get(field), new.get(field)) {
                let detail = format!("updates to {field} are forbidden.");
                errors.push(Error::forbidden(&Path::new(field), detail));
            }
        }
        errors.append(rules::immutable(old, new, &["volumeBindingMode"]));
        errors
    }
}

/// A quantity above 0 (upstream's `ValidatePositiveQuantityValue`).
fn positive(value: &Value, path: &Path) -> Errors {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let detail = match Quantity::from_value(value) {
        Err(error) => error.to_string(),
        Ok(size) if size.is_negative() || size.is_zero() => "must be greater than zero".to_owned(),
        Ok(_) => return Errors::new(),
    };
    Error::invalid(path, shown, detail).into()
}

/// What upstream's `StorageObjectInUseProtection` plug-in adds to new objects.
fn add_finalizer(object: &mut Value, name: &str) {
    let mut finalizers = document::finalizers(object);
    if !finalizers.iter().any(|held| held == name) {
        finalizers.push(name.to_owned());
        document::metadata_mut(object).insert("finalizers".to_owned(), finalizers.into());
    }
}
