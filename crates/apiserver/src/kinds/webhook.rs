//! Configurations of validating webhooks: defaults and rules (upstream's
//! `pkg/apis/admissionregistration`). Admission calls the webhooks.

use std::collections::BTreeSet;

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::labels::Selector;
use mxjob_machinery::names;
use serde_json::{Value, json};

use super::default_to;
use crate::expression;
use crate::strategy::Strategy;

/// The rules of a `ValidatingWebhookConfiguration`.
#[derive(Debug)]
pub(crate) struct Configuration;

impl Strategy for Configuration {
    fn skips_webhooks(&self) -> bool {
        true
    }

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

    fn validate(&self, object: &Value) -> Errors {
        let mut errors = Errors::new();
        let mut seen = BTreeSet::new();
        for (index, webhook) in list(object, "/webhooks").iter().enumerate() {
            let path = Path::new("webhooks").index(index);
            let name = text(webhook, "/name");
            check_name(name, &path.child("name"), &mut errors);
            if !name.is_empty() && !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            check_client(webhook, &path.child("clientConfig"), &mut errors);
            check_words(webhook, &path, &mut errors);
            check_rules(webhook, &path.child("rules"), &mut errors);
            check_conditions(webhook, &path.child("matchConditions"), &mut errors);
        }
        errors
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn check_name(name: &str, path: &Path, errors: &mut Errors) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    for why in names::dns1123_subdomain(name) {
        errors.push(Error::invalid(path, name, why));
    }
    if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(Error::invalid(path, name, why));
    }
}

fn check_client(webhook: &Value, path: &Path, errors: &mut Errors) {
    let url = text(webhook, "/clientConfig/url");
    let service = webhook.pointer("/clientConfig/service").filter(|service| !service.is_null());
    match (url, service) {
        ("", None) => {
            errors.push(Error::required(path, "exactly one of url or service is required"))
        }
        ("", Some(service)) => {
            for name in ["name", "namespace"] {
                if text(service, &format!("/{name}")).is_empty() {
                    let why = format!("service {name} is required");
                    errors.push(Error::required(&path.child("service").child(name), why));
                }
            }
            let given = text(service, "/path");
            if !given.is_empty() && !given.starts_with('/') {
                let why = "must start with a '/'";
                errors.push(Error::invalid(&path.child("service").child("path"), given, why));
            }
        }
        (_, Some(_)) => {
            errors.push(Error::required(path, "exactly one of url or service is required"));
        }
        (url, None) => {
            let is_https =
                url.parse::<http::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
            if !is_https {
                let why =
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.push(Error::invalid(&path.child("url"), url, why));
            }
        }
    }
}

fn check_words(webhook: &Value, path: &Path, errors: &mut Errors) {
    for (name, allowed) in [
        ("failurePolicy", ["Fail", "Ignore"]),
        ("matchPolicy", ["Equivalent", "Exact"]),
        ("sideEffects", ["None", "NoneOnDryRun"]),
    ] {
        let given = text(webhook, &format!("/{name}"));
        if given.is_empty() {
            let why = format!("must specify one of {}", allowed.join(", "));
            errors.push(Error::required(&path.child(name), why));
        } else if !allowed.contains(&given) {
            errors.push(Error::not_supported(&path.child(name), given, &allowed));
        }
    }
    let versions = list(webhook, "/admissionReviewVersions");
    let at = path.child("admissionReviewVersions");
    if versions.is_empty() {
        errors.push(Error::required(&at, "must specify one of v1"));
    } else if !versions.iter().any(|version| version == "v1") {
        let why = "must include at least one of v1";
        errors.push(Error::invalid(&at, &Value::from(versions.to_vec()), why));
    }
    let seconds = webhook.get("timeoutSeconds").and_then(Value::as_i64).unwrap_or(10);
    if !(1..=30).contains(&seconds) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
    for name in ["namespaceSelector", "objectSelector"] {
        if let Some(given) =
            webhook.get(name).filter(|given| Selector::from_object(given).is_none())
        {
            errors.push(Error::invalid(&path.child(name), given, "is no label selector"));
        }
    }
}

fn check_rules(webhook: &Value, path: &Path, errors: &mut Errors) {
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
    for (index, rule) in list(webhook, "/rules").iter().enumerate() {
        let path = path.index(index);
        for name in ["operations", "apiGroups", "apiVersions", "resources"] {
            if list(rule, &format!("/{name}")).is_empty() {
                errors.push(Error::required(&path.child(name), ""));
            }
        }
        for (at, operation) in list(rule, "/operations").iter().enumerate() {
            let operation = operation.as_str().unwrap_or_default();
            if !OPERATIONS.contains(&operation) {
                let path = path.child("operations").index(at);
                errors.push(Error::not_supported(&path, operation, OPERATIONS));
            }
        }
        let scope = text(rule, "/scope");
        if !SCOPES.contains(&scope) {
            errors.push(Error::not_supported(&path.child("scope"), scope, SCOPES));
        }
    }
}

fn check_conditions(webhook: &Value, path: &Path, errors: &mut Errors) {
    const MOST: usize = 64;
    let conditions = list(webhook, "/matchConditions");
    if conditions.len() > MOST {
        errors.push(Error::too_many(path, conditions.len(), MOST));
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let (name, expression) = (text(condition, "/name"), text(condition, "/expression"));
        if name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        if expression.trim().is_empty() {
            errors.push(Error::required(&path.child("expression"), ""));
        } else if let Err(error) = expression::compile(expression) {
            let why = format!("compilation failed: {error}");
            errors.push(Error::invalid(&path.child("expression"), expression, why));
        }
    }
}
