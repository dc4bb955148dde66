//! CustomResourceDefinitions: row, defaults and rules (upstream's `apiextensions` validation). See
//! [`crate::definitions`] for the kinds that they add.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::printer::JsonPath;
use mxjob_machinery::{names, schema};
use serde_json::{Value, json};

use super::default_to;
use crate::definitions::{self, check_compilation};
use crate::document;
use crate::kind::{Cell, Column, Kind, NAME, STATUS_ONLY};
use crate::strategy::{Cluster, Strategy};

/// Keeps a definition until its objects are deleted.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];

/// The row.
pub(super) fn kind() -> Kind {
    Kind {
        short_names: vec!["crd".into(), "crds".into()],
        categories: vec!["api-extensions".into()],
        namespaced: false,
        subresources: STATUS_ONLY,
        columns: vec![
            NAME,
            Column::new(
                "Created At",
                "date",
                "When the definition was created.",
                0,
                Cell::Computed(|object, _| text(object, "/metadata/creationTimestamp").into()),
            ),
        ],
        unconditional_update: false,
        strategy: Arc::new(Definition),
        ..Kind::new(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "customresourcedefinition",
        )
    }
}

/// The rules of a definition.
#[derive(Debug)]
struct Definition;

impl Strategy for Definition {
    fn prepare_create(&self, object: &mut Value) {
        let kind = text(object, "/spec/names/kind").to_owned();
        let Some(spec) = object.get_mut("spec") else { return };
        if let Some(names) = spec.get_mut("names") {
            default_to(names, "singular", kind.to_lowercase());
            default_to(names, "listKind", format!("{kind}List"));
        }
        default_to(spec, "conversion", json!({ "strategy": "None" }));
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn validate(&self, object: &Value) -> Errors {
        let mut errors = check(object);
        let (group, plural) = (text(object, "/spec/group"), text(object, "/spec/names/plural"));
        // Whether an optional kind is built in depends on the server; its definition exists where
        // it is.
        let is_it = |kind: &Kind| kind.group == group && kind.plural == plural;
        if super::all().iter().any(|kind| is_it(kind) && !kind.is_optional) {
            let path = Path::new("spec").child("names").child("plural");
            let detail = format!("{plural} of group {group} are built in");
            errors.push(Error::invalid(&path, plural, detail));
        }
        errors
    }

    // A stored definition can be changed, and so deleted, even if its kind has been built in since.
    fn revalidate(&self, _: &Value, new: &Value) -> Errors {
        check(new)
    }

    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = Errors::new();
        for (pointer, path) in [
            ("/spec/group", "spec.group"),
            ("/spec/scope", "spec.scope"),
            ("/spec/names/plural", "spec.names.plural"),
            ("/spec/names/kind", "spec.names.kind"),
        ] {
            if text(old, pointer) != text(new, pointer) {
                let detail = "field is immutable";
                errors.push(Error::invalid(&Path::new(path), text(new, pointer), detail));
            }
        }
        let is_there = |name: &Value| {
            list(new, "/spec/versions").iter().any(|version| version.get("name") == Some(name))
        };
        let path = Path::new("status").child("storedVersions");
        for (index, stored) in list(old, "/status/storedVersions").iter().enumerate() {
            if !is_there(stored) {
                let name = stored.as_str().unwrap_or_default();
                let detail = format!(
                    "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
                );
                errors.push(Error::invalid(&path.index(index), name, detail));
            }
        }
        errors
    }

    fn depends_on_others(&self) -> bool {
        true
    }

    fn derive_status(&self, cluster: &dyn Cluster, now: Timestamp, object: &mut Value) {
        definitions::derive_status(cluster, now, object);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        definitions::warnings(object)
    }

    // The definition of MXJobs, where they are built in.
    fn is_read_only(&self, name: &str, built_in_mxjobs: bool) -> bool {
        use mxjob_api::mxjob::{GROUP, PLURAL};
        built_in_mxjobs && name.strip_prefix(PLURAL) == Some(&format!(".{GROUP}"))
    }

