//! Parses a request's path, verb and query.
//!
//! The path grammar of the Kubernetes API is regular, so one parser and a look-up in the registry
//! replace a router.

use std::borrow::Cow;

use http::{HeaderMap, Method, header};
use mxjob_access::authz::Verb;
use mxjob_machinery::names::{Namespace, ObjectName};
use mxjob_machinery::{fields, percent};

/// The target of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A resource path, served or not.
    Resource(ResourcePath<'a>),
    /// Any other path: health, discovery, version.
    NonResource,
}

/// A path of the form `/api/v1/…` or `/apis/{group}/{version}/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResourcePath<'a> {
    /// API group; empty for the core group.
    pub(crate) group: &'a str,
    /// API version.
    pub(crate) version: &'a str,
    /// Namespace; `None` for cluster-scoped paths and for all namespaces.
    pub(crate) namespace: Option<Namespace<'a>>,
    /// Resource (plural).
    pub(crate) resource: &'a str,
    /// Object name; `None` for a collection.
    pub(crate) name: Option<ObjectName<'a>>,
    /// Subresource; `None` for the object itself. Only paths with a name have one.
    pub(crate) subresource: Option<&'a str>,
    /// Whether the deprecated `/watch/` prefix was used.
    pub(crate) legacy_watch: bool,
}

/// The media type of a body, without parameters; `default` where none is given.
pub(crate) fn media_type<'a>(headers: &'a HeaderMap, default: &'a str) -> &'a str {
    let given =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = given.split(';').next().unwrap_or_default().trim();
    if bare.is_empty() { default } else { bare }
}

/// The beginning of a body, in hexadecimal if it is not JSON (upstream's `summarizeData`).
pub(crate) fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let start = body.get(..SHOWN).unwrap_or(body);
    let shown = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SHOWN { format!("{shown} ...") } else { shown }
}

impl<'a> Target<'a> {
    /// Whether it is about leases, which components renew to stay in office.
    pub(crate) fn is_about_leases(&self) -> bool {
        let Self::Resource(path) = self else { return false };
        path.group == "coordination.k8s.io" && path.resource == "leases"
    }

    /// Parses a decoded path.
    #[must_use]
    pub(crate) fn parse(path: &'a str) -> Self {
        Self::resource(path).map_or(Self::NonResource, Self::Resource)
    }

    fn resource(path: &'a str) -> Option<ResourcePath<'a>> {
        let (root, rest) = path.strip_prefix('/').unwrap_or(path).split_once('/')?;
        let (group, rest) = match root {
            "api" => ("", rest),
            "apis" => rest.split_once('/')?,
            _ => return None,
        };
        let (version, rest) = rest.split_once('/')?;
        let (legacy_watch, rest) = match first(rest) {
            ("watch", rest) => (true, rest),
            _ => (false, rest),
        };
        let (resource, tail) = first(rest);
        let (namespace, resource, tail) = match tail.split_once('/') {
            // `/namespaces/{ns}/status` and `/finalize` belong to the namespace itself.
            Some((namespace, rest))
                if resource == "namespaces" && !matches!(rest, "status" | "finalize") =>
            {
                let (resource, tail) = first(rest);
                (Namespace::new(namespace), resource, tail)
            }
            _ => (None, resource, tail),
        };
        let (name, subresource) = first(tail);
        let (name, subresource) = (ObjectName::new(name), non_empty(subresource));
        // An empty segment is no name.
        let is_valid = !resource.is_empty() && (name.is_some() || tail.is_empty());
        is_valid.then_some(ResourcePath {
            group,
            version,
            namespace,
            resource,
            name,
            subresource,
            legacy_watch,
        })
    }
}

/// The first segment of a path, and the rest; a trailing slash makes no difference.
fn first(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The API verb of a request on a resource; its name is empty for an unsupported method.
#[must_use]
pub(crate) fn verb(method: &Method, path: &ResourcePath<'_>, watch: bool) -> Verb<'static> {
    let collection = path.name.is_none();
    match *method {
        Method::POST => Verb::Create,
        Method::GET | Method::HEAD if path.legacy_watch || (collection && watch) => Verb::Watch,
        Method::GET | Method::HEAD if collection => Verb::List,
        Method::GET | Method::HEAD => Verb::Get,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if collection => Verb::DeleteCollection,
        Method::DELETE => Verb::Delete,
        _ => Verb::Other(""),
    }
}

/// The only name that a list or a watch selects: rights to that one object suffice for it.
#[must_use]
pub(crate) fn selected_name(query: &Query, verb: Verb<'_>) -> Option<String> {
    if !matches!(verb, Verb::List | Verb::Watch) {
        return None;
    }
    let selector = fields::Selector::parse(query.get("fieldSelector")?).ok()?;
    let name = selector.exact("metadata.name")?;
    let is_segment = !matches!(name, "" | "." | "..") && !name.contains(['/', '%']);
    is_segment.then(|| name.to_owned())
}

/// Decodes the percent-escapes of a path; `None` if an escape is invalid or the result is not
/// UTF-8.
#[must_use]
pub(crate) fn decode_path(path: &str) -> Option<Cow<'_, str>> {
    percent::decode(path, false)
}

/// The parameters of a query string, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a raw query string. As upstream's parser does, a pair with an invalid escape is
    /// dropped.
    #[must_use]
    pub(crate) fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((
                percent::decode(key, true)?.into_owned(),
                percent::decode(value, true)?.into_owned(),
            ))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    #[must_use]
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A boolean as upstream reads it in query parameters: absent, `0` and `false` are false,
    /// everything else is true.
    #[must_use]
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, want: &str) {
        let got = match Target::parse(path) {
            Target::NonResource => "-".to_owned(),
            Target::Resource(p) => format!(
                "{}|{}|{}|{}|{}|{}{}",
                p.group,
                p.version,
                p.namespace.map_or("", Namespace::as_str),
                p.resource,
                p.name.map_or("*", ObjectName::as_str),
                p.subresource.unwrap_or_default(),
                if p.legacy_watch { "|watch" } else { "" }
            ),
        };
        assert_eq!(got, want, "{path}");
    }

