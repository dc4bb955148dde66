//! Containers of all three lists.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::env::{ENV, check_env_from};
use super::handlers::HANDLERS;
use super::resources;
use super::security::CONTAINER_SECURITY;
use super::view::{Context, Rule, Table, View, of};
use super::volumes::PULL;
use crate::names;

/// `validateContainerCommon`.
pub(super) const COMMON: &[Table] = &[
    of(
        "validateContainerCommon",
        &[
            ("name", Rule::Must(names::dns1123_label)),
            ("image", Rule::Required("")),
            ("terminationMessagePolicy", Rule::OneOf(&["File", "FallbackToLogsOnError"])),
        ],
    ),
    of("validateContainerPorts", &[("ports", Rule::If(check_ports))]),
    of("ValidateEnv", &[("env", Rule::Each(ENV))]),
    of("ValidateEnvFrom", &[("envFrom", Rule::If(check_env_from))]),
    of("ValidateVolumeMounts", &[("", Rule::Check(check_mounts))]),
    of("ValidateVolumeDevices", &[("", Rule::Check(check_devices))]),
    of("validatePullPolicy", &[("imagePullPolicy", PULL)]),
    of(
        "ValidateContainerResourceRequirements",
        &[("resources", Rule::If(resources::check_container))],
    ),
    of("validateResizePolicy", &[("resizePolicy", Rule::If(check_resize_policy))]),
    of("ValidateSecurityContext", &[("securityContext", Rule::Fields(CONTAINER_SECURITY))]),
];

/// `validateContainerOnlyForPod`.
const OF_POD: &[Table] = &[of(
    "validateContainerOnlyForPod",
    &[(
        "image",
        Rule::Check(|image, context| {
            if image.str() != image.str().trim() {
                image.invalid("must not have leading or trailing whitespace", context);
            }
        }),
    )],
)];

/// What an init container has only if it runs beside the others.
const NO_HANDLERS: &[Table] = &[of(
    "validateInitContainers",
    &[
        ("lifecycle", Rule::If(forbid_handler)),
        ("livenessProbe", Rule::If(forbid_handler)),
        ("readinessProbe", Rule::If(forbid_handler)),
        ("startupProbe", Rule::If(forbid_handler)),
    ],
)];

const NO_POLICY: &[Table] = &[
    of("validateContainers", &[("restartPolicy", Rule::If(forbid_policy))]),
    of("validateContainerRestartPolicy", &[("restartPolicyRules", Rule::If(forbid_policy))]),
];

const INIT_POLICY: &[Table] = &[of(
    "validateInitContainerRestartPolicy",
    &[
        ("restartPolicy", Rule::OneOf(&["Always"])),
        (
            "restartPolicyRules",
            Rule::If(|rules, context| {
                let detail = "restartPolicyRules are not allowed for init containers with restart policy Always";
                rules.forbidden(detail, context);
            }),
        ),
    ],
)];

/// `allowedEphemeralContainerFields`, as what is not allowed.
const NOT_EPHEMERAL: &[Table] = &[of(
    "validateEphemeralContainers",
    &[
        ("ports", Rule::Check(forbid_ephemeral)),
        ("resources", Rule::Check(forbid_ephemeral)),
        ("livenessProbe", Rule::Check(forbid_ephemeral)),
        ("readinessProbe", Rule::Check(forbid_ephemeral)),
        ("startupProbe", Rule::Check(forbid_ephemeral)),
        ("lifecycle", Rule::Check(forbid_ephemeral)),
        ("resizePolicy", Rule::Check(forbid_ephemeral)),
        ("restartPolicy", Rule::Check(forbid_ephemeral)),
        ("restartPolicyRules", Rule::Check(forbid_ephemeral)),
    ],
)];

fn forbid_handler(field: &View<'_, '_>, context: &mut Context<'_>) {
    field.forbidden("may not be set for init containers without restartPolicy=Always", context);
}

fn forbid_policy(field: &View<'_, '_>, context: &mut Context<'_>) {
    field.forbidden("may not be set for non-init containers", context);
}

fn forbid_ephemeral(field: &View<'_, '_>, context: &mut Context<'_>) {
    if !field.is_empty() {
        field.forbidden("cannot be set for an Ephemeral Container", context);
    }
}

/// The names that are taken already.
fn names_in<'v>(spec: &'v Value, lists: &[&str]) -> HashSet<&'v str> {
    let containers = lists.iter().filter_map(|list| spec.get(list)?.as_array()).flatten();
    containers.filter_map(|container| container.get("name")?.as_str()).collect()
}

/// `validateContainers`.
pub(super) fn check<'v>(containers: &View<'v, '_>, context: &mut Context<'v>) {
    if containers.is_empty() {
        return containers.required("", context);
    }
    let mut taken = HashSet::new();
    for container in containers.objects() {
        container.check(COMMON, context);
        check_unique(&container, &mut taken, context);
        container.check(HANDLERS, context);
        container.check(NO_POLICY, context);
        check_only_pod(&container, context);
    }
    let mut ports = HashSet::new();
    for container in containers.objects() {
        check_host_ports(&container, &mut ports, context);
    }
}

