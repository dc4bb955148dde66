//! Claims: the template of an ephemeral volume's claim (`ValidatePersistentVolumeClaimTemplate`),
//! and the resource claims of a pod.

use std::collections::HashSet;

use serde_json::Value;

use super::scheduling::{check_label_selector, check_labels};
use super::view::{Context, Rule, Table, View, of};
use crate::names;
use crate::quantity::Quantity;

pub(super) const CLAIM_TEMPLATE: &[Table] = &[
    of("ValidateTemplateObjectMeta", &[("metadata", Rule::If(check_metadata))]),
    of("ValidatePersistentVolumeClaimSpec", &[("spec", Rule::Check(check_spec))]),
];

fn check_metadata<'v>(metadata: &View<'v, '_>, context: &mut Context<'v>) {
    check_labels(&metadata.get("labels"), context);
    for (name, value) in metadata.value.as_object().into_iter().flatten() {
        let is_set = !matches!(value, Value::Null) && value.as_str() != Some("");
        if is_set && !matches!(name.as_str(), "labels" | "annotations") {
            metadata.get(name).forbidden("cannot be set", context);
        }
    }
}

fn check_spec<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    const FIELDS: &[Table] = &[
        of(
            "ValidatePersistentVolumeClaimSpec",
            &[
                ("storageClassName", Rule::May(names::dns1123_subdomain)),
                ("volumeMode", Rule::OneOf(&["Block", "Filesystem"])),
            ],
        ),
        of("validateDataSource", &[("dataSource", Rule::If(check_data_source))]),
        of("validateDataSourceRef", &[("dataSourceRef", Rule::If(check_data_source))]),
    ];
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        modes.required("at least 1 access mode is required", context);
    }
    check_label_selector(&spec.get("selector"), context);
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in modes.items().filter(|mode| !known.contains(&mode.str())) {
        modes.showing(mode.value).not_supported(&known, context);
    }
    let has = |wanted: fn(&str) -> bool| modes.items().any(|mode| wanted(mode.str()));
    if has(|mode| mode == "ReadWriteOncePod")
        && has(|mode| matches!(mode, "ReadOnlyMany" | "ReadWriteMany" | "ReadWriteOnce"))
    {
        modes.forbidden("may not use ReadWriteOncePod with other access modes", context);
    }
    let resources = spec.get("resources");
    let amount = resources.get("requests").get("storage").value;
    let storage = resources.key("storage").showing(amount);
    match Quantity::from_value(storage.value) {
        _ if storage.value.is_null() => storage.required("", context),
        Ok(size) if size.is_zero() || size.is_negative() => {
            storage.invalid_as(size.to_string(), "must be greater than zero", context);
        }
        _ => {}
    }
    spec.check(FIELDS, context);
    check_sources_agree(spec, context);
}

fn check_data_source(source: &View<'_, '_>, context: &mut Context<'_>) {
    for field in ["name", "kind"] {
        if source.text(field).is_empty() {
            source.get(field).required("", context);
        }
    }
    let group = source.get("apiGroup");
    if group.is_empty() {
        if source.text("kind") != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            source.invalid_as(source.text("kind"), detail, context);
        }
    } else {
        group.check_text(names::dns1123_subdomain, context);
    }
    let namespace = source.get("namespace");
    if !namespace.is_empty() {
        namespace.check_text(names::dns1123_label, context);
    }
}

fn check_sources_agree(spec: &View<'_, '_>, context: &mut Context<'_>) {
    let (Some(source), Some(reference)) = (spec.given("dataSource"), spec.given("dataSourceRef"))
    else {
        return;
    };
    let shown = source.path().to_string();
    if !reference.text("namespace").is_empty() {
        let detail = "may not be specified when dataSourceRef.namespace is specified";
        spec.invalid_as(shown, detail, context);
    } else if ["apiGroup", "kind", "name"].iter().any(|it| source.text(it) != reference.text(it)) {
        spec.invalid_as(shown, "must match dataSourceRef", context);
    }
}

/// `validatePodResourceClaims`: notes the names.
pub(super) fn check_resource_claims<'v>(claims: &View<'v, '_>, context: &mut Context<'v>) {
    const NAMES: &[Table] = &[of(
        "validatePodResourceClaim",
        &[
            ("resourceClaimName", Rule::If(check_subdomain)),
            ("resourceClaimTemplateName", Rule::If(check_subdomain)),
        ],
    )];
    let mut seen = HashSet::new();
    for claim in claims.objects() {
        let name = claim.get("name");
        if name.is_empty() {
            name.required("", context);
        } else if !seen.insert(name.str()) {
            name.duplicate(name.str(), context);
        } else {
            name.check_text(names::dns1123_label, context);
            context.claims.insert(name.str());
        }
        let fields = ["resourceClaimName", "resourceClaimTemplateName"];
        match fields.iter().filter(|field| claim.given(field).is_some()).count() {
            0 => claim.invalid("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`", context),
            1 => {}
            _ => claim.invalid("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified", context),
        }
        claim.check(NAMES, context);
    }
}

fn check_subdomain(name: &View<'_, '_>, context: &mut Context<'_>) {
    name.check_text(names::dns1123_subdomain, context);
}
