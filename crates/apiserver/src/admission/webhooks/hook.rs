//! One webhook of a configuration, read and ready to be matched and asked.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::labels::Selector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use super::conditions::Condition;
use crate::document;
use crate::kind::Kind;

/// A webhook.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    namespaces: Option<Selector>,
    objects: Option<Selector>,
    /// Whether other versions of the same resource are none of its business.
    pub(super) exact: bool,
    /// Whether a request goes on where this hook cannot be asked.
    pub(super) ignores_failure: bool,
    pub(super) timeout: Duration,
    pub(super) sides: Sides,
    pub(super) conditions: Vec<Condition>,
    pub(super) target: Target,
    /// The host whose certificate it shows, as a URL has it.
    pub(super) host: String,
    /// Path and query.
    pub(super) path: String,
    /// The whole URL, for messages.
    pub(super) url: String,
    /// How its certificate is checked, or why it cannot be.
    pub(super) tls: Result<Arc<ClientConfig>, String>,
}

/// Whether a call changes anything when the request is a dry run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sides {
    None,
    Effects,
}

/// Where a webhook is.
#[derive(Debug)]
pub(super) enum Target {
    /// `HOST:PORT`.
    Address(String),
    Service(Service),
    /// The configuration names no place.
    Unusable(String),
}

/// A service of the API.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Which requests a webhook is shown.
#[derive(Debug)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
}

// === impl Hook ===

impl Hook {
    /// The webhooks of a configuration.
    pub(super) fn all(configuration: &Value) -> Vec<Self> {
        list(configuration, "/webhooks").iter().map(Self::read).collect()
    }

    fn read(webhook: &Value) -> Self {
        let client = webhook.get("clientConfig").unwrap_or(&Value::Null);
        let seconds = webhook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(10);
        let (target, host, path) = place(client);
        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{mark}timeout={seconds}s");
        let selector = |name: &str| {
            let empty = json!({});
            Selector::from_object(webhook.get(name).filter(|it| !it.is_null()).unwrap_or(&empty))
        };
        Self {
            name: text(webhook, "/name").to_owned(),
            rules: list(webhook, "/rules").iter().map(Rule::read).collect(),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            exact: text(webhook, "/matchPolicy") == "Exact",
            ignores_failure: text(webhook, "/failurePolicy") == "Ignore",
            timeout: Duration::from_secs(seconds.clamp(1, 30)),
            sides: match text(webhook, "/sideEffects") {
                "None" | "NoneOnDryRun" => Sides::None,
                _ => Sides::Effects,
            },
            conditions: list(webhook, "/matchConditions").iter().map(Condition::read).collect(),
            url: match &target {
                Target::Service(_) => {
                    let port = client.pointer("/service/port").and_then(Value::as_u64);
                    format!("https://{host}:{}{path}", port.unwrap_or(443))
                }
                Target::Address(address) => format!("https://{address}{path}"),
                Target::Unusable(_) => String::new(),
            },
            target,
            host,
            path,
            tls: tls(text(client, "/caBundle")).map(Arc::new),
        }
    }

    /// Whether the webhook's selector matches an object. An invalid selector matches everything, so
    /// that the webhook decides.
    pub(super) fn selects_objects(&self, object: Option<&Value>) -> bool {
        let Some(selector) = self.objects.as_ref().filter(|selector| !selector.is_empty()) else {
            return true;
        };
        object.is_some_and(|object| {
            let labels = document::metadata(object).and_then(|meta| meta.get("labels"));
            matches(selector, labels.unwrap_or(&Value::Null))
        })
    }

    /// Whether the namespace around an object has the labels that the webhook looks for.
    pub(super) fn selects_namespace(&self, labels: impl FnOnce() -> Option<Value>) -> bool {
        match self.namespaces.as_ref().filter(|selector| !selector.is_empty()) {
            None => true,
            Some(selector) => labels().is_none_or(|labels| matches(selector, &labels)),
        }
    }
}

fn matches(selector: &Selector, labels: &Value) -> bool {
    selector.matches(|key| labels.get(key).and_then(Value::as_str))
}

/// Where a webhook is, the host of its URL, and the URL's path.
fn place(client: &Value) -> (Target, String, String) {
    let url = text(client, "/url");
    if !url.is_empty() {
        let parsed = url.parse::<http::Uri>().ok().filter(|uri| uri.scheme_str() == Some("https"));
        let Some((uri, host)) = parsed.and_then(|uri| Some((uri.clone(), uri.host()?.to_owned())))
        else {
            let why = format!("{url:?} is no https URL");
            return (Target::Unusable(why), String::new(), String::new());
        };
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(443));
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        return (Target::Address(address), host, path);
    }
    let word = |name: &str| text(client, &format!("/service/{name}")).to_owned();
    let (namespace, name) = (word("namespace"), word("name"));
    if namespace.is_empty() || name.is_empty() {
        let why = "neither a URL nor a service is configured".to_owned();
        return (Target::Unusable(why), String::new(), String::new());
    }
    let host = format!("{name}.{namespace}.svc");
    let path = format!("/{}", word("path").trim_start_matches('/'));
    (Target::Service(Service { namespace, name }), host, path)
}