/// `validateInitContainers`.
pub(super) fn check_init<'v>(containers: &View<'v, '_>, context: &mut Context<'v>) {
    let mut taken = names_in(context.spec, &["containers"]);
    for container in containers.objects() {
        container.check(COMMON, context);
        let policy = container.text("restartPolicy");
        container.check(INIT_POLICY, context);
        check_unique(&container, &mut taken, context);
        check_host_ports(&container, &mut HashSet::new(), context);
        container.check(if policy == "Always" { HANDLERS } else { NO_HANDLERS }, context);
        check_only_pod(&container, context);
    }
}

/// `validateEphemeralContainers`.
pub(super) fn check_ephemeral<'v>(containers: &View<'v, '_>, context: &mut Context<'v>) {
    let others = names_in(context.spec, &["containers", "initContainers"]);
    let mut taken = others.clone();
    for container in containers.objects() {
        container.check(COMMON, context);
        container.check(OF_POD, context);
        check_unique(&container, &mut taken, context);
        let target = container.get("targetContainerName");
        if !target.is_empty() && !others.contains(target.str()) {
            target.not_found(context);
        }
        container.check(NOT_EPHEMERAL, context);
        for mount in container.get("volumeMounts").objects() {
            for field in ["subPath", "subPathExpr"] {
                forbid_ephemeral(&mount.get(field), context);
            }
        }
    }
}

fn check_only_pod<'v>(container: &View<'v, '_>, context: &mut Context<'v>) {
    if context.is_pod {
        container.check(OF_POD, context);
    }
}

fn check_unique<'v>(
    container: &View<'v, '_>,
    taken: &mut HashSet<&'v str>,
    context: &mut Context<'v>,
) {
    let name = container.get("name");
    if !name.is_empty() && !taken.insert(name.str()) {
        name.duplicate(name.str(), context);
    }
}

// === Ports ===

/// `validateContainerPorts`.
fn check_ports<'v>(ports: &View<'v, '_>, context: &mut Context<'v>) {
    const PROTOCOL: &[Table] =
        &[of("validateContainerPorts", &[("protocol", Rule::OneOf(&["SCTP", "TCP", "UDP"]))])];
    let mut taken = HashSet::new();
    for port in ports.objects() {
        let name = port.get("name");
        if !name.is_empty() {
            let before = context.errors.len() + context.errors.dropped();
            name.check_text(names::port_name, context);
            let is_valid = context.errors.len() + context.errors.dropped() == before;
            if is_valid && !taken.insert(name.str()) {
                name.duplicate(name.str(), context);
            }
        }
        let number = port.get("containerPort");
        match number.int() {
            Some(0) => number.required("", context),
            None if number.value.is_null() => number.required("", context),
            Some(given) => check_number(&number, given, context),
            None => {}
        }
        let number = port.get("hostPort");
        if let Some(given) = number.int().filter(|number| *number != 0) {
            check_number(&number, given, context);
        }
        port.check(PROTOCOL, context);
    }
}

/// `IsValidPortNum`. What is no integer of 32 bits is the schema's to report.
fn check_number(port: &View<'_, '_>, number: i64, context: &mut Context<'_>) {
    if !(1..=65535).contains(&number) && i32::try_from(number).is_ok() {
        port.invalid(super::PORT_RULE, context);
    }
}

/// `AccumulateUniqueHostPorts`.
fn check_host_ports<'v>(
    container: &View<'v, '_>,
    taken: &mut HashSet<(&'v str, &'v str, i64)>,
    context: &mut Context<'v>,
) {
    for port in container.get("ports").objects() {
        let number = port.get("hostPort");
        let Some(given) = number.int().filter(|number| *number != 0) else { continue };
        let protocol = Some(port.text("protocol")).filter(|it| !it.is_empty()).unwrap_or("TCP");
        let address = port.text("hostIP");
        if !taken.insert((protocol, address, given)) {
            number.duplicate(&format!("{protocol}/{address}/{given}"), context);
        }
    }
}

/// `validatePodHostNetworkDeps`.
pub(super) fn check_host_network<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    if spec.flag("hostNetwork") != Some(true) {
        return;
    }
    for container in spec.get("containers").objects() {
        for port in container.get("ports").objects() {
            let host = port.get("hostPort");
            let given = host.int().unwrap_or_default();
            let same = Some(given) == port.get("containerPort").int();
            if (context.is_pod || given != 0) && !same {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                host.invalid_as(given, detail, context);
            }
        }
    }
}

// === Mounts ===

