//! One request in a verb.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use mxjob_access::identity::Identity;
use mxjob_machinery::json;
use mxjob_machinery::names::ObjectName;
use mxjob_store::Entry;
use serde_json::Value;

use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::request::{Query, ResourcePath};
use crate::server::{Condition, Services};

/// One request on a resource, authenticated and authorized.
pub(crate) struct Context<'a> {
    pub(crate) services: &'a Arc<Services>,
    /// The caller.
    pub(crate) identity: &'a Identity,
    /// The kind as stored.
    pub(crate) kind: &'a Arc<Kind>,
    /// The requested kind; not the stored one where two groups serve the same objects.
    pub(crate) shown: &'a Arc<Kind>,
    pub(crate) path: ResourcePath<'a>,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) now: Timestamp,
    /// Texts for `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Context<'_> {
    /// Converts a stored object to the requested version.
    pub(crate) fn show_stored(&self, object: &mut Value) {
        if self.kind.strategy.converts() {
            self.kind.strategy.show_stored(object);
        }
    }

    /// The bytes to store for an object.
    pub(crate) fn encode(&self, object: &Value) -> mxjob_store::Value {
        if !self.kind.strategy.converts() {
            return document::encode(object);
        }
        let mut stored = object.clone();
        self.kind.strategy.to_stored(&mut stored);
        document::encode(&stored)
    }

    /// Whether an object that a write does not change is stored in another form, of an earlier
    /// version or schema. It is then stored again: so users migrate objects, as upstream.
    pub(crate) fn is_outdated(&self, entry: &Entry, object: &Value) -> bool {
        let strategy = &self.kind.strategy;
        if !strategy.converts() {
            return false;
        }
        let mut stored = object.clone();
        strategy.to_stored(&mut stored);
        !json::equal(&document::decode(&entry.value), &stored)
    }

    /// Adds the warnings of the kind, each once even if the write is tried again.
    pub(crate) fn warn(&mut self, object: &Value) {
        for warning in self.kind.strategy.warnings(object) {
            self.add_warning(warning);
        }
    }

    /// Adds a warning, once even if the write is tried again.
    pub(crate) fn add_warning(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Derives the status that depends on other objects.
    pub(crate) fn derive_status(&self, object: &mut Value) {
        self.kind.strategy.derive_status(&**self.services, self.now, object);
    }

    /// The condition for storing an object whose status depends on other objects: the status is
    /// still what it would be. None for other kinds, and for subresources, which set the status.
    pub(crate) fn condition(&self, object: &Value) -> Option<Condition> {
        let (strategy, now) = (Arc::clone(&self.kind.strategy), self.now);
        if !strategy.depends_on_others() || self.path.subresource.is_some() {
            return None;
        }
        let object = object.clone();
        Some(Box::new(move |services| {
            let mut again = object.clone();
            strategy.derive_status(services, now, &mut again);
            again == object
        }))
    }

    /// The name in the path for messages, which are upstream's: empty for a collection.
    pub(crate) fn name(&self) -> &str {
        self.path.name.map_or("", ObjectName::as_str)
    }

    /// The stored object that the path names.
    pub(crate) fn find(&self) -> Option<Entry> {
        self.services.store.get(&self.kind.key(self.path.namespace, self.path.name?))
    }

    /// The same.
    ///
    /// # Errors
    /// 404 where it does not exist.
    pub(crate) fn entry(&self) -> Result<Entry, ApiError> {
        self.find().ok_or_else(|| ApiError::not_found(self.kind, self.name()))
    }

    pub(crate) fn user_agent(&self) -> &str {
        self.headers
            .get(http::header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default()
    }
}
