//! Content negotiation: the form of a response.

use http::{HeaderMap, header};

use crate::error::ApiError;
use crate::request::Query;

/// The media types that objects are served in. Protobuf is named because upstream names it; see ADR
/// 6.
pub(crate) const OBJECT_TYPES: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// The media types that watches are served in.
pub(crate) const STREAM_TYPES: &[&str] =
    &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// The negotiated form of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// YAML instead of JSON.
    pub(crate) yaml: bool,
    /// Indented JSON.
    pub(crate) pretty: bool,
    /// The transformation of the object.
    pub(crate) transform: Transform,
}

/// The transformation of an object or list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transform {
    /// None.
    None,
    /// A `Table` of this version of `meta.k8s.io`.
    Table(MetaVersion),
    /// `PartialObjectMetadata`.
    Partial(MetaVersion),
    /// `PartialObjectMetadataList`.
    PartialList(MetaVersion),
}

/// A version of `meta.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    /// `v1`
    V1,
    /// `v1beta1`
    V1beta1,
}

impl MetaVersion {
    /// `meta.k8s.io/v1`
    #[must_use]
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// One entry of an `Accept` header.
struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Form {
    /// Compact JSON.
    pub(crate) const JSON: Self = Self { yaml: false, pretty: false, transform: Transform::None };

    /// The form of errors if nothing acceptable was found: upstream falls back to indented JSON.
    pub(crate) const FALLBACK: Self = Self { pretty: true, ..Self::JSON };

    /// Negotiates the form of an object or a list.
    ///
    /// # Errors
    /// 406 if no clause is supported.
    pub(crate) fn for_objects(headers: &HeaderMap, query: &Query) -> Result<Self, ApiError> {
        let pretty = wants_pretty(headers, query);
        for clause in clauses(&accept(headers)) {
            let yaml = match clause.media_type {
                "application/json" | "application/*" | "*/*" => false,
                "application/yaml" => true,
                _ => continue,
            };
            let Some(transform) = clause.transform() else { continue };
            let pretty = !yaml && (pretty || clause.get("pretty") == Some("1"));
            return Ok(Self { yaml, pretty, transform });
        }
        Err(ApiError::not_acceptable(OBJECT_TYPES))
    }

    /// Negotiates the form of a watch: JSON, possibly transformed.
    ///
    /// # Errors
    /// 406 if no clause is supported.
    pub(crate) fn for_watch(headers: &HeaderMap) -> Result<Self, ApiError> {
        clauses(&accept(headers))
            .iter()
            .filter(|clause| {
                matches!(clause.media_type, "application/json" | "application/*" | "*/*")
            })
            .find_map(|clause| Some(Self { transform: clause.transform()?, ..Self::JSON }))
            .ok_or_else(|| ApiError::not_acceptable(STREAM_TYPES))
    }

    /// The form of an error: the requested one if it is supported, untransformed.
    #[must_use]
    pub(crate) fn for_errors(headers: &HeaderMap, query: &Query) -> Self {
        Self::for_objects(headers, query)
            .map_or(Self::FALLBACK, |form| Self { transform: Transform::None, ..form })
    }

    /// `Content-Type` of the form.
    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        if self.yaml { "application/yaml" } else { "application/json" }
    }
}

impl Clause<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// `None` if the clause requests something unsupported.
    fn transform(&self) -> Option<Transform> {
        let Some(kind) = self.get("as") else { return Some(Transform::None) };
        if self.get("g") != Some("meta.k8s.io") {
            return None;
        }
        let version = match self.get("v") {
            Some("v1") => MetaVersion::V1,
            Some("v1beta1") => MetaVersion::V1beta1,
            _ => return None,
        };
        match kind {
            "Table" => Some(Transform::Table(version)),
            "PartialObjectMetadata" => Some(Transform::Partial(version)),
            "PartialObjectMetadataList" => Some(Transform::PartialList(version)),
            _ => None,
        }
    }
}

/// The `Accept` header, several lines joined; `*/*` if there is none.
#[must_use]
pub(crate) fn accept(headers: &HeaderMap) -> String {
    let lines: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let joined = lines.join(",");
    if joined.trim().is_empty() { "*/*".to_owned() } else { joined }
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters
                .iter()
                .find(|(key, _)| *key == "q")
                .and_then(|(_, q)| q.parse().ok())
                .unwrap_or(1.0);
            Clause { media_type, parameters, quality }
        })
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// Browsers and command-line HTTP tools get indented JSON unless they request otherwise.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(text) = query.get("pretty").filter(|text| !text.is_empty()) {
        return matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent =
        headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, want: Option<(bool, bool, Transform)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header value"));
        let got = Form::for_objects(&headers, &Query::default()).ok();
        assert_eq!(got.map(|form| (form.yaml, form.pretty, form.transform)), want, "{accept}");
    }

    #[test]
    fn the_best_supported_clause_is_used() {
        let table = Transform::Table(MetaVersion::V1);
        check("*/*", Some((false, false, Transform::None)));
        check("application/json;pretty=1", Some((false, true, Transform::None)));
        check(
            "application/json;q=0.5, application/yaml;q=0.9",
            Some((true, false, Transform::None)),
        );
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Some((false, false, table)),
        );
        check("application/json;as=Table;v=v2;g=meta.k8s.io", None);
        check(
            "application/json;as=Table;v=v2;g=meta.k8s.io,application/json",
            Some((false, false, Transform::None)),
        );
        check(
            "application/vnd.kubernetes.protobuf, application/json",
            Some((false, false, Transform::None)),
        );
        check("application/vnd.kubernetes.protobuf", None);
        check("text/html", None);
    }
}
