//! Environment variables, and the references to fields and resources of the pod.

use super::view::{Context, Rule, Rules, Table, Variant, View, of, variant};
use crate::names;
use crate::quantity::Quantity;

pub(super) const ENV: &[Table] = &[
    of("ValidateEnv", &[("name", Rule::Must(names::environment_variable))]),
    of("validateEnvVarValueFrom", &[("", Rule::Check(check_value_from))]),
];

const SOURCES: &[Variant] = &[
    variant("fieldRef", "validateObjectFieldSelector", &[("", Rule::Check(check_env_field))]),
    variant(
        "resourceFieldRef",
        "validateContainerResourceFieldSelector",
        &[("", Rule::Check(check_env_resource))],
    ),
    variant("configMapKeyRef", "validateConfigMapKeySelector", KEY_SELECTOR),
    variant("secretKeyRef", "validateSecretKeySelector", KEY_SELECTOR),
    variant("fileKeyRef", "validateFileKeySelector", FILE_SELECTOR),
];

const KEY_SELECTOR: Rules =
    &[("name", Rule::Text(names::dns1123_subdomain)), ("key", Rule::Must(names::config_map_key))];

const FILE_SELECTOR: Rules = &[
    ("key", Rule::Must(names::environment_variable)),
    ("volumeName", Rule::Must(names::dns1123_label)),
    ("path", Rule::Required("")),
    ("path", Rule::Check(|path, context| path.check_no_back_steps(context))),
    ("volumeName", Rule::If(check_file_volume)),
];

/// `validateEnvVarValueFrom`.
fn check_value_from<'v>(variable: &View<'v, '_>, context: &mut Context<'v>) {
    let Some(from) = variable.given("valueFrom") else { return };
    let mut count = 0;
    for source in SOURCES {
        if let Some(field) = from.given(source.field) {
            count += 1;
            field.check_rules(source.rules, context);
        }
    }
    let detail = match count {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        }
        _ if !variable.text("value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    from.invalid_as("", detail, context);
}

/// `ValidateEnvFrom`: the number of sources is reported at the list, as upstream does.
pub(super) fn check_env_from<'v>(list: &View<'v, '_>, context: &mut Context<'v>) {
    const SOURCE: &[Table] =
        &[of("validateConfigMapEnvSource", &[("name", Rule::Must(names::dns1123_subdomain))])];
    const PREFIX: &[Table] =
        &[of("ValidateEnvFrom", &[("prefix", Rule::May(names::environment_variable))])];
    for item in list.objects() {
        item.check(PREFIX, context);
        let mut count = 0;
        for source in ["configMapRef", "secretRef"] {
            if let Some(source) = item.given(source) {
                count += 1;
                source.check(SOURCE, context);
            }
        }
        let detail = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        list.invalid_as("", detail, context);
    }
}

/// Of the valid volumes: what is wrong with another one is reported there, too.
fn check_file_volume<'v>(name: &View<'v, '_>, context: &mut Context<'v>) {
    match context.volumes.get(name.str()) {
        None => name.not_found(context),
        Some(volume) if volume.get("emptyDir").is_none_or(serde_json::Value::is_null) => {
            name.invalid("referenced volume must be of type emptyDir", context);
        }
        Some(_) => {}
    }
}

// === Fields of the pod ===

/// Fields that a variable may have as its value.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that a file in a volume may have as its content.
pub(super) const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Further fields that upstream can name, which no reference may use.
const OTHER_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
];

fn check_env_field<'v>(reference: &View<'v, '_>, context: &mut Context<'v>) {
    check_field_ref(reference, ENV_FIELDS, context);
}

/// `validateObjectFieldSelector`.
pub(super) fn check_field_ref(
    reference: &View<'_, '_>,
    allowed: &[&str],
    context: &mut Context<'_>,
) {
    let (version, field) = (reference.get("apiVersion"), reference.get("fieldPath"));
    if version.is_empty() {
        return version.required("", context);
    }
    if field.is_empty() {
        return field.required("", context);
    }
    if version.str() != "v1" {
        let detail =
            format!("error converting fieldPath: unsupported pod version: {}", version.str());
        return field.invalid(detail, context);
    }
    let path = if field.str() == "spec.host" { "spec.nodeName" } else { field.str() };
    let subscript = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
        .filter(|(path, _)| !path.is_empty());
    match subscript {
        Some(("metadata.annotations", key)) => {
            complain(reference, &key.to_lowercase(), context);
        }
        Some(("metadata.labels", key)) => complain(reference, key, context),
        Some(_) => {
            let detail = format!(
                "error converting fieldPath: field label does not support subscript: {path}"
            );
            field.invalid(detail, context);
        }
        None if allowed.contains(&path) => {}
        None if ENV_FIELDS.contains(&path) || OTHER_FIELDS.contains(&path) => {
            field.not_supported(allowed, context);
        }
        None => {
            let detail = format!("error converting fieldPath: field label not supported: {path}");
            field.invalid(detail, context);
        }
    }
}

fn complain(reference: &View<'_, '_>, key: &str, context: &mut Context<'_>) {
    for complaint in names::qualified_name(key) {
        reference.invalid_as(key, complaint, context);
    }
}

// === Resources of containers ===

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

fn check_env_resource<'v>(reference: &View<'v, '_>, context: &mut Context<'v>) {
    check_resource_ref(reference, false, context);
}

/// `validateContainerResourceFieldSelector`.
pub(super) fn check_resource_ref(
    reference: &View<'_, '_>,
    is_volume: bool,
    context: &mut Context<'_>,
) {
    let (container, resource) = (reference.get("containerName"), reference.get("resource"));
    let name = resource.str();
    let of_pages = ["limits.hugepages-", "requests.hugepages-"];
    let is_pages = of_pages.iter().any(|prefix| name.starts_with(prefix));
    if is_volume && container.is_empty() {
        container.required("", context);
    } else if resource.is_empty() {
        resource.required("", context);
    } else if !RESOURCES.contains(&name) && !is_pages {
        resource.not_supported(RESOURCES, context);
    }
    let divisor = reference.get("divisor");
    let Ok(amount) = Quantity::from_value(divisor.value) else { return };
    let what = match name.split_once('.').map_or("", |(_, what)| what) {
        "cpu" => "cpu",
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ if is_pages => "hugepages",
        _ => return,
    };
    if amount.is_zero() {
        return;
    }
    let amount = amount.to_string();
    let sizes = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let (allowed, listed): (&[&str], _) = match what {
        "cpu" => (&["1m", "1"], "1m and 1".to_owned()),
        _ => (&sizes, sizes.join(", ")),
    };
    if !allowed.contains(&amount.as_str()) {
        let detail =
            format!("only divisor's values {listed} are supported with the {what} resource");
        divisor.invalid_as(name, detail, context);
    }
}
