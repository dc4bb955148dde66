//! Security contexts of pods and containers.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::view::{Context, Rule, Table, View, of};
use crate::names;

const ID: Rule = Rule::Range(0, i32::MAX as i64, "must be between 0 and 2147483647, inclusive");
const ID_DETAIL: &str = "must be between 0 and 2147483647, inclusive";
const FORBIDDEN_ON_WINDOWS: &str = "cannot be set for a windows pod";

/// `validatePodSpecSecurityContext`.
pub(super) const POD_SECURITY: &[Table] = &[
    of(
        "validatePodSpecSecurityContext",
        &[
            ("fsGroup", ID),
            ("runAsUser", ID),
            ("runAsGroup", ID),
            ("supplementalGroups", Rule::If(check_groups)),
        ],
    ),
    of("validateSysctls", &[("sysctls", Rule::If(check_sysctls))]),
    of(
        "validateFSGroupChangePolicy",
        &[("fsGroupChangePolicy", Rule::OneOf(&["Always", "OnRootMismatch"]))],
    ),
    of("validateSeccompProfileField", &[("seccompProfile", Rule::If(check_seccomp))]),
    of("validateWindowsSecurityContextOptions", &[("windowsOptions", Rule::Fields(WINDOWS))]),
    of("ValidateAppArmorProfileField", &[("appArmorProfile", Rule::If(check_app_armor))]),
    of(
        "validateSupplementalGroupsPolicy",
        &[("supplementalGroupsPolicy", Rule::OneOf(&["Merge", "Strict"]))],
    ),
    of("validateSELinuxChangePolicy", &[("seLinuxChangePolicy", Rule::OneOf(&["Recursive"]))]),
];

/// `ValidateSecurityContext`.
pub(super) const CONTAINER_SECURITY: &[Table] = &[
    of("ValidateSecurityContext", &[("runAsUser", ID), ("runAsGroup", ID)]),
    of("ValidateProcMountType", &[("procMount", Rule::OneOf(&["Default", "Unmasked"]))]),
    of("ValidateSecurityContext", &[("procMount", Rule::If(check_unmasked))]),
    of("validateSeccompProfileField", &[("seccompProfile", Rule::If(check_seccomp))]),
    of("ValidateSecurityContext", &[("", Rule::Check(check_escalation))]),
    of("validateWindowsSecurityContextOptions", &[("windowsOptions", Rule::Fields(WINDOWS))]),
    of("ValidateAppArmorProfileField", &[("appArmorProfile", Rule::If(check_app_armor))]),
];

const WINDOWS: &[Table] = &[of(
    "validateWindowsSecurityContextOptions",
    &[
        (
            "gmsaCredentialSpecName",
            Rule::If(|name, context| name.check_text(names::dns1123_subdomain, context)),
        ),
        ("gmsaCredentialSpec", Rule::If(check_credential)),
        ("runAsUserName", Rule::If(check_user_name)),
    ],
)];

fn check_groups(groups: &View<'_, '_>, context: &mut Context<'_>) {
    for group in groups.items() {
        if group.int().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
            group.invalid(ID_DETAIL, context);
        }
    }
}

/// `validateSysctls`.
fn check_sysctls<'v>(sysctls: &View<'v, '_>, context: &mut Context<'v>) {
    let on_host = |field: &str| context.spec.get(field).and_then(Value::as_bool) == Some(true);
    let (network, ipc) = (on_host("hostNetwork"), on_host("hostIPC"));
    let mut seen = HashSet::new();
    for item in sysctls.objects() {
        let name = item.get("name");
        if name.is_empty() {
            name.required("", context);
        } else if !is_sysctl(name.str()) {
            let detail = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            name.invalid(detail, context);
        } else if seen.contains(name.str()) {
            name.duplicate(name.str(), context);
        }
        seen.insert(name.str());
        // Names may be written with slashes.
        let dotted = name.str().replace('/', ".");
        let of_ipc = dotted.starts_with("fs.mqueue.")
            || dotted.strip_prefix("kernel.").is_some_and(|rest| IPC_SYSCTLS.contains(&rest));
        if network && dotted.starts_with("net.") {
            name.invalid("may not be specified when 'hostNetwork' is true", context);
        } else if ipc && of_ipc {
            name.invalid("may not be specified when 'hostIPC' is true", context);
        }
    }
}

