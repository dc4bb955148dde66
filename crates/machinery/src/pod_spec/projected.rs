//! Volumes that show the pod itself, and projected volumes, which join several sources.

use std::collections::HashSet;

use super::env::{VOLUME_FIELDS, check_field_ref, check_resource_ref};
use super::scheduling::check_label_selector;
use super::view::{Context, Rule, Table, View, of};
use crate::names;

pub(super) const MODE: Rule =
    Rule::Range(0, 0o777, "must be a number between 0 and 0777 (octal), both inclusive");

pub(super) const KEY_TO_PATH: &[Table] = &[of(
    "validateKeyToPath",
    &[("key", Rule::Required("")), ("path", Rule::File), ("mode", MODE)],
)];

const CLASH: &str = "conflicting duplicate paths";

/// `validateDownwardAPIVolumeSource` reports its items without their index.
pub(super) fn check_downward<'v>(source: &View<'v, '_>, context: &mut Context<'v>) {
    for file in source.get("items").objects() {
        check_downward_file(&file, source, context);
    }
}

/// `validateDownwardAPIVolumeFile`, with the errors at another place.
fn check_downward_file<'v>(file: &View<'v, '_>, at: &View<'v, '_>, context: &mut Context<'v>) {
    let at = at.showing(file.value);
    let path = at.get("path");
    if path.is_empty() {
        path.required("", context);
    }
    path.check_file(context);
    match (at.given("fieldRef"), at.given("resourceFieldRef")) {
        (Some(field), resource) => {
            check_field_ref(&field, VOLUME_FIELDS, context);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                at.invalid_as("resource", detail, context);
            }
        }
        (None, Some(resource)) => check_resource_ref(&resource, true, context),
        (None, None) => at.required("one of fieldRef and resourceFieldRef is required", context),
    }
    const MODES: &[Table] = &[of("validateDownwardAPIVolumeFile", &[("mode", MODE)])];
    at.check(MODES, context);
}

/// `validateProjectionSources`.
pub(super) fn check_projected<'v>(projected: &View<'v, '_>, context: &mut Context<'v>) {
    let mut taken = HashSet::new();
    let sources = projected.get("sources");
    for source in sources.objects() {
        let mut count = 0;
        for kind in ["secret", "configMap"] {
            let Some(files) = source.given(kind) else { continue };
            count += 1;
            if files.text("name").is_empty() {
                files.get("name").required("", context);
            }
            for file in files.get("items").objects() {
                file.check(KEY_TO_PATH, context);
                claim(&mut taken, file.text("path"), files.text("name"), projected, context);
            }
        }
        if let Some(downward) = source.given("downwardAPI") {
            count += 1;
            for file in downward.get("items").objects() {
                check_downward_file(&file, &downward, context);
                claim(&mut taken, file.text("path"), file.text("path"), projected, context);
            }
        }
        if let Some(token) = source.given("serviceAccountToken") {
            count += 1;
            check_token(&token, projected, context);
        }
        if let Some(bundle) = source.given("clusterTrustBundle") {
            count += 1;
            check_bundle(&bundle, context);
            claim(&mut taken, bundle.text("path"), bundle.text("path"), projected, context);
        }
        if let Some(certificate) = source.given("podCertificate") {
            count += 1;
            check_certificate(&certificate, context);
            for path in CERTIFICATE_PATHS {
                let path = certificate.text(path);
                claim(&mut taken, path, path, projected, context);
            }
        }
        if count > 1 {
            source.forbidden("may not specify more than 1 volume type per source", context);
        }
    }
}

/// Notes that a file has this path.
fn claim<'v>(
    taken: &mut HashSet<&'v str>,
    path: &'v str,
    shown: &str,
    projected: &View<'v, '_>,
    context: &mut Context<'v>,
) {
    if !path.is_empty() && !taken.insert(path) {
        projected.invalid_as(shown, CLASH, context);
    }
}

/// The errors of the path are those of the whole volume, as upstream's are.
fn check_token(token: &View<'_, '_>, projected: &View<'_, '_>, context: &mut Context<'_>) {
    let expiration = token.get("expirationSeconds");
    match expiration.int() {
        Some(..600) => {
            expiration.invalid("may not specify a duration less than 10 minutes", context)
        }
        Some(seconds) if seconds > 1 << 32 => {
            expiration.invalid("may not specify a duration larger than 2^32 seconds", context);
        }
        _ => {}
    }
    let path = token.get("path");
    let path = path.shown_at(projected, "path");
    if path.is_empty() {
        path.required("", context);
    } else {
        path.check_file(context);
    }
}

