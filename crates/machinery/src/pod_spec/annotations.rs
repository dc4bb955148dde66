//! Annotations of pods that have a meaning (`ValidatePodSpecificAnnotations`).

use std::collections::HashSet;

use serde_json::Value;

use super::security::each_container;
use super::view::{Context, View};
use crate::field::Path;
use crate::names;

const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// `ValidateAnnotations`, of a template: keys are qualified names, compared in lower case, and all
/// together have a limit.
pub(super) fn check_keys<'v>(annotations: &View<'v, '_>, context: &mut Context<'v>) {
    const LARGEST: usize = 256 * 1024;
    let mut size = 0;
    for (key, value) in annotations.entries() {
        size += key.len() + value.str().len();
        for complaint in names::qualified_name(&key.to_lowercase()) {
            annotations.invalid_as(key, complaint, context);
        }
    }
    if size > LARGEST {
        annotations.too_long(LARGEST, context);
    }
}

/// `ValidatePodSpecificAnnotations`.
pub(super) fn check<'v>(annotations: &View<'v, '_>, context: &mut Context<'v>) {
    let mut containers = HashSet::new();
    if annotations.entries().any(|(key, _)| key.starts_with(APP_ARMOR)) {
        let root = Path::default();
        each_container(&View::new(context.spec, &root), &mut |container| {
            containers.insert(container.text("name"));
        });
    }
    for (key, value) in annotations.entries() {
        let text = value.str();
        match key {
            MIRROR => {
                let node = context.spec.get("nodeName").and_then(Value::as_str);
                if node.unwrap_or_default().is_empty() {
                    let detail = "must set spec.nodeName if mirror pod annotation is set";
                    value.invalid(detail, context);
                }
            }
            DELETION_COST if !is_cost(text) => value.invalid("must be a 32bit integer", context),
            TOLERATIONS if !text.is_empty() => check_tolerations(annotations, text, context),
            SECCOMP => check_seccomp(&annotations.get(key), context),
            _ if key.starts_with(SECCOMP_CONTAINER) => {
                check_seccomp(&annotations.get(key), context);
            }
            _ => {
                if let Some(container) = key.strip_prefix(APP_ARMOR) {
                    check_app_armor(&value, container, &containers, context);
                }
            }
        }
    }
}

/// An integer of 32 bits as upstream takes it: no plus sign and no leading zeros.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !text.starts_with('+') && (digits == "0" || !digits.starts_with('0'));
    is_plain && text != "-0" && text.parse::<i32>().is_ok()
}

fn check_tolerations(annotations: &View<'_, '_>, text: &str, context: &mut Context<'_>) {
    match serde_json::from_str::<Value>(text) {
        Ok(tolerations) if tolerations.is_array() || tolerations.is_null() => {
            let path = annotations.path().child(TOLERATIONS);
            let spec = Value::Null;
            super::with_context(&spec, "", true, context.errors, |context| {
                super::scheduling::check_tolerations(&View::new(&tolerations, &path), context);
            });
        }
        Ok(_) => annotations.invalid_as(TOLERATIONS, "json: not a list of tolerations", context),
        Err(error) => annotations.invalid_as(TOLERATIONS, error.to_string(), context),
    }
}

/// `ValidateSeccompProfile`.
fn check_seccomp(value: &View<'_, '_>, context: &mut Context<'_>) {
    match value.str() {
        "runtime/default" | "docker/default" | "unconfined" => {}
        text => match text.strip_prefix("localhost/") {
            Some(path) => {
                if let Err(detail) = super::descending(path) {
                    value.invalid_as(path, detail, context);
                }
            }
            None => value.invalid_as(text, "must be a valid seccomp profile", context),
        },
    }
}

/// `ValidateAppArmorPodAnnotations`.
fn check_app_armor(
    value: &View<'_, '_>,
    container: &str,
    containers: &HashSet<&str>,
    context: &mut Context<'_>,
) {
    if !containers.contains(container) {
        value.invalid_as(container, "container not found", context);
    }
    let text = value.str();
    let is_known = matches!(text, "" | "runtime/default" | "unconfined");
    if !is_known && !text.starts_with("localhost/") {
        value.invalid(format!("invalid AppArmor profile name: {text:?}"), context);
    }
}

/// Annotations that may not be changed (`ValidatePodSpecificAnnotationUpdates`).
pub(super) fn check_kept<'v>(old: &View<'v, '_>, new: &View<'v, '_>, context: &mut Context<'v>) {
    for (key, value) in old.entries() {
        if new.value.get(key) == Some(value.value) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            new.key(key).forbidden("may not remove or update AppArmor annotations", context);
        }
        if key == MIRROR {
            new.key(key).forbidden("may not remove or update mirror pod annotation", context);
        }
    }
    for (key, value) in new.entries().filter(|(key, _)| old.value.get(key).is_none()) {
        if key.starts_with(APP_ARMOR) {
            value.forbidden("may not add AppArmor annotations", context);
        }
        if key == MIRROR {
            value.forbidden("may not add mirror pod annotation", context);
        }
    }
}

/// `validateSeccompAnnotationsAndFields` and `validateAppArmorAnnotationsAndFieldsMatchOnCreate`:
/// where a profile is given as an annotation and as a field, both are the same.
pub(super) fn check_profiles<'v>(
    metadata: &'v Value,
    spec: &View<'v, '_>,
    context: &mut Context<'v>,
) {
    let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) else { return };
    let annotation = |key: &str| annotations.get(key).and_then(Value::as_str);
    let security = spec.get("securityContext");
    if let (Some(text), Some(profile)) = (annotation(SECCOMP), security.given("seccompProfile")) {
        check_match("seccomp", &profile, &profile, text, context);
    }
    each_container(spec, &mut |container| {
        let (name, own) = (container.text("name"), container.get("securityContext"));
        if let (Some(text), Some(profile)) =
            (annotation(&format!("{SECCOMP_CONTAINER}{name}")), own.given("seccompProfile"))
        {
            check_match("seccomp", &profile, &profile, text, context);
        }
        if spec.get("os").text("name") == "windows" {
            return;
        }
        let in_force = own.given("appArmorProfile").or_else(|| security.given("appArmorProfile"));
        if let (Some(text), Some(profile)) = (annotation(&format!("{APP_ARMOR}{name}")), in_force) {
            check_match("apparmor", &profile, &own.get("appArmorProfile"), text, context);
        }
    });
}

fn check_match<'v>(
    what: &str,
    profile: &View<'v, '_>,
    at: &View<'v, '_>,
    text: &str,
    context: &mut Context<'v>,
) {
    let local = text.strip_prefix("localhost/");
    let is_same_type = match profile.text("type") {
        "Unconfined" => text == "unconfined",
        "RuntimeDefault" => {
            text == "runtime/default" || (what == "seccomp" && text == "docker/default")
        }
        "Localhost" => local.is_some(),
        _ => true,
    };
    if !is_same_type {
        let detail = format!("{what} type in annotation and field must match");
        at.get("type").forbidden(&detail, context);
    } else if profile.text("type") == "Localhost"
        && local != profile.get("localhostProfile").value.as_str()
    {
        let detail = format!("{what} profile in annotation and field must match");
        at.get("localhostProfile").forbidden(&detail, context);
    }
}