/// The settings in `kernel` that each IPC namespace has for itself.
const IPC_SYSCTLS: [&str; 10] = [
    "sem",
    "shmall",
    "shmmax",
    "shmmni",
    "shm_rmid_forced",
    "shm",
    "msgmax",
    "msgmnb",
    "msgmni",
    "msg",
];

/// `IsValidSysctlName`: segments with dots or slashes between them.
fn is_sysctl(name: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(|b| edge(*b)))
            && bytes.iter().all(|b| edge(*b) || b"-_".contains(b))
    };
    name.len() <= 253 && name.split(['.', '/']).all(is_segment)
}

/// `validateSeccompProfileField`.
fn check_seccomp(profile: &View<'_, '_>, context: &mut Context<'_>) {
    const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    if kind.is_empty() {
        kind.required("type is required when seccompProfile is set", context);
    } else if kind.is_text() && !TYPES.contains(&kind.str()) {
        kind.not_supported(TYPES, context);
    }
    match (kind.str(), local.value.is_null()) {
        ("Localhost", true) => {
            local.required("must be set when seccomp type is Localhost", context);
        }
        ("Localhost", false) => local.check_descending(context),
        (_, false) => {
            let detail = "can only be set when seccomp type is Localhost";
            local.invalid_as(profile.value, detail, context);
        }
        (_, true) => {}
    }
}

/// `ValidateAppArmorProfileField`.
fn check_app_armor(profile: &View<'_, '_>, context: &mut Context<'_>) {
    const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
    const LONGEST: usize = 4095;
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.str() {
        "Localhost" => {
            if local.str() != local.str().trim() {
                local.invalid("must not be padded with whitespace", context);
            } else if local.is_empty() {
                local.required("must be set when AppArmor type is Localhost", context);
            }
            if local.str().len() > LONGEST {
                local.too_long(LONGEST, context);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if !local.value.is_null() {
                local.invalid("can only be set when AppArmor type is Localhost", context);
            }
        }
        "" => kind.required("type is required when appArmorProfile is set", context),
        _ => kind.not_supported(TYPES, context),
    }
}

fn check_unmasked(mount: &View<'_, '_>, context: &mut Context<'_>) {
    let host_users = context.spec.get("hostUsers").and_then(Value::as_bool) != Some(false);
    if host_users && mount.str() == "Unmasked" {
        mount.invalid("`hostUsers` must be false to use `Unmasked`", context);
    }
}

fn check_escalation(security: &View<'_, '_>, context: &mut Context<'_>) {
    if security.flag("allowPrivilegeEscalation") != Some(false) {
        return;
    }
    if security.flag("privileged") == Some(true) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        security.invalid(detail, context);
    }
    for capability in security.get("capabilities").get("add").items() {
        if capability.str() == "CAP_SYS_ADMIN" {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            security.invalid(detail, context);
        }
    }
}

// === Windows ===

fn check_credential(credential: &View<'_, '_>, context: &mut Context<'_>) {
    if credential.is_empty() {
        credential.invalid("gmsaCredentialSpec cannot be an empty string", context);
    } else if credential.str().len() > 64 * 1024 {
        credential.invalid("gmsaCredentialSpec size must be under 64 KiB", context);
    }
}