/// `ValidateVolumeMounts`. The paths of some errors have no index, as upstream's have none.
fn check_mounts<'v>(container: &View<'v, '_>, context: &mut Context<'v>) {
    let devices: HashMap<&str, &str> = paths(container, "volumeDevices", "devicePath");
    let device_paths: HashSet<&str> = devices.values().copied().collect();
    let mut targets = HashSet::new();
    let mounts = container.get("volumeMounts");
    for mount in mounts.objects() {
        let (name, target) = (mount.get("name"), mount.get("mountPath"));
        if name.is_empty() {
            name.required("", context);
        }
        if name.is_text() && !context.volumes.contains_key(name.str()) {
            name.not_found(context);
        }
        if target.is_empty() {
            target.required("", context);
        }
        if target.is_text() && !targets.insert(target.str()) {
            target.invalid_as(target.str(), "must be unique", context);
        }
        if devices.contains_key(name.str()) {
            name.invalid("must not already exist in volumeDevices", context);
        }
        if device_paths.contains(target.str()) {
            target.invalid("must not already exist as a path in volumeDevices", context);
        }
        let (sub_path, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        sub_path.shown_at(&mounts, "subPath").check_descending(context);
        if !sub_path.is_empty() && !expression.is_empty() {
            expression.invalid("subPathExpr and subPath are mutually exclusive", context);
        }
        expression.shown_at(&mounts, "subPathExpr").check_descending(context);
        check_propagation(&mount, &mounts, container, context);
    }
}

/// `validateMountPropagation` and `validateMountRecursiveReadOnly`.
fn check_propagation(
    mount: &View<'_, '_>,
    mounts: &View<'_, '_>,
    container: &View<'_, '_>,
    context: &mut Context<'_>,
) {
    let propagation = mount.text("mountPropagation");
    if let Some(given) = mount.given("mountPropagation") {
        let given = given.shown_at(mounts, "mountPropagation");
        let known = ["Bidirectional", "HostToContainer", "None"];
        if !known.contains(&propagation) {
            given.not_supported(&known, context);
        }
        let privileged = container.get("securityContext").flag("privileged") == Some(true);
        if propagation == "Bidirectional" && !privileged {
            let detail =
                "Bidirectional mount propagation is available only to privileged containers";
            given.forbidden(detail, context);
        }
    }
    let Some(read_only) = mount.given("recursiveReadOnly") else { return };
    let read_only = read_only.shown_at(mounts, "recursiveReadOnly");
    match read_only.str() {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if mount.flag("readOnly") != Some(true) {
                read_only.forbidden("may only be specified when readOnly is true", context);
            }
            if !matches!(propagation, "" | "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                read_only.forbidden(detail, context);
            }
        }
        _ => read_only.not_supported(&["Disabled", "Enabled", "IfPossible"], context),
    }
}

/// `ValidateVolumeDevices`.
fn check_devices<'v>(container: &View<'v, '_>, context: &mut Context<'v>) {
    let mounts = paths(container, "volumeMounts", "mountPath");
    let mount_paths: HashSet<&str> = mounts.values().copied().collect();
    let (mut taken_names, mut taken_paths) = (HashSet::new(), HashSet::new());
    for device in container.get("volumeDevices").objects() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        if name.is_empty() {
            name.required("", context);
        } else if !taken_names.insert(name.str()) {
            name.invalid("must be unique", context);
        }
        let volume = context.volumes.get(name.str()).copied();
        let is_claim = |volume: &Value| {
            let set = |source| volume.get(source).is_some_and(|source| !source.is_null());
            set("persistentVolumeClaim") || set("ephemeral")
        };
        match volume {
            None => name.not_found(context),
            Some(volume) if !is_claim(volume) => name.invalid(
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                context,
            ),
            Some(_) => {}
        }
        if path.is_empty() {
            path.required("", context);
        }
        if taken_paths.contains(path.str()) {
            path.invalid_as(path.str(), "must be unique", context);
        }
        if super::no_back_steps(path.str()).is_err() {
            path.invalid("can not contain backsteps ('..')", context);
        } else {
            taken_paths.insert(path.str());
        }
        if mounts.contains_key(name.str()) {
            name.invalid("must not already exist in volumeMounts", context);
        }
        if mount_paths.contains(path.str()) {
            path.invalid("must not already exist as a path in volumeMounts", context);
        }
    }
}

/// The path of each name in a list.
fn paths<'v>(container: &View<'v, '_>, list: &str, field: &str) -> HashMap<&'v str, &'v str> {
    container.get(list).objects().map(|item| (item.text("name"), item.text(field))).collect()
}

/// `validateResizePolicy`.
fn check_resize_policy<'v>(policies: &View<'v, '_>, context: &mut Context<'v>) {
    const RESOURCES: [&str; 2] = ["cpu", "memory"];
    const POLICIES: [&str; 2] = ["NotRequired", "RestartContainer"];
    let never = context.spec.get("restartPolicy").and_then(Value::as_str) == Some("Never");
    let mut taken = HashSet::new();
    for item in policies.objects() {
        let resource = item.text("resourceName");
        if !taken.insert(resource) {
            item.duplicate(resource, context);
        }
        for (field, known) in [("resourceName", RESOURCES), ("restartPolicy", POLICIES)] {
            let given = item.get(field);
            let given = policies.showing(given.value);
            match given.str() {
                "" => given.required("", context),
                word if !known.contains(&word) => given.not_supported(&known, context),
                _ => {}
            }
        }
        let policy = item.text("restartPolicy");
        if never && policy != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            policies.invalid_as(policy, detail, context);
        }
    }
}
