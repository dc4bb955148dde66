//! Server-side apply.

use std::fmt;

use serde_json::{Map, Value};

use super::{
    Options,
    compare::compare,
    managers::{self, Holding, Identity, Managers, Operation},
    merge::merge,
    set::{Path, Set},
    tree::{fields_of, remove, with_described},
    update::take_over,
};
use crate::{field, go, status, text};

/// The longest path in a message, in bytes.
const MAX_PATH: usize = 512;

/// Who owns what was there before anybody applied to an object that had no entries.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The configuration carries managed fields: a bad request.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsSet,
    /// Others own fields that it would change.
    #[error("{0}")]
    Conflicts(Conflicts),
}

/// Fields that others own, by owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

/// One field that another owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as upstream prints it: `"one"`, `"two" using kubeflow.org/v1`.
    pub manager: String,
    /// The field.
    pub path: Path,
}

/// [`super::apply`] without the rules for `kubectl`.
pub(super) fn apply(
    live: Option<&Value>,
    config: &Value,
    force: bool,
    options: &Options<'_>,
) -> Result<Value, ApplyError> {
    if managers::field(config).is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::ManagedFieldsSet);
    }
    let mut current = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let entries = managers::take_field(&mut current);
    let mut managers = Managers::decode(entries.as_ref()).unwrap_or_default();
    if managers.is_empty() && managers::exists(live) {
        let all =
            compare(&Value::Object(Map::new()), &current, options.shape).without(options.ignored);
        take_over(&mut managers, &all, Operation::Update, BEFORE_FIRST_APPLY, options);
    }

    let identity =
        Identity::new(Operation::Apply, options.manager, options.api_version, options.subresource);
    let last = managers.0.remove(&identity);
    let config_fields = fields_of(config, options.shape).recursive_difference(options.ignored);

    let mut merged = merge(&current, config, options.shape);
    managers::take_field(&mut merged);
    if let Some(last) = &last {
        prune(&mut merged, &last.set, &config_fields, &managers, options);
    }

    let comparison = compare(&current, &merged, options.shape).without(options.ignored);
    let written = comparison.written();
    if !force {
        let conflicts = conflicts(&managers, &written);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(Conflicts(conflicts)));
        }
    }
    for holding in managers.0.values_mut() {
        holding.set = holding.set.difference(&written).difference(&comparison.removed);
    }
    // The time tells when the applier last changed the object, so sharing alone does not move it.
    let time = if merged == current {
        last.and_then(|last| last.time)
    } else {
        Some(managers::time_text(options.now))
    };
    let set = managers::ownable(&config_fields);
    managers.0.insert(identity, Holding { api_version: options.api_version.to_owned(), time, set });
    managers.drop_empty();
    managers::put_field(&mut merged, managers.encode());
    Ok(merged)
}

/// Removes what the manager applied last time, leaves out now and nobody else owns.
fn prune(merged: &mut Value, last: &Set, now: &Set, others: &Managers, options: &Options<'_>) {
    let mut owned = now.clone().union(managers::never_owned());
    for holding in others.0.values() {
        owned = owned.union(&holding.set);
    }
    let removed =
        with_described(last, options.shape).difference(&with_described(&owned, options.shape));
    remove(merged, &removed, options.shape);
}

fn conflicts(managers: &Managers, written: &Set) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (identity, holding) in &managers.0 {
        for path in holding.set.intersection(written).paths() {
            found.push(Conflict { manager: identity.to_string(), path });
        }
    }
    found
}

/// As upstream prints a manager in a conflict.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go::quote(&self.manager))?;
        if let Some(subresource) = &self.subresource {
            write!(f, " with subresource {}", go::quote(subresource))?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

// === impl Conflicts ===

impl Conflicts {
    /// Each field with its owner.
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.0.iter()
    }

    /// Those that are not in the set.
    pub(super) fn without(self, allowed: &Set) -> Self {
        Self(self.0.into_iter().filter(|conflict| !allowed.contains(&conflict.path.0)).collect())
    }

    /// One cause per field, as a `Status` carries them, for at most [`field::Errors::MAX`] fields.
    pub fn causes(&self) -> Vec<status::Cause> {
        self.0
            .iter()
            .take(field::Errors::MAX)
            .map(|conflict| status::Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {}", conflict.manager),
                field: text::cut(&conflict.path, MAX_PATH),
            })
            .collect()
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Conflict { manager, path }] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut sorted: Vec<&Conflict> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.manager.cmp(&b.manager));
        let mut previous = None;
        for conflict in sorted.iter().take(field::Errors::MAX) {
            if previous != Some(&conflict.manager) {
                let newline = if previous.is_some() { "\n" } else { "" };
                write!(f, "{newline}conflicts with {}:", conflict.manager)?;
                previous = Some(&conflict.manager);
            }
            write!(f, "\n- {}", text::cut(&conflict.path, MAX_PATH))?;
        }
        match sorted.len().saturating_sub(field::Errors::MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}