/// TLS configuration that trusts the webhook's `caBundle`.
fn tls(bundle: &str) -> Result<ClientConfig, String> {
    let pem = BASE64_STANDARD.decode(bundle).map_err(|_| "the caBundle is no base64".to_owned())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

// === impl Rule ===

impl Rule {
    fn read(rule: &Value) -> Self {
        let words = |name: &str| {
            let words = list(rule, &format!("/{name}")).iter();
            words.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            operations: words("operations"),
            groups: words("apiGroups"),
            versions: words("apiVersions"),
            resources: words("resources"),
            scope: text(rule, "/scope").to_owned(),
        }
    }

    /// Whether the rule is about this operation on this kind.
    pub(super) fn matches(
        &self,
        operation: &str,
        kind: &Kind,
        subresource: Option<&str>,
        is_namespaced: bool,
    ) -> bool {
        let has = |words: &[String], expected: &str| {
            words.iter().any(|word| word == "*" || word == expected)
        };
        let is_resource = |pattern: &String| {
            let (resource, sub) = match pattern.split_once('/') {
                Some((resource, sub)) => (resource, Some(sub)),
                None => (pattern.as_str(), None),
            };
            (resource == "*" || resource == kind.plural) && (sub == Some("*") || sub == subresource)
        };
        has(&self.operations, operation)
            && has(&self.groups, &kind.group)
            && has(&self.versions, &kind.version)
            && self.resources.iter().any(is_resource)
            && match self.scope.as_str() {
                "Namespaced" => is_namespaced,
                "Cluster" => !is_namespaced,
                _ => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[track_caller]
    fn check(rule: &Value, operation: &str, resource: &str, expected: bool) {
        let (plural, subresource) = match resource.split_once('/') {
            Some((plural, subresource)) => (plural, Some(subresource)),
            None => (resource, None),
        };
        let kind = registry::built_in().iter().find(|kind| kind.plural == plural).unwrap();
        let found = Rule::read(rule).matches(operation, kind, subresource, kind.namespaced);
        assert_eq!(found, expected, "{rule} {operation} {resource}");
    }

    #[test]
    fn rules_match_by_operation_group_version_resource_and_scope() {
        let rule = |resources: &[&str], scope: &str| json!({ "operations": ["CREATE", "UPDATE"], "apiGroups": ["", "kubeflow.org"], "apiVersions": ["v1"], "resources": resources, "scope": scope });
        check(&rule(&["pods"], "*"), "CREATE", "pods", true);
        check(&rule(&["pods"], "*"), "DELETE", "pods", false);
        check(&rule(&["pods"], "*"), "UPDATE", "pods/status", false);
        check(&rule(&["pods/status"], "*"), "UPDATE", "pods/status", true);
        check(&rule(&["pods/*"], "*"), "UPDATE", "pods/status", true);
        check(&rule(&["*"], "*"), "UPDATE", "mxjobs", true);
        check(&rule(&["*"], "*"), "UPDATE", "mxjobs/status", false);
        check(&rule(&["*/*"], "*"), "UPDATE", "mxjobs/status", true);
        check(&rule(&["*"], "*"), "CREATE", "leases", false);
        check(&rule(&["*"], "Cluster"), "CREATE", "pods", false);
        check(&rule(&["*"], "Namespaced"), "CREATE", "pods", true);
        check(&rule(&["*"], "Namespaced"), "CREATE", "nodes", false);
    }

    #[test]
    fn a_place_is_a_url_or_a_service() {
        let place = |client: Value| {
            let (target, host, path) = super::place(&client);
            (format!("{target:?}"), host, path)
        };
        let (target, host, path) = place(json!({ "url": "https://127.0.0.1:9443/validate?x=1" }));
        assert_eq!(target, "Address(\"127.0.0.1:9443\")");
        assert_eq!((host.as_str(), path.as_str()), ("127.0.0.1", "/validate?x=1"));
        let (_, host, path) = place(json!({ "service": { "namespace": "n", "name": "s" } }));
        assert_eq!((host.as_str(), path.as_str()), ("s.n.svc", "/"));
        assert!(place(json!({ "url": "http://a" })).0.starts_with("Unusable"));
        assert!(place(json!({})).0.starts_with("Unusable"));
    }
}
