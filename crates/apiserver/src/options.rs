//! Query options of the verbs, parsed and validated as upstream does.

use mxjob_machinery::{field, fields, labels};
use mxjob_store::Revision;
use serde_json::Value;

use crate::error::ApiError;
use crate::kind::Kind;
use crate::request::Query;

/// Options of list, watch and deletecollection.
#[derive(Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) labels: labels::Selector,
    pub(crate) fields: fields::Selector,
    /// Page size; 0 for no limit.
    pub(crate) limit: usize,
    /// Continue token as sent.
    pub(crate) continue_token: String,
    /// `resourceVersion` as sent; `None` where absent or empty.
    pub(crate) resource_version: Option<Revision>,
    pub(crate) version_match: Option<VersionMatch>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    /// The name in the path, if it has one (the deprecated `/watch/` paths).
    pub(crate) name: Option<String>,
}

/// The meaning of a list's `resourceVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    /// Exactly at that revision.
    Exact,
    /// At that revision or later.
    NotOlderThan,
}

/// The longest manager name (upstream's limit, in bytes).
const FIELD_MANAGER_MAX: usize = 128;

impl ListOptions {
    /// Reads the options for a kind.
    ///
    /// # Errors
    /// 400 for unparsable values, 422 for invalid combinations, 500 for a resource version that is
    /// not a number (as upstream does).
    pub(crate) fn parse(query: &Query, kind: &Kind, watch: bool) -> Result<Self, ApiError> {
        let limit = integer(query, "limit")?.unwrap_or(0);
        let timeout = integer(query, "timeoutSeconds")?;
        let labels = labels::Selector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let fields = fields::Selector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        for requirement in fields.requirements() {
            let name = requirement.field.as_str();
            let common =
                name == "metadata.name" || (kind.namespaced && name == "metadata.namespace");
            if !common && !kind.strategy.is_selectable(name) {
                return Err(ApiError::bad_request(format!("field label not supported: {name}")));
            }
        }
        let options = Self {
            labels,
            fields,
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token: query.get("continue").unwrap_or_default().to_owned(),
            version_match: version_match(query)?,
            timeout_seconds: timeout
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents")),
            resource_version: None,
            name: None,
        };
        options.check(query, watch)?;
        let resource_version = resource_version(query.get("resourceVersion").unwrap_or_default())?;
        Ok(Self { resource_version, ..options })
    }

