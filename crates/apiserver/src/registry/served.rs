//! The kinds that one server serves now, built in and defined, with the documents about them.

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use serde_json::{Value, json};

use super::{Kind, built_in};
use crate::{discovery, openapi};

/// The kinds that a server serves: a cheap handle on the current [`Served`].
#[derive(Debug, Clone)]
pub struct Registry {
    /// Whether MXJobs are built in; otherwise they are served once they are defined.
    mxjobs: bool,
    /// Locked only to copy or replace the pointer.
    present: Arc<RwLock<Arc<Served>>>,
}

/// The kinds that a server serves at one moment, and the documents about them, which are made when
/// they are first requested.
#[derive(Debug, Default)]
pub struct Served {
    rows: Vec<Arc<Kind>>,
    discovery: OnceLock<discovery::Documents>,
    openapi: openapi::Documents,
}

// === impl Registry ===

impl Registry {
    /// The built-in kinds, MXJobs among them or not.
    #[must_use]
    pub fn new(mxjobs: bool) -> Self {
        let registry = Self { mxjobs, present: Arc::default() };
        registry.replace(Vec::new());
        registry
    }

    /// Whether MXJobs are built in.
    #[must_use]
    pub fn has_mxjobs(&self) -> bool {
        self.mxjobs
    }

    /// The built-in kinds of this server.
    fn built_in(&self) -> impl Iterator<Item = &'static Arc<Kind>> + '_ {
        built_in().iter().filter(|kind| self.mxjobs || !kind.is_optional)
    }

    /// Whether a resource is built in, so that definitions of it have no effect.
    pub(crate) fn is_built_in(&self, group: &str, plural: &str) -> bool {
        self.built_in().any(|kind| kind.group == group && kind.plural == plural)
    }

    /// The names of a group's built-in kinds, each in the form of a definition's `acceptedNames`.
    pub(crate) fn built_in_names(&self, group: &str) -> Vec<Value> {
        let names = |kind: &Arc<Kind>| {
            json!({
                "plural": kind.plural, "singular": kind.singular, "shortNames": kind.short_names,
                "kind": kind.kind, "listKind": kind.list_kind(),
            })
        };
        self.built_in().filter(|kind| kind.group == group).map(names).collect()
    }

    /// The kinds that are served now.
    #[must_use]
    pub fn served(&self) -> Arc<Served> {
        Arc::clone(&self.present.read())
    }

    /// Serves these and the built-in kinds. Requests that have begun keep the kinds they began
    /// with.
    pub(crate) fn replace(&self, defined: Vec<Arc<Kind>>) {
        let rows = self.built_in().cloned().chain(defined).collect();
        let served = Arc::new(Served { rows, ..Served::default() });
        *self.present.write() = served;
    }
}

// === impl Served ===

impl Served {
    /// All kinds, the built-in ones first.
    #[must_use]
    pub fn kinds(&self) -> &[Arc<Kind>] {
        &self.rows
    }

    /// Every resource once, however many groups and versions serve it.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Kind>> {
        let same = |a: &Kind, b: &Kind| a.plural == b.plural && a.group == b.group;
        let is_first = move |at: usize, kind: &Kind| {
            self.rows.iter().take(at).all(|earlier| !same(earlier, kind))
        };
        self.rows
            .iter()
            .enumerate()
            .filter(move |(at, kind)| kind.strategy.stored_as().is_none() && is_first(*at, kind))
            .map(|(_, kind)| kind)
    }

    /// The kind served under a path's group, version and resource.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.rows.iter().find(|kind| kind.is_resource(group, version, plural))
    }

    /// The kind that an object or an owner reference names. A version that is no longer served
    /// stands for another one of a custom resource, since all versions have the same objects.
    #[must_use]
    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let of_name = || self.rows.iter().filter(|row| row.kind == kind);
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        of_name().find(|row| row.api_version() == api_version).or_else(|| {
            of_name().find(|row| row.conventions.versions_are_equivalent && row.group == group)
        })
    }

    /// Whether a path belongs to the built-in kinds, so that an unknown resource there is an API
    /// error. Everywhere else it is an unknown page, as upstream.
    pub(crate) fn is_routed(&self, path: &str) -> bool {
        if path.starts_with("/api/") {
            return true;
        }
        let group = path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next());
        group.is_some_and(|group| {
            self.kinds().iter().any(|kind| kind.is_typed() && kind.group == group)
        })
    }

    /// The discovery documents.
    pub(crate) fn discovery(&self) -> &discovery::Documents {
        self.discovery.get_or_init(|| discovery::Documents::of(&self.rows))
    }

    /// The OpenAPI documents.
    pub(crate) fn openapi(&self) -> &openapi::Documents {
        &self.openapi
    }
}
