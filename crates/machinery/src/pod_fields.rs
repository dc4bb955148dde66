//! What a node that runs containers as processes of its machine does with each field of a pod.
//!
//! A cluster's kubelet honours nearly all fields. This node does not, and a field that is ignored
//! silently is worse than one that is rejected. So each field has a row in one table, which decides
//! everywhere: which pods the API server rejects in front of such a node and for which it answers a
//! warning, the events of pods and jobs, `mxjob validate`, and the reference of the fields.
//!
//! ```
//! use mxjob_machinery::{field::Path, pod_fields};
//! use serde_json::json;
//!
//! let spec = json!({ "hostUsers": false, "runtimeClassName": "", "containers": [] });
//! let found = pod_fields::check(&spec, &Path::new("spec"));
//! assert_eq!(found.refused.len(), 1);
//! assert_eq!(found.refused[0].path.as_str(), "spec.hostUsers");
//! assert!(found.warned.is_empty());
//! ```

mod page;
mod row;
mod rows;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use serde_json::Value;

use crate::field::{Error, Errors, Path};
use crate::pod_spec::is_missing;
use crate::schema::Trail;
use crate::text;

pub use page::page;
pub use row::{Literal, Row, Values, Verdict};

/// The reason of events about fields that have no effect.
pub const FIELD_NOT_HONOURED: &str = "FieldNotHonoured";

/// The most warnings about one pod that are kept.
const MAX_WARNINGS: usize = 100;
/// The longest summary, in bytes. An event can have a message of one kilobyte.
const MAX_SUMMARY: usize = 900;

/// The fields of a pod that a node does not honour.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Fields for which the pod is rejected.
    pub refused: Errors,
    /// Fields that have no effect. A bounded number of them.
    pub warned: Vec<Warning>,
}

/// A field that is set and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the field is.
    pub path: Path,
    /// What happens instead.
    pub reason: &'static str,
}

/// A place of the table: a field with a row, or with fields that have rows.
#[derive(Default)]
struct Place {
    row: Option<&'static Row>,
    fields: BTreeMap<&'static str, Self>,
}

static TABLE: LazyLock<Place> = LazyLock::new(Place::table);

/// The fields in the spec of a pod that the node does not honour. `path` is where the spec is.
///
/// The spec may come from anyone: the walk is as deep as the table at most, and fields without a
/// row are passed over.
pub fn check(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::default();
    TABLE.visit_fields(spec, Trail::Start(path), &mut findings);
    findings
}

// === impl Findings ===

impl Findings {
    /// Whether all fields are honoured or make no difference.
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.warned.is_empty()
    }

    /// The fields without effect in one message for an event, which names as many as have room.
    pub fn summary(&self) -> Option<String> {
        let mut summary = String::new();
        for (index, warning) in self.warned.iter().enumerate() {
            let start = if index == 0 { "this node does not honour " } else { "; " };
            let part = format!("{start}{} ({})", warning.path, warning.reason);
            if index > 0 && summary.len() + part.len() > MAX_SUMMARY {
                let _ = write!(summary, "; and {} more fields", self.warned.len() - index);
                break;
            }
            summary = text::append(summary, part, MAX_SUMMARY);
        }
        (!summary.is_empty()).then_some(summary)
    }

    /// Adds the findings of another pod.
    pub fn append(&mut self, other: Self) {
        self.refused.append(other.refused);
        let free = MAX_WARNINGS.saturating_sub(self.warned.len());
        self.warned.extend(other.warned.into_iter().take(free));
    }

    fn add(&mut self, row: &'static Row, place: &Trail<'_>) {
        match row.verdict {
            Verdict::Honoured | Verdict::Harmless => {}
            Verdict::Warned => {
                if self.warned.len() < MAX_WARNINGS {
                    self.warned.push(Warning { path: place.path(), reason: row.reason });
                }
            }
            Verdict::Refused => {
                self.refused.push_with(|| Error::forbidden(&place.path(), row.reason));
            }
        }
    }
}

// === impl Warning ===

impl Warning {
    /// The warning without its path.
    pub fn message(&self) -> String {
        format!("not honoured by this node: {}", self.reason)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

// === impl Place ===

impl Place {
    fn table() -> Self {
        let mut table = Self::default();
        let rows = || rows::all().flat_map(|row| row.places().into_iter().map(move |at| (at, row)));
        for (place, row) in rows() {
            table.insert(&place, row);
        }
        for (mut place, row) in rows() {
            if let Some(first) = place.first_mut().filter(|first| **first == "containers") {
                *first = "initContainers";
                table.insert(&place, row);
            }
        }
        table
    }

    /// The first row of a place stays.
    fn insert(&mut self, place: &[&'static str], row: &'static Row) {
        match place.split_first() {
            Some((name, rest)) => self.fields.entry(name).or_default().insert(rest, row),
            None => _ = self.row.get_or_insert(row),
        }
    }

    /// The fields of an object.
    fn visit_fields(&self, object: &Value, place: Trail<'_>, findings: &mut Findings) {
        for (name, field) in object.as_object().into_iter().flatten() {
            let Some(known) = self.fields.get(name.as_str()).filter(|_| !is_missing(field)) else {
                continue;
            };
            let place = place.child(name);
            if let Some(row) = known.row {
                if row.selects(field, object) {
                    findings.add(row, &place);
                }
                continue;
            }
            match field.as_array() {
                Some(items) => {
                    for (index, item) in items.iter().enumerate() {
                        known.visit_fields(item, place.item(index), findings);
                    }
                }
                None => known.visit_fields(field, place, findings),
            }
        }
    }
}

#[cfg(test)]
mod tests;