fn check_user_name(name: &View<'_, '_>, context: &mut Context<'_>) {
    let text = name.str();
    if text.is_empty() {
        return name.invalid("runAsUserName cannot be an empty string", context);
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return name.invalid("runAsUserName cannot contain control characters", context);
    }
    let (domain, user) = match text.split('\\').collect::<Vec<_>>().as_slice() {
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return name.invalid("runAsUserName cannot contain more than one backslash", context),
    };
    let domain_is_valid = |domain: &str| {
        static FORMS: LazyLock<[Option<Regex>; 2]> = LazyLock::new(|| {
            let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
            [
                Regex::new(r#"^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$"#).ok(),
                Regex::new(&format!(r"^{label}(?:\.{label})*$")).ok(),
            ]
        });
        FORMS.iter().flatten().any(|form| form.is_match(domain))
    };
    let rules = [
        (
            domain.is_none_or(|domain| domain.len() < 256),
            "runAsUserName's Domain length must be under 256 characters",
        ),
        (
            domain.is_none_or(domain_is_valid),
            "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
        ),
        (!user.is_empty(), "runAsUserName's User cannot be empty"),
        (user.len() <= 104, "runAsUserName's User length must not be longer than 104 characters"),
        (
            user.is_empty() || user.chars().any(|c| !matches!(c, '.' | ' ')),
            "runAsUserName's User cannot contain only periods or spaces",
        ),
        (
            !user.contains(|c| r#""/\:;|=,+*?<>@[]"#.contains(c)),
            r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#,
        ),
    ];
    rules.iter().filter(|(holds, _)| !holds).for_each(|(_, rule)| name.invalid(*rule, context));
}

/// `validateWindowsHostProcessPod`.
pub(super) fn check_host_process<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    let of = |view: &View<'v, '_>| {
        let security = view.get("securityContext");
        security.get("windowsOptions").flag("hostProcess")
    };
    let of_pod = of(spec);
    let (mut all, mut on_host) = (0_usize, 0_usize);
    each_container(spec, &mut |container| {
        all += 1;
        let own = of(container);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let detail =
                format!("pod hostProcess value must be identical if both are specified, was {pod}");
            let security = container.get("securityContext");
            security.get("windowsOptions").get("hostProcess").invalid(detail, context);
        }
        on_host += usize::from(own.or(of_pod) == Some(true));
    });
    if on_host == 0 {
        return;
    }
    if on_host != all {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        spec.invalid_as("", detail, context);
    }
    if spec.flag("hostNetwork") != Some(true) {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        spec.get("hostNetwork").invalid_as(false, detail, context);
    }
}

/// Calls `visit` with every container, in upstream's order.
pub(super) fn each_container<'v>(spec: &View<'v, '_>, visit: &mut dyn FnMut(&View<'v, '_>)) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.get(list).objects().for_each(|container| visit(&container));
    }
}

/// `validateOS`, `validateLinux` and `validateWindows`.
pub(super) fn check_os<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    const POD: [&str; 11] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    const SPEC: [&str; 2] = ["hostUsers", "shareProcessNamespace"];
    const CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let Some(os) = spec.given("os") else { return };
    let name = os.get("name");
    let (of_spec, of_pod, of_container, detail): (&[&str], &[&str], &[&str], _) = match name.str() {
        "" => return name.required("", context),
        "linux" => {
            let options = &["windowsOptions"];
            (&[], options, options, "windows options cannot be set for a linux pod")
        }
        "windows" => (&SPEC, &POD, &CONTAINER, FORBIDDEN_ON_WINDOWS),
        _ => return os.showing(name.value).not_supported(&["linux", "windows"], context),
    };
    let forbid = |object: &View<'v, '_>, fields: &[&str], context: &mut Context<'v>| {
        for field in fields.iter().filter_map(|field| object.given(field)) {
            field.forbidden(detail, context);
        }
    };
    forbid(spec, of_spec, context);
    if name.str() == "windows" {
        // Of flags that are no pointers upstream, false counts as missing.
        for field in ["hostPID", "hostIPC"] {
            if spec.flag(field) == Some(true) {
                spec.get(field).forbidden(detail, context);
            }
        }
    }
    forbid(&spec.get("securityContext"), of_pod, context);
    each_container(spec, &mut |container| {
        forbid(&container.get("securityContext"), of_container, context);
    });
}

/// `validateHostUsers`: what cannot be combined with user namespaces.
pub(super) fn check_host_users<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    let detail = "when `hostUsers` is false";
    if spec.flag("hostUsers") != Some(false) {
        return;
    }
    for (field, shown) in
        [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
    {
        if spec.flag(field) == Some(true) {
            spec.get(shown).forbidden(detail, context);
        }
    }
    each_container(spec, &mut |container| {
        let devices = container.get("volumeDevices");
        if !devices.is_empty() {
            devices.forbidden(detail, context);
        }
    });
}
