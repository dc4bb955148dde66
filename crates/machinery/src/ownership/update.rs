//! Ownership on create, replace and patch: who writes a field owns it.

use serde_json::{Map, Value};

use super::{
    Options,
    compare::{Comparison, compare},
    managers::{self, Holding, Identity, Managers, Operation},
};

/// Sets `metadata.managedFields` of `new`, which is written over `live` (`None` on create, or an
/// object without uid that has the empty structs which objects of a typed kind are born with, so
/// that `spec` itself is nobody's).
///
/// Pass the object as submitted, even where parts of it will not be stored: upstream counts
/// metadata in a status update towards ownership although it drops it. Fields that changed become
/// the manager's and leave all others, fields that are gone leave everybody, and the entry's time
/// moves only if it took a field. An update that changes nothing keeps the entries of `live` to the
/// letter, whether the body carries them or not. A body may set entries of its own, and `[{}]`
/// drops them all; on an existing object without entries none are started.
pub fn update(live: Option<&Value>, new: &mut Value, options: &Options<'_>) {
    let submitted = managers::take_field(new);
    let current = live.and_then(managers::field);
    let empty = Value::Object(Map::new());
    let comparison = compare(live.unwrap_or(&empty), new, options.shape).without(options.ignored);

    let mut managers = match starting_entries(current, submitted.as_ref(), options) {
        Start::Reset => Managers::default(),
        Start::Live => {
            // What the comparison sees of server-set fields is nobody's.
            if changes_nothing(&comparison) {
                managers::put_field(new, current.cloned());
                return;
            }
            Managers::decode(current).unwrap_or_default()
        }
        Start::Submitted(managers) => managers,
    };
    if managers.is_empty() && managers::exists(live) {
        return;
    }
    take_over(&mut managers, &comparison, Operation::Update, options.manager, options);
    managers.cap();
    managers::put_field(new, managers.encode());
}

enum Start {
    /// Those of the live object.
    Live,
    /// Those of the body, which differ.
    Submitted(Managers),
    /// None: the body asks for it.
    Reset,
}

fn starting_entries(
    current: Option<&Value>,
    submitted: Option<&Value>,
    options: &Options<'_>,
) -> Start {
    // A subresource cannot set them.
    if options.subresource.is_some() {
        return Start::Live;
    }
    if let Some(Value::Array(entries)) = submitted
        && let [Value::Object(only)] = entries.as_slice()
        && only.is_empty()
    {
        return Start::Reset;
    }
    match Managers::decode(submitted) {
        Some(managers) if !managers.is_empty() && submitted != current => {
            if Managers::decode(current).as_ref() == Some(&managers) {
                Start::Live
            } else {
                Start::Submitted(managers)
            }
        }
        _ => Start::Live,
    }
}

fn changes_nothing(comparison: &Comparison) -> bool {
    managers::ownable(&comparison.added).is_empty()
        && managers::ownable(&comparison.modified).is_empty()
        && managers::ownable(&comparison.removed).is_empty()
}

/// Gives the written fields to a manager, takes them and the removed ones from all.
pub(super) fn take_over(
    managers: &mut Managers,
    comparison: &Comparison,
    operation: Operation,
    manager: &str,
    options: &Options<'_>,
) {
    let written = comparison.written();
    if !comparison.is_empty() {
        for holding in managers.0.values_mut() {
            holding.set = holding.set.difference(&written).difference(&comparison.removed);
        }
    }
    let taken = managers::ownable(&written);
    if !taken.is_empty() {
        let identity = Identity::new(operation, manager, options.api_version, options.subresource);
        let holding = managers.0.entry(identity).or_insert_with(|| Holding {
            api_version: options.api_version.to_owned(),
            time: None,
            set: Default::default(),
        });
        holding.set = std::mem::take(&mut holding.set).union(&taken);
        holding.time = Some(managers::time_text(options.now));
    }
    managers.drop_empty();
}
