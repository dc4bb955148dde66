//! The kinds that CustomResourceDefinitions add to a server.
//!
//! ```text
//!  write of a definition ─▶ names, conditions ─▶ store, if they still hold ─▶ refresh ─▶ rows in the registry
//! ```
//!
//! [`Definitions::refresh`] reads the stored definitions at start and after each commit that
//! changes one, before the writer gets the answer: the kind can be used with the next request.
//!
//! A row of the registry lives as long as the program, since [`Kind`] is `'static` everywhere. It
//! is small (names, verbs and columns), made once for each content, and reused when a definition is
//! recreated. The large part, schema and rules, is in the row's strategy and freed with the
//! definition.

mod custom;
mod names;
mod rules;
mod shape;

use std::collections::{BTreeMap, HashMap};

use mxjob_machinery::json::{list, text};
use mxjob_store::{ListOptions, Revision, Store};
use parking_lot::Mutex;
use serde_json::Value;

use crate::document;
use crate::kind::{AGE, CUSTOM, NAME, STATUS_ONLY};
use crate::kind::{Cell, Column, Conventions, Kind};
use crate::registry::Registry;
use custom::{Custom, Version};

pub(crate) use names::{derive_status, unaccepted};
pub(crate) use rules::compilation_faults;

/// Where definitions are stored.
pub(crate) const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// The definitions of a server, as they are served.
#[derive(Debug, Default)]
pub(crate) struct Definitions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Every row ever made, by its content.
    rows: HashMap<String, Row>,
    /// The rows of each definition, and the revision at which it was read.
    served: BTreeMap<String, (Revision, Vec<Row>)>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    kind: &'static Kind,
    strategy: &'static Custom,
}

/// Parts of a definition that this server does not support.
pub(crate) fn warnings(definition: &Value) -> Vec<String> {
    let scales = |version: &&Value| {
        version.pointer("/subresources/scale").is_some_and(|scale| !scale.is_null())
    };
    let versions = list(definition, "/spec/versions").iter().filter(scales);
    versions
        .map(|version| {
            let name = text(version, "/name");
            format!("this server has no scale subresources, so version {name} is served without")
        })
        .collect()
}

// === impl Definitions ===

impl Definitions {
    /// Serves the kinds of the stored definitions.
    pub(crate) fn refresh(&self, store: &Store, registry: &Registry) {
        // Read under the lock, so that the last caller serves the newest state.
        let mut state = self.0.lock();
        let Ok(page) = store.list(PREFIX, &ListOptions::default()) else { return };
        let mut served = BTreeMap::new();
        for entry in page.entries {
            let name = entry.key.strip_prefix(PREFIX).unwrap_or_default().to_owned();
            let rows = match state.served.remove(&name) {
                Some((revision, rows)) if revision == entry.revision => rows,
                _ => state.rows_of(&document::decode(&entry.value), registry),
            };
            served.insert(name, (entry.revision, rows));
        }
        // The remaining rows are those of deleted definitions.
        for row in std::mem::replace(&mut state.served, served).values().flat_map(|(_, rows)| rows)
        {
            row.strategy.forget();
        }
        let mut rows: Vec<&'static Kind> =
            state.served.values().flat_map(|(_, rows)| rows).map(|row| row.kind).collect();
        // Groups by name; of a group's versions the most mature first, as clients prefer them.
        rows.sort_by_cached_key(|kind| (kind.group, maturity(kind.version)));
        registry.replace(&rows);
    }
}

impl State {
    /// The rows of a definition; none before it is established.
    fn rows_of(&mut self, definition: &Value, registry: &Registry) -> Vec<Row> {
        let (group, plural) =
            (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
        if !names::is_established(definition) || registry.is_built_in(group, plural) {
            return Vec::new();
        }
        list(definition, "/spec/versions")
            .iter()
            .filter(|version| version.get("served") == Some(&Value::Bool(true)))
            .map(|version| self.row(definition, version))
            .collect()
    }

    fn row(&mut self, definition: &Value, version: &Value) -> Row {
        let names = definition.pointer("/status/acceptedNames").unwrap_or(&Value::Null);
        let columns = version.get("additionalPrinterColumns").unwrap_or(&Value::Null);
        let content = serde_json::json!([
            text(definition, "/spec/group"),
            text(definition, "/spec/scope"),
            text(version, "/name"),
            names,
            columns,
            has_status(version),
        ]);
        let row = *self
            .rows
            .entry(content.to_string())
            .or_insert_with(|| make(definition, names, version));
        row.strategy.become_version(Version::read(definition, version));
        row
    }
}

fn has_status(version: &Value) -> bool {
    version.pointer("/subresources/status").is_some_and(|status| !status.is_null())
}

/// Makes a row, which is never freed.
fn make(definition: &Value, names: &Value, version: &Value) -> Row {
    let strategy: &'static Custom = Box::leak(Box::default());
    let words = |pointer: &str| {
        let words: Vec<&'static str> =
            list(names, pointer).iter().filter_map(Value::as_str).map(kept).collect();
        &*words.leak()
    };
    let kind = Kind {
        version: kept(text(version, "/name")),
        short_names: words("/shortNames"),
        categories: words("/categories"),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
        verbs: CUSTOM,
        subresources: if has_status(version) { STATUS_ONLY } else { &[] },
        columns: columns(version).leak(),
        conventions: Conventions::CUSTOM,
        unconditional_update: false,
        strategy,
        ..Kind::new(
            kept(text(definition, "/spec/group")),
            kept(text(names, "/kind")),
            kept(text(names, "/plural")),
            kept(text(names, "/singular")),
        )
    };
    Row { kind: Box::leak(Box::new(kind)), strategy }
}

fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn columns(version: &Value) -> Vec<Column> {
    let given = list(version, "/additionalPrinterColumns");
    if given.is_empty() {
        return vec![NAME, AGE];
    }
    let column = |column: &Value| {
        let path = text(column, "/jsonPath");
        let description = match text(column, "/description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            given => given.to_owned(),
        };
        Column {
            name: kept(text(column, "/name")),
            kind: kept(text(column, "/type")),
            description: kept(&description),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            cell: Cell::Path(kept(path)),
        }
    };
    std::iter::once(NAME).chain(given.iter().map(column)).collect()
}

/// Orders versions as Kubernetes prefers them: `v2`, `v1`, `v2beta1`, `v1alpha1`, and then
/// everything else by name.
fn maturity(version: &str) -> (u8, std::cmp::Reverse<(u64, u64)>, &str) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = rest.split_at(end);
        let (stage, minor) = match rest {
            "" => (0, "0"),
            rest => rest
                .strip_prefix("beta")
                .map(|minor| (1, minor))
                .or_else(|| rest.strip_prefix("alpha").map(|minor| (2, minor)))?,
        };
        Some((stage, (major.parse().ok()?, minor.parse().ok()?)))
    };
    match parse() {
        Some((stage, numbers)) => (stage, std::cmp::Reverse(numbers), ""),
        None => (3, std::cmp::Reverse((0, 0)), version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_mature_version_comes_first() {
        let mut versions =
            ["v1alpha1", "foo1", "v1", "v2beta1", "v10", "v2", "v1beta2", "v1beta1", "bar"];
        versions.sort_by_key(|version| maturity(version));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "bar", "foo1"]
        );
    }
}