    fn finalizers_on_delete(&self) -> &'static [&'static str] {
        &[FINALIZER]
    }

    fn mark_terminating(&self, object: &mut Value) {
        let since = document::meta_str(object, "deletionTimestamp").to_owned();
        let mut conditions = list(object, "/status/conditions").to_vec();
        conditions.push(json!({
            "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will occur as soon as possible",
            "lastTransitionTime": since,
        }));
        object["status"]["conditions"] = conditions.into();
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// The rules for every definition.
fn check(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = Path::new("spec");
    let (group, plural) = (text(object, "/spec/group"), text(object, "/spec/names/plural"));
    let name = document::meta_str(object, "name");
    if name != format!("{plural}.{group}") {
        let path = Path::new("metadata").child("name");
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(Error::invalid(&path, name, detail));
    }
    check_group(object, group, &spec.child("group"), &mut errors);
    match text(object, "/spec/scope") {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(Error::required(&spec.child("scope"), "")),
        other => errors.push(Error::not_supported(
            &spec.child("scope"),
            other,
            &["Cluster", "Namespaced"],
        )),
    }
    check_names(object, &spec.child("names"), &mut errors);
    check_versions(object, &spec.child("versions"), &mut errors);
    let strategy = text(object, "/spec/conversion/strategy");
    if strategy != "None" {
        let path = spec.child("conversion").child("strategy");
        errors.push(Error::not_supported(&path, strategy, &["None"]));
    }
    if object.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        errors.push(Error::invalid(
            &spec.child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors
}

fn check_group(object: &Value, group: &str, path: &Path, errors: &mut Errors) {
    if group.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    for why in names::dns1123_subdomain(group) {
        errors.push(Error::invalid(path, group, why));
    }
    if !group.contains('.') {
        errors.push(Error::invalid(path, group, "should be a domain with at least one dot"));
    }
    const APPROVED: &str = "api-approved.kubernetes.io";
    let is_protected = group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io");
    let annotations = document::metadata(object).and_then(|meta| meta.get("annotations"));
    if is_protected && annotations.and_then(|all| all.get(APPROVED)).is_none() {
        errors.push(Error::required(
            &Path::new("metadata").child("annotations").key(APPROVED),
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ));
    }
}

fn check_names(object: &Value, path: &Path, errors: &mut Errors) {
    let mut word = |name: &str, required: bool| {
        let given = text(object, &format!("/spec/names/{name}"));
        let path = path.child(name);
        if given.is_empty() {
            if required {
                errors.push(Error::required(&path, ""));
            }
            return;
        }
        let mixed = matches!(name, "kind" | "listKind");
        let lower = given.to_lowercase();
        for why in names::dns1035_label(if mixed { &lower } else { given }) {
            let detail = if mixed {
                format!("may have mixed case, but should otherwise match: {why}")
            } else {
                why
            };
            errors.push(Error::invalid(&path, given, detail));
        }
    };
    word("plural", true);
    word("singular", false);
    word("kind", true);
    word("listKind", false);
    for name in ["shortNames", "categories"] {
        for (index, given) in list(object, &format!("/spec/names/{name}")).iter().enumerate() {
            let given = given.as_str().unwrap_or_default();
            for why in names::dns1035_label(given) {
                errors.push(Error::invalid(&path.child(name).index(index), given, why));
            }
        }
    }
    let kind = text(object, "/spec/names/kind");
    if !kind.is_empty() && kind == text(object, "/spec/names/listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), kind, detail));
    }
}

fn check_versions(object: &Value, path: &Path, errors: &mut Errors) {
    let versions = list(object, "/spec/versions");
    let mut seen = BTreeSet::new();
    for (index, version) in versions.iter().enumerate() {
        let (path, name) = (path.index(index), text(version, "/name"));
        for why in names::dns1035_label(name) {
            errors.push(Error::invalid(&path.child("name"), name, why));
        }
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        check_columns(version, &path.child("additionalPrinterColumns"), errors);
    }
    let storing = versions.iter().filter(|version| version["storage"] == true).count();
    if storing != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(Error::invalid(path, &Value::from(versions.to_vec()), detail));
    }
    let schema = |version: &Value| version.pointer("/schema/openAPIV3Schema").cloned();
    let first = versions.first().and_then(schema);
    // Errors of a schema that all versions share are reported once, under no version.
    let shared = first.is_some() && versions.iter().all(|version| schema(version) == first);
    for (index, version) in versions.iter().enumerate() {
        let path = match (shared, index) {
            (true, 0) => Path::new("spec").child("validation").child("openAPIV3Schema"),
            (true, _) => continue,
            (false, _) => path.index(index).child("schema").child("openAPIV3Schema"),
        };
        match version.pointer("/schema/openAPIV3Schema") {
            None | Some(Value::Null) => errors.push(Error::required(&path, "schemas are required")),
            Some(schema) => {
                errors.append(schema::violations(schema, &path));
                check_compilation(schema, &path, errors);
            }
        }
    }
}

fn check_columns(version: &Value, path: &Path, errors: &mut Errors) {
    for (index, column) in list(version, "/additionalPrinterColumns").iter().enumerate() {
        let path = path.index(index);
        if text(column, "/name").is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        match text(column, "/type") {
            "" => errors.push(Error::required(
                &path.child("type"),
                format!("must be one of {}", COLUMN_TYPES.join(",")),
            )),
            kind if !COLUMN_TYPES.contains(&kind) => {
                errors.push(Error::not_supported(&path.child("type"), kind, COLUMN_TYPES));
            }
            _ => {}
        }
        let given = text(column, "/jsonPath");
        if given.is_empty() {
            errors.push(Error::required(&path.child("jsonPath"), ""));
        } else if let Err(error) = JsonPath::parse(given) {
            errors.push(Error::invalid(&path.child("jsonPath"), given, error.to_string()));
        }
    }
}