    fn check(&self, query: &Query, watch: bool) -> Result<(), ApiError> {
        let mut errors = field::Errors::default();
        let version_given = query.get("resourceVersion").is_some_and(|version| !version.is_empty());
        let forbid = |errors: &mut field::Errors, detail: &str| {
            errors.push(field::Error::forbidden(&field::Path::new("resourceVersionMatch"), detail));
        };
        if watch {
            if self.initial_events.is_some()
                && self.version_match != Some(VersionMatch::NotOlderThan)
            {
                forbid(
                    &mut errors,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            if self.version_match.is_some() && self.initial_events.is_none() {
                forbid(
                    &mut errors,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            if self.version_match == Some(VersionMatch::Exact) {
                let path = field::Path::new("resourceVersionMatch");
                errors.push(field::Error::not_supported(&path, "Exact", &["NotOlderThan"]));
            }
        } else {
            if self.version_match.is_some() && !version_given {
                forbid(
                    &mut errors,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if self.version_match == Some(VersionMatch::Exact)
                && query.get("resourceVersion") == Some("0")
            {
                forbid(
                    &mut errors,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
        if self.version_match.is_some() && !self.continue_token.is_empty() {
            forbid(&mut errors, "resourceVersionMatch is forbidden when continue is provided");
        }
        if !watch && self.initial_events.is_some() {
            errors.push(field::Error::forbidden(
                &field::Path::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for list",
            ));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::invalid_as("ListOptions", "meta.k8s.io", "", &errors))
        }
    }

    /// Whether every object is selected, so that bytes need not be parsed.
    #[must_use]
    pub(crate) fn selects_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    /// The only name that can be selected, if there is one.
    #[must_use]
    pub(crate) fn single_name(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.fields.exact("metadata.name"))
    }

    /// Whether an object is selected.
    #[must_use]
    pub(crate) fn selects(&self, kind: &Kind, object: &Value) -> bool {
        let meta = crate::document::metadata(object);
        let labels = meta.and_then(|meta| meta.get("labels")).and_then(Value::as_object);
        self.name.as_deref().is_none_or(|name| name == crate::document::meta_str(object, "name"))
            && self
                .labels
                .matches(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
            && self.fields.matches(|field| match field {
                "metadata.name" => Some(crate::document::meta_str(object, "name").to_owned()),
                "metadata.namespace" => {
                    Some(crate::document::meta_str(object, "namespace").to_owned())
                }
                other => kind.strategy.selectable(object, other),
            })
    }
}

/// Reads a resource version; absent and empty are the same.
///
/// # Errors
/// 500 with upstream's message if it is not an unsigned number.
pub(crate) fn resource_version(text: &str) -> Result<Option<Revision>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<u64>().map(|version| Some(Revision::from(version))).map_err(|_| {
        ApiError::unclassified(format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })
}

fn version_match(query: &Query) -> Result<Option<VersionMatch>, ApiError> {
    match query.get("resourceVersionMatch").unwrap_or_default() {
        "" => Ok(None),
        "Exact" => Ok(Some(VersionMatch::Exact)),
        "NotOlderThan" => Ok(Some(VersionMatch::NotOlderThan)),
        other => {
            let error = field::Error::not_supported(
                &field::Path::new("resourceVersionMatch"),
                other,
                &["Exact", "NotOlderThan", ""],
            );
            Err(ApiError::invalid_as(
                "ListOptions",
                "meta.k8s.io",
                "",
                &field::Errors::from(vec![error]),
            ))
        }
    }
}

/// A signed integer parameter.
///
/// # Errors
/// 400 with upstream's message.
pub(crate) fn integer(query: &Query, name: &str) -> Result<Option<i64>, ApiError> {
    match query.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
        }),
    }
}

/// What to do with unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a `Warning` header (the default).
    Warn,
    /// Refuse the request with 400.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug)]
pub(crate) struct WriteOptions {
    /// `dryRun=All`.
    pub(crate) dry_run: bool,
    /// The manager's name in `managedFields`.
    pub(crate) manager: String,
    /// Whether the query has the manager's name.
    pub(crate) manager_given: bool,
    /// What to do with unknown fields.
    pub(crate) field_validation: FieldValidation,
    /// `force` of server-side apply.
    pub(crate) force: Option<bool>,
    /// Whether this is a server-side apply.
    pub(crate) applying: bool,
}

impl WriteOptions {
    /// Reads the options; messages name them as `options_kind` (`CreateOptions`, …).
    ///
    /// # Errors
    /// 422 for an invalid value.
    pub(crate) fn parse(
        query: &Query,
        user_agent: &str,
        options_kind: &str,
    ) -> Result<Self, ApiError> {
        let mut errors = field::Errors::default();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let manager = query.get("fieldManager").unwrap_or_default();
        if manager.len() > FIELD_MANAGER_MAX {
            errors
                .push(field::Error::too_long(&field::Path::new("fieldManager"), FIELD_MANAGER_MAX));
        }
        let field_validation = match query.get("fieldValidation").unwrap_or_default() {
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                errors.push(field::Error::not_supported(
                    &field::Path::new("fieldValidation"),
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        let force = match query.get("force") {
            None | Some("") => None,
            Some(text) => Some(text.parse::<bool>().unwrap_or(text == "1")),
        };
        if !errors.is_empty() {
            return Err(ApiError::invalid_as(options_kind, "meta.k8s.io", "", &errors));
        }
        let given = !manager.is_empty();
        let manager = if given { manager.to_owned() } else { manager_of(user_agent) };
        Ok(Self {
            dry_run,
            manager,
            manager_given: given,
            field_validation,
            force,
            applying: false,
        })
    }
}

impl WriteOptions {
    /// The same for a server-side apply, which maintains managed fields itself.
    #[must_use]
    pub(crate) fn applying(&self) -> Self {
        Self { applying: true, manager: self.manager.clone(), ..*self }
    }
}

/// Reads `dryRun` values and adds errors to `errors`; true for `All`. An empty value is invalid, as
/// upstream.
pub(crate) fn dry_run<'a>(
    values: impl Iterator<Item = &'a str>,
    errors: &mut field::Errors,
) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        let shown = field::BadValue::list(&values);
        errors.push(field::Error::not_supported(&field::Path::new("dryRun"), shown, &["All"]));
    }
    !values.is_empty()
}

/// The manager of a request without `fieldManager`: the user agent up to its first `/`, truncated
/// as upstream does.
fn manager_of(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(FIELD_MANAGER_MAX).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
