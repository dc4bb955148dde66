//! The parameters for rendering a response.

use crate::error::ApiError;
use crate::negotiate::Form;
use crate::request::Query;

/// Metadata of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListMeta {
    /// Revision of the snapshot.
    pub(crate) resource_version: String,
    /// Token for the next page; empty on the last.
    pub(crate) continue_token: String,
    /// Number of remaining items; `None` if it is not cheaply known.
    pub(crate) remaining: Option<usize>,
    /// `selfLink` of the collection, if the kind has them.
    pub(crate) self_link: Option<String>,
}

/// The parameters for rendering a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rendering {
    pub(crate) form: Form,
    pub(crate) include: IncludeObject,
    /// The time from which Tables compute ages.
    pub(crate) now: jiff::Timestamp,
    /// Whether the client accepts gzip.
    pub(crate) gzip: bool,
}

/// `includeObject`: the object in a Table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IncludeObject {
    /// The object's metadata (the default).
    #[default]
    Metadata,
    /// No object.
    None,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the parameter.
    ///
    /// # Errors
    /// 400 for an unknown value.
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject").unwrap_or_default() {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

impl ListMeta {
    /// Serializes it. Lists of custom resources have `continue` even if it is empty.
    pub(crate) fn to_json(&self, always_continue: bool) -> Vec<u8> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
            continue_token: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            remaining_item_count: Option<usize>,
            resource_version: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            self_link: Option<&'a str>,
        }
        let wire = Wire {
            continue_token: (always_continue || !self.continue_token.is_empty())
                .then_some(&self.continue_token),
            remaining_item_count: self.remaining,
            resource_version: &self.resource_version,
            self_link: self.self_link.as_deref(),
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}
