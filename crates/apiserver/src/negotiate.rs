//! Content negotiation: the form of a response.

use http::{HeaderMap, header};
use mxjob_protobuf::MEDIA_TYPE;

use crate::error::ApiError;
use crate::request::Query;

/// The media types that objects are served in, and that bodies may have. Of custom resources, only
/// metadata is served in protobuf, and only the options of a delete may be in it.
pub(crate) const OBJECT_TYPES: &[&str] = &["application/json", "application/yaml", MEDIA_TYPE];
/// The media types that watches are served in.
pub(crate) const STREAM_TYPES: &[&str] =
    &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// The negotiated form of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// How the response is written.
    pub(crate) encoding: Encoding,
    /// Indented JSON.
    pub(crate) pretty: bool,
    /// The transformation of the object.
    pub(crate) transform: Transform,
}

/// How a response is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf.
    Protobuf,
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
    pub(crate) const JSON: Self =
        Self { encoding: Encoding::Json, pretty: false, transform: Transform::None };

    /// The form of errors if nothing acceptable was found: upstream falls back to indented JSON.
    pub(crate) const FALLBACK: Self = Self { pretty: true, ..Self::JSON };

    /// Negotiates the form of an object or a list. `typed`: whether whole objects have a protobuf
    /// form.
    ///
    /// # Errors
    /// 406 if no clause is supported.
    pub(crate) fn for_objects(
        headers: &HeaderMap,
        query: &Query,
        typed: bool,
    ) -> Result<Self, ApiError> {
        Self::first(headers, query, |clause| clause.form(typed))
            .ok_or_else(|| ApiError::not_acceptable(OBJECT_TYPES))
    }

    /// The same for answers that cannot be Tables.
    ///
    /// # Errors
    /// 406 if no clause is supported.
    pub(crate) fn for_answers(
        headers: &HeaderMap,
        query: &Query,
        typed: bool,
    ) -> Result<Self, ApiError> {
        let is_possible = |form: &Self| !matches!(form.transform, Transform::Table(_));
        Self::first(headers, query, |clause| clause.form(typed).filter(is_possible))
            .ok_or_else(|| ApiError::not_acceptable(OBJECT_TYPES))
    }

    /// The form of an error: the first one that is requested without a transformation.
    #[must_use]
    pub(crate) fn for_errors(headers: &HeaderMap, query: &Query) -> Self {
        let plain = |form: &Self| form.transform == Transform::None;
        Self::first(headers, query, |clause| clause.form(true).filter(plain))
            .unwrap_or(Self::FALLBACK)
    }

    /// The form of a document that exists in JSON only, whatever is requested, but may be indented.
    #[must_use]
    pub(crate) fn for_documents(headers: &HeaderMap, query: &Query) -> Self {
        match Self::for_errors(headers, query) {
            Self { encoding: Encoding::Protobuf, .. } => Self::JSON,
            form => form,
        }
    }

    /// The form of the first supported clause.
    fn first(
        headers: &HeaderMap,
        query: &Query,
        form: impl Fn(&Clause<'_>) -> Option<Self>,
    ) -> Option<Self> {
        let pretty = wants_pretty(headers, query);
        clauses(&accept(headers)).iter().find_map(|clause| {
            let form = form(clause)?;
            let pretty = pretty || clause.get("pretty") == Some("1");
            Some(Self { pretty: pretty && form.encoding == Encoding::Json, ..form })
        })
    }

    /// Negotiates the form of a watch: JSON or protobuf, possibly transformed.
    ///
    /// # Errors
    /// 406 if no clause is supported.
    pub(crate) fn for_watch(headers: &HeaderMap, typed: bool) -> Result<Self, ApiError> {
        clauses(&accept(headers))
            .iter()
            .filter_map(|clause| clause.form(typed))
            .find(|form| form.encoding != Encoding::Yaml)
            .ok_or_else(|| ApiError::not_acceptable(STREAM_TYPES))
    }

    /// `Content-Type` of the form.
    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => MEDIA_TYPE,
        }
    }
}

impl Clause<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// The compact form of the clause; `None` if it is not supported.
    fn form(&self, typed: bool) -> Option<Form> {
        let encoding = match self.media_type {
            "application/json" | "application/*" | "*/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            MEDIA_TYPE => Encoding::Protobuf,
            _ => return None,
        };
        let transform = self.transform()?;
        let exists = match transform {
            Transform::None => typed,
            Transform::Table(_) => false,
            Transform::Partial(_) | Transform::PartialList(_) => true,
        };
        let form = Form { encoding, pretty: false, transform };
        (encoding != Encoding::Protobuf || exists).then_some(form)
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

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header value"));
        headers
    }

    fn check(accept: &str, want: Option<(Encoding, bool, Transform)>) {
        let got = Form::for_objects(&headers(accept), &Query::default(), false).ok();
        assert_eq!(got.map(|form| (form.encoding, form.pretty, form.transform)), want, "{accept}");
    }

    const PARTIAL: &str =
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

    #[test]
    fn the_best_supported_clause_is_used() {
        use Encoding::{Json, Protobuf, Yaml};
        let table = Transform::Table(MetaVersion::V1);
        check("*/*", Some((Json, false, Transform::None)));
        check("application/json;pretty=1", Some((Json, true, Transform::None)));
        check(
            "application/json;q=0.5, application/yaml;q=0.9",
            Some((Yaml, false, Transform::None)),
        );
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Some((Json, false, table)),
        );
        check("application/json;as=Table;v=v2;g=meta.k8s.io", None);
        check(
            "application/json;as=Table;v=v2;g=meta.k8s.io,application/json",
            Some((Json, false, Transform::None)),
        );
        check(
            "application/vnd.kubernetes.protobuf, application/json",
            Some((Json, false, Transform::None)),
        );
        check(PROTOBUF, None);
        check(PARTIAL, Some((Protobuf, false, Transform::Partial(MetaVersion::V1))));
        check("text/html", None);
    }

    #[test]
    fn objects_of_built_in_kinds_and_errors_are_in_protobuf_too() {
        let query = Query::default();
        let object = |accept: &str| {
            Form::for_objects(&headers(accept), &query, true).ok().map(|form| form.encoding)
        };
        let watch = |accept: &str, typed: bool| {
            Form::for_watch(&headers(accept), typed).ok().map(|form| form.encoding)
        };
        let error = |accept: &str| {
            let form = Form::for_errors(&headers(accept), &query);
            (form.encoding, form.pretty)
        };
        let both = format!("{PROTOBUF}, application/json");
        assert_eq!(object(PROTOBUF), Some(Encoding::Protobuf));
        assert_eq!(object(&both), Some(Encoding::Protobuf));
        assert_eq!(object(&format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1")), None);
        assert_eq!(watch(&format!("{PROTOBUF};stream=watch"), true), Some(Encoding::Protobuf));
        assert_eq!(watch(&both, false), Some(Encoding::Json));
        assert_eq!(watch(PROTOBUF, false), None);
        assert_eq!(watch("application/yaml", true), None);
        assert_eq!(error(PROTOBUF), (Encoding::Protobuf, false));
        assert_eq!(error(&format!("{PARTIAL}, application/json")), (Encoding::Json, false));
        // As upstream: no clause without a transformation is as good as none that is supported.
        assert_eq!(error(PARTIAL), (Encoding::Json, true));
    }
}
