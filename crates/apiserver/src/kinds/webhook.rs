//! Configurations of validating webhooks: defaults (upstream's `pkg/apis/admissionregistration/v1`). What they do to
//! requests is admission's matter.

use serde_json::{Value, json};

use super::default_to;
use super::strategy::Strategy;

/// The rules of a `ValidatingWebhookConfiguration`.
#[derive(Debug)]
pub(crate) struct Configuration;

impl Strategy for Configuration {
    fn prepare_create(&self, object: &mut Value) {
        let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
        for webhook in webhooks.into_iter().flatten() {
            default_to(webhook, "failurePolicy", "Fail");
            default_to(webhook, "matchPolicy", "Equivalent");
            default_to(webhook, "namespaceSelector", json!({}));
            default_to(webhook, "objectSelector", json!({}));
            default_to(webhook, "timeoutSeconds", 10);
            if let Some(service) = webhook.pointer_mut("/clientConfig/service") {
                default_to(service, "port", 443);
            }
            let rules = webhook.get_mut("rules").and_then(Value::as_array_mut);
            rules.into_iter().flatten().for_each(|rule| default_to(rule, "scope", "*"));
        }
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn has_generation(&self) -> bool {
        true
    }
}
