//! The `caBundle` of the ValidatingWebhookConfiguration: what the API server trusts when it calls
//! the webhook. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How a configuration compares with what is served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// It trusts what is served.
    UpToDate,
    /// It needs this JSON patch.
    Patch(Value),
    /// It has no webhook of this name.
    NoWebhook,
    /// Its webhook is another service, which manages its own certificates.
    OtherService,
}

/// Compares a configuration with what is served. The patch changes only the bundle, and applies
/// only to the version of the configuration that was read, so that no other client's change is
/// lost.
pub(super) fn compare(
    configuration: &Value,
    webhook: &str,
    service: (&str, &str),
    ca_pem: &str,
) -> Comparison {
    let Some((index, client)) = find(configuration, webhook) else { return Comparison::NoWebhook };
    if !is_of(client, service) {
        return Comparison::OtherService;
    }
    let bundle = STANDARD.encode(ca_pem);
    if client["caBundle"] == bundle.as_str() {
        return Comparison::UpToDate;
    }
    Comparison::Patch(json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": configuration["metadata"]["resourceVersion"] },
        { "op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook },
        { "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle },
    ]))
}

/// What the API server trusts when it calls this service, as PEM; `None` if it does not call it.
pub(super) fn trusted(
    configuration: &Value,
    webhook: &str,
    service: (&str, &str),
) -> Option<String> {
    let (_, client) = find(configuration, webhook).filter(|(_, client)| is_of(client, service))?;
    let bundle = client["caBundle"].as_str().and_then(|text| STANDARD.decode(text).ok());
    Some(bundle.and_then(|pem| String::from_utf8(pem).ok()).unwrap_or_default())
}

/// The webhook of this name: its index and its `clientConfig`.
fn find<'a>(configuration: &'a Value, webhook: &str) -> Option<(usize, &'a Value)> {
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    let mut webhooks = webhooks.into_iter().flatten().enumerate();
    webhooks
        .find(|(_, found)| found["name"] == webhook)
        .map(|(index, found)| (index, &found["clientConfig"]))
}

fn is_of(client: &Value, (namespace, service): (&str, &str)) -> bool {
    let target = &client["service"];
    target["name"] == service && target["namespace"] == namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::needless_pass_by_value)] // reads better with a literal
    fn check(webhooks: Value, expected: Comparison) {
        let configuration = json!({ "metadata": { "resourceVersion": "7" }, "webhooks": webhooks });
        let found = compare(&configuration, "validate", ("system", "hook"), "PEM");
        assert_eq!(found, expected, "{configuration}");
    }

    fn webhook(name: &str, namespace: &str, bundle: &str) -> Value {
        let service = json!({ "namespace": namespace, "name": "hook", "path": "/validate" });
        json!({ "name": name, "clientConfig": { "service": service, "caBundle": bundle } })
    }

    #[test]
    fn only_a_different_bundle_is_patched_and_nothing_else() {
        let patch = |index: usize| {
            Comparison::Patch(json!([
                { "op": "test", "path": "/metadata/resourceVersion", "value": "7" },
                { "op": "test", "path": format!("/webhooks/{index}/name"), "value": "validate" },
                { "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": "UEVN" },
            ]))
        };
        check(json!([webhook("validate", "system", "UEVN")]), Comparison::UpToDate);
        check(json!([webhook("validate", "system", "T0xE")]), patch(0));
        let mut fresh = webhook("validate", "system", "");
        fresh["clientConfig"].as_object_mut().unwrap().remove("caBundle");
        check(json!([webhook("other", "system", ""), fresh]), patch(1));
    }

    #[test]
    fn the_trusted_bundle_is_read_from_the_webhook_of_our_service() {
        let check = |webhooks: Value, expected: Option<&str>| {
            let configuration = json!({ "webhooks": webhooks });
            let found = trusted(&configuration, "validate", ("system", "hook"));
            assert_eq!(found.as_deref(), expected, "{configuration}");
        };
        check(json!([webhook("validate", "system", "UEVN")]), Some("PEM"));
        check(json!([webhook("validate", "system", "")]), Some(""));
        check(json!([webhook("validate", "system", "no base64")]), Some(""));
        check(json!([webhook("validate", "elsewhere", "UEVN")]), None);
        check(json!([webhook("other", "system", "UEVN")]), None);
        check(json!([]), None);
    }

    #[test]
    fn a_webhook_of_another_service_is_left_alone() {
        check(json!([]), Comparison::NoWebhook);
        check(json!(null), Comparison::NoWebhook);
        check(json!([3, { "name": "other" }]), Comparison::NoWebhook);
        check(json!([webhook("validate", "elsewhere", "")]), Comparison::OtherService);
        let by_url = json!({ "name": "validate", "clientConfig": { "url": "https://a" } });
        check(json!([by_url]), Comparison::OtherService);
    }
}