    #[test]
    fn paths_are_parsed_into_groups_namespaces_names_and_subresources() {
        check("/healthz", "-");
        check("/api", "-");
        check("/api/v1", "-");
        check("/apis/kubeflow.org", "-");
        check("/apis/kubeflow.org/v1", "-");
        check("/apis/kubeflow.org/v1/", "-");
        check("/api/v1/namespaces", "|v1||namespaces|*|");
        check("/api/v1/namespaces/a", "|v1||namespaces|a|");
        check("/api/v1/namespaces/a/status", "|v1||namespaces|a|status");
        check("/api/v1/namespaces/a/pods", "|v1|a|pods|*|");
        check("/api/v1/namespaces/a/pods/", "|v1|a|pods|*|");
        check("/api/v1/namespaces/a/pods/p/log", "|v1|a|pods|p|log");
        check("/apis/kubeflow.org/v1/mxjobs", "kubeflow.org|v1||mxjobs|*|");
        check(
            "/apis/kubeflow.org/v1/namespaces/n/mxjobs/j/status",
            "kubeflow.org|v1|n|mxjobs|j|status",
        );
        check("/apis/kubeflow.org/v1/namespaces/n/mxjobs/j/", "kubeflow.org|v1|n|mxjobs|j|");
        check("/apis/kubeflow.org/v1/namespaces/n/mxjobs/j/a/b", "kubeflow.org|v1|n|mxjobs|j|a/b");
        check("/apis/kubeflow.org/v1/namespaces//mxjobs", "kubeflow.org|v1||mxjobs|*|");
        check("/apis/kubeflow.org/v1/namespaces/n/mxjobs//a", "-");
        check("/api/v1/namespaces//status", "-");
        check("/apis/kubeflow.org/v1/namespaces/n/mxjobs//", "-");
        check("/api/v1/namespaces/a/", "-");
        check("/api/v1/namespaces/a//b", "-");
        check("/api/v1//pods", "-");
        check(
            "/apis/kubeflow.org/v1/watch/namespaces/n/mxjobs/j",
            "kubeflow.org|v1|n|mxjobs|j||watch",
        );
    }

    #[test]
    fn queries_are_decoded_and_flags_parsed_as_upstream_does() {
        let query = Query::parse("a=1&b=x%20y+z&watch&c=false&bad=%zz");
        assert_eq!(query.get("b"), Some("x y z"));
        assert!(query.flag("a") && query.flag("watch") && !query.flag("c") && !query.flag("nope"));
        assert_eq!(query.get("bad"), None);
        assert_eq!(decode_path("/a%2Fb%61").as_deref(), Some("/a/ba"));
        assert_eq!(decode_path("/%ff"), None);
    }
}
