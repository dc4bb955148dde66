//! Rules of single volume sources that no table can say.

use std::sync::LazyLock;

use regex::Regex;

use super::view::{Context, View};
use crate::names;

const HOST_PORTS: &str = "must be a host:port pair or multiple pairs separated by commas";

pub(super) fn absolute(path: &str) -> Vec<String> {
    if path.starts_with('/') { Vec::new() } else { vec!["must be an absolute path".to_owned()] }
}

/// The three forms of the name of an iSCSI node.
pub(super) fn iscsi_name(name: &str) -> Vec<String> {
    static FORMS: LazyLock<[(&str, Option<Regex>); 3]> = LazyLock::new(|| {
        [
            (
                "iqn",
                Regex::new(r"iqn\.[0-9]{4}-[0-9]{2}\.([[:alnum:]\-.]+)(:[^,;*&$|\t\n\f\r ]+)$")
                    .ok(),
            ),
            ("eui", Regex::new(r"^eui.[[:alnum:]]{16}$").ok()),
            ("naa", Regex::new(r"^naa.[[:alnum:]]{32}$").ok()),
        ]
    });
    match FORMS.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        None => vec!["must be valid format starting with iqn, eui, or naa".to_owned()],
        Some((_, Some(form))) if !form.is_match(name) => vec!["must be valid format".to_owned()],
        Some(_) => Vec::new(),
    }
}

pub(super) fn check_iscsi(iscsi: &View<'_, '_>, context: &mut Context<'_>) {
    let chap = ["chapAuthDiscovery", "chapAuthSession"];
    if chap.iter().any(|flag| iscsi.flag(flag) == Some(true)) && iscsi.given("secretRef").is_none()
    {
        iscsi.get("secretRef").required("", context);
    }
    if let Some(name) = iscsi.given("initiatorName") {
        name.shown_at(iscsi, "initiatorname").check_text(iscsi_name, context);
    }
}

pub(super) fn check_flocker(flocker: &View<'_, '_>, context: &mut Context<'_>) {
    let name = flocker.get("datasetName");
    match (name.str(), flocker.text("datasetUUID")) {
        ("", "") => flocker.required("one of datasetName and datasetUUID is required", context),
        ("", _) | (_, "") => {}
        _ => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            flocker.invalid_as("resource", detail, context);
        }
    }
    if name.str().contains('/') {
        name.invalid("must not contain '/'", context);
    }
}

pub(super) fn check_quobyte(quobyte: &View<'_, '_>, context: &mut Context<'_>) {
    let registry = quobyte.get("registry");
    if registry.is_empty() {
        registry.required(HOST_PORTS, context);
    } else if quobyte.text("tenant").len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        quobyte.get("tenant").required(detail, context);
    } else {
        let wrong = registry.str().split(',').filter(|pair| !is_host_and_port(pair));
        wrong.for_each(|_| registry.invalid(HOST_PORTS, context));
    }
    if quobyte.text("volume").is_empty() {
        quobyte.get("volume").required("", context);
    }
}

/// Whether Go's `net.SplitHostPort` takes it.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(address) => address,
            None => return false,
        },
        None if host.contains(':') => return false,
        None => host,
    };
    ![host, port].iter().any(|part| part.contains(['[', ']']))
}

pub(super) fn check_fibre_channel(channel: &View<'_, '_>, context: &mut Context<'_>) {
    let (names, ids) = (channel.get("targetWWNs"), channel.get("wwids"));
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => {
            names.required("must specify either targetWWNs or wwids, but not both", context);
        }
        (false, false) => {
            names.invalid("targetWWNs and wwids can not be specified simultaneously", context);
        }
        _ => {}
    }
    if !names.is_empty() {
        let lun = channel.get("lun");
        match lun.int() {
            None if lun.value.is_null() => {
                lun.required("lun is required if targetWWNs is specified", context);
            }
            Some(number) if !(0..=255).contains(&number) => {
                lun.invalid("must be between 0 and 255, inclusive", context);
            }
            _ => {}
        }
    }
}

pub(super) fn check_flex_options(options: &View<'_, '_>, context: &mut Context<'_>) {
    for (key, option) in options.entries() {
        let namespace = key.split_once('/').map_or(key, |(namespace, _)| namespace);
        let namespace = format!(".{}", namespace.to_ascii_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            option.invalid_as(key, "kubernetes.io and k8s.io namespaces are reserved", context);
        }
    }
}

pub(super) fn check_azure_uri(disk: &View<'_, '_>, context: &mut Context<'_>) {
    let Some(kind) = disk.given("kind") else { return };
    let (start, form) = match kind.str() {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        ),
    };
    let uri = disk.get("diskURI");
    if !uri.str().starts_with(start) {
        uri.not_supported(&[form], context);
    }
}

pub(super) fn check_csi(csi: &View<'_, '_>, context: &mut Context<'_>) {
    let driver = csi.get("driver");
    if driver.is_empty() {
        driver.required("", context);
    }
    if driver.str().len() > names::LABEL_MAX {
        driver.too_long(names::LABEL_MAX, context);
    }
    driver.check_text(|name| names::dns1123_subdomain(&name.to_ascii_lowercase()), context);
    let Some(secret) = csi.given("nodePublishSecretRef") else { return };
    let name = secret.get("name");
    if name.is_empty() {
        name.required("", context);
    } else {
        name.shown_at(csi, "name").check_text(names::dns1123_subdomain, context);
    }
}

pub(super) fn check_image(image: &View<'_, '_>, context: &mut Context<'_>) {
    if context.is_pod && image.text("reference").is_empty() {
        image.get("reference").required("", context);
    }
}
