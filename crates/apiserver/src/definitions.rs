//! The kinds that CustomResourceDefinitions add to a server.
//!
//! ```text
//!  write of a definition ─▶ names, conditions ─▶ store, if they still hold ─▶ refresh ─▶ rows in the registry
//! ```
//!
//! [`Definitions::refresh`] reads the stored definitions at start and after each commit that
//! changes one, before the writer gets the answer: the kind can be used with the next request.
//!
//! A row of the registry is freed when its definition is deleted or changed and no request uses it
//! any more. Watches may keep rows for long. So a row is reused as long as it exists and its names,
//! verbs and columns do not change: its strategy then gets the new schema and rules.

mod current;
mod custom;
mod names;
mod rules;
mod shape;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use mxjob_machinery::json::{list, text};
use mxjob_store::{ListOptions, Revision, Store};
use parking_lot::Mutex;
use serde_json::Value;

use crate::document;
use crate::kind::{AGE, CUSTOM, NAME, STATUS_ONLY};
use crate::kind::{Cell, Column, Conventions, Kind, Text};
use crate::registry::Registry;
use custom::{Custom, Version};

pub(crate) use names::{derive_status, unaccepted};
pub(crate) use rules::check_compilation;

/// Where definitions are stored.
pub(crate) const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// The definitions of a server, as they are served.
#[derive(Debug, Default)]
pub struct Definitions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Every row that is served or used by a request, by its content.
    rows: HashMap<String, (Weak<Kind>, Weak<Custom>)>,
    /// The rows of each definition, and the revision at which it was read.
    served: BTreeMap<String, (Revision, Vec<Row>)>,
}

#[derive(Debug)]
struct Row {
    kind: Arc<Kind>,
    strategy: Arc<Custom>,
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
    pub fn refresh(&self, store: &Store, registry: &Registry) {
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
            row.strategy.clear();
        }
        let rows = state.served.values().flat_map(|(_, rows)| rows);
        let mut kinds: Vec<Arc<Kind>> = rows.map(|row| Arc::clone(&row.kind)).collect();
        // Groups by name; of a group's versions the most mature first, as clients prefer them.
        kinds.sort_by(|a, b| {
            (&a.group, maturity(&a.version)).cmp(&(&b.group, maturity(&b.version)))
        });
        registry.replace(kinds);
        state.rows.retain(|_, (kind, _)| kind.strong_count() > 0);
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
        ])
        .to_string();
        let known =
            self.rows.get(&content).map(|(kind, strategy)| (kind.upgrade(), strategy.upgrade()));
        let row = match known {
            Some((Some(kind), Some(strategy))) => Row { kind, strategy },
            _ => make(definition, names, version),
        };
        self.rows.insert(content, (Arc::downgrade(&row.kind), Arc::downgrade(&row.strategy)));
        row.strategy.set_version(Version::read(definition, version));
        row
    }
}

fn has_status(version: &Value) -> bool {
    version.pointer("/subresources/status").is_some_and(|status| !status.is_null())
}

fn make(definition: &Value, names: &Value, version: &Value) -> Row {
    let strategy = Arc::<Custom>::default();
    let words = |pointer: &str| -> Vec<Text> {
        list(names, pointer).iter().filter_map(Value::as_str).map(owned).collect()
    };
    let kind = Kind {
        version: owned(text(version, "/name")),
        short_names: words("/shortNames"),
        categories: words("/categories"),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
        verbs: CUSTOM,
        subresources: if has_status(version) { STATUS_ONLY } else { &[] },
        columns: columns(version),
        conventions: Conventions::CUSTOM,
        unconditional_update: false,
        strategy: Arc::<Custom>::clone(&strategy),
        ..Kind::new(
            owned(text(definition, "/spec/group")),
            owned(text(names, "/kind")),
            owned(text(names, "/plural")),
            owned(text(names, "/singular")),
        )
    };
    Row { kind: Arc::new(kind), strategy }
}

fn owned(text: &str) -> Text {
    text.to_owned().into()
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
            name: owned(text(column, "/name")),
            kind: owned(text(column, "/type")),
            description: description.into(),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            cell: Cell::Path(owned(path)),
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