fn check_bundle<'v>(bundle: &View<'v, '_>, context: &mut Context<'v>) {
    match (bundle.given("name"), bundle.given("signerName")) {
        (Some(_), Some(_)) => {
            bundle.invalid("only one of name and signerName may be used", context);
        }
        (Some(name), None) => {
            if name.is_empty() {
                name.required("must be a valid object name", context);
            }
            // A bundle of a signer has the signer's name, with colons, before its own.
            let own = name.str().rsplit_once(':').map_or_else(|| name.str(), |(_, own)| own);
            for complaint in names::dns1123_subdomain(own) {
                name.invalid(format!("not a valid clustertrustbundlename: {complaint}"), context);
            }
            if let Some(selector) = bundle.given("labelSelector") {
                selector.invalid("labelSelector must be unset if name is specified", context);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                signer.required("must be a valid signer name", context);
            }
            check_signer(&signer, context);
            check_label_selector(&bundle.get("labelSelector"), context);
        }
        (None, None) => bundle.required("either name or signerName must be specified", context),
    }
    const PATH: &[Table] = &[of("validateProjectionSources", &[("path", Rule::File)])];
    bundle.check(PATH, context);
}

const CERTIFICATE_PATHS: [&str; 3] = ["credentialBundlePath", "keyPath", "certificateChainPath"];

fn check_certificate<'v>(certificate: &View<'v, '_>, context: &mut Context<'v>) {
    const KEY: &[Table] = &[of(
        "validateProjectionSources",
        &[(
            "keyType",
            Rule::OneOf(&["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"]),
        )],
    )];
    let signer = certificate.get("signerName");
    check_signer(&signer, context);
    certificate.check(KEY, context);
    if let Some(seconds) = certificate.given("maxExpirationSeconds").as_ref()
        && let Some(number) = seconds.int()
    {
        // A day for Kubernetes' own signers, 91 days for others.
        let host = signer.str().split('/').next().unwrap_or_default();
        let own = host == "kubernetes.io" || host.ends_with(".kubernetes.io");
        let most = if own { 86_400 } else { 7_862_400 };
        if number < 3600 {
            seconds.invalid("if provided, maxExpirationSeconds must be >= 3600", context);
        } else if number > most {
            let detail = format!("if provided, maxExpirationSeconds must be <= {most}");
            seconds.invalid(detail, context);
        }
    }
    let mut any = false;
    for path in CERTIFICATE_PATHS {
        let path = certificate.get(path);
        any |= !path.is_empty();
        path.check_file(context);
    }
    if !any {
        let detail =
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        certificate.required(detail, context);
    }
}

/// `ValidateSignerName`: a domain, a slash and a path.
fn check_signer(signer: &View<'_, '_>, context: &mut Context<'_>) {
    if signer.is_empty() {
        return signer.required("", context);
    }
    let Some((domain, path)) = signer.str().split_once('/').filter(|(_, path)| !path.contains('/'))
    else {
        let detail =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return signer.invalid(detail, context);
    };
    if domain.len() > names::SUBDOMAIN_MAX {
        signer.too_long(names::SUBDOMAIN_MAX, context);
    }
    for (part, rule) in
        [(domain, names::dns1123_label as fn(&str) -> _), (path, names::dns1123_subdomain)]
    {
        let wrong = part.split('.').map(|label| (label, rule(label)));
        if let Some((label, complaints)) = wrong.into_iter().find(|(_, it)| !it.is_empty()) {
            for complaint in complaints {
                signer.invalid_as(
                    part,
                    format!("validating label {label:?}: {complaint}"),
                    context,
                );
            }
        }
        if part == domain && !domain.contains('.') {
            let detail = "should be a domain with at least two segments separated by dots";
            signer.invalid_as(domain, detail, context);
        }
    }
    let longest = 2 * names::SUBDOMAIN_MAX + names::LABEL_MAX + 2;
    if signer.str().len() > longest {
        signer.too_long(longest, context);
    }
}
