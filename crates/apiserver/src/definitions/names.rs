//! The status of a definition: whether its names are free, and whether it is served.
//!
//! Upstream has controllers for this. Here it is decided with the write, so that a definition is
//! established when its writer gets the answer.

use jiff::Timestamp;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::time::rfc3339;
use mxjob_store::{ListOptions, Store};
use serde_json::{Value, json};

use super::PREFIX;
use crate::document;
use crate::strategy::Cluster;

/// Names of resources share a space, and names of kinds another.
#[derive(Default)]
struct Taken {
    resources: Vec<String>,
    kinds: Vec<String>,
}

/// Whether a definition is served.
pub(super) fn is_established(definition: &Value) -> bool {
    is_true(definition, "Established")
}

fn is_true(definition: &Value, kind: &str) -> bool {
    list(definition, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

/// Accepts the names of a definition as far as they are free, and establishes it if all are.
pub(crate) fn derive_status(cluster: &dyn Cluster, now: Timestamp, definition: &mut Value) {
    let taken = taken(cluster, definition);
    let names = definition.pointer("/spec/names").cloned().unwrap_or_default();
    let (accepted, conflict) = accept(&names, &taken, definition);
    let now = rfc3339(now);
    let (reason, message) = match &conflict {
        None => ("NoConflicts", "no conflicts found".to_owned()),
        Some((reason, name)) => (*reason, format!("{name:?} is already in use")),
    };
    set(definition, "NamesAccepted", (conflict.is_none(), reason, &message), &now);
    // An established definition stays established.
    if !is_established(definition) {
        let established = if conflict.is_none() {
            (true, "InitialNamesAccepted", "the initial names have been accepted")
        } else {
            (false, "NotAccepted", "not all names are accepted")
        };
        set(definition, "Established", established, &now);
    }
    let versions = list(definition, "/spec/versions");
    let storage = versions.iter().find(|version| version["storage"] == true);
    let storage = storage.map(|version| text(version, "/name").to_owned()).unwrap_or_default();
    let mut stored = list(definition, "/status/storedVersions").to_vec();
    if !storage.is_empty() && !stored.iter().any(|version| *version == storage) {
        stored.push(storage.into());
    }
    definition["status"]["acceptedNames"] = accepted;
    definition["status"]["storedVersions"] = stored.into();
}

/// The definitions of a group whose names are not all accepted.
pub(crate) fn unaccepted(store: &Store, group: &str) -> Vec<String> {
    let waits = |definition: &Value| {
        text(definition, "/spec/group") == group && !is_true(definition, "NamesAccepted")
    };
    let all = stored(store).into_iter().filter(waits);
    all.map(|definition| document::meta_str(&definition, "name").to_owned()).collect()
}

fn stored(store: &Store) -> Vec<Value> {
    let page = store.list(PREFIX, &ListOptions::default()).map(|page| page.entries);
    page.unwrap_or_default().iter().map(|entry| document::decode(&entry.value)).collect()
}

/// The names of the other definitions and the built-in kinds of the group.
fn taken(cluster: &dyn Cluster, definition: &Value) -> Taken {
    let (own, group) = (document::meta_str(definition, "name"), text(definition, "/spec/group"));
    let mut taken = Taken::default();
    for other in stored(cluster.store()) {
        if text(&other, "/spec/group") != group || document::meta_str(&other, "name") == own {
            continue;
        }
        let names = other.pointer("/status/acceptedNames").unwrap_or(&Value::Null);
        taken.add(names);
    }
    for names in cluster.built_in_names(group) {
        taken.add(&names);
    }
    taken
}

impl Taken {
    fn add(&mut self, names: &Value) {
        let own = ["plural", "singular"].map(|name| text(names, &format!("/{name}")));
        let short = list(names, "/shortNames").iter().filter_map(Value::as_str);
        self.resources.extend(own.into_iter().chain(short).map(str::to_owned));
        let kinds = ["kind", "listKind"].map(|name| text(names, &format!("/{name}")).to_owned());
        self.kinds.extend(kinds);
    }
}

/// The accepted names, and the first name that is not. Names that others have keep their old value.
fn accept(
    names: &Value,
    taken: &Taken,
    definition: &Value,
) -> (Value, Option<(&'static str, String)>) {
    let before = definition.pointer("/status/acceptedNames").unwrap_or(&Value::Null);
    let mut accepted = names.clone();
    let mut conflict = None;
    for (name, reason, others) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let requested = match names.get(name) {
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(word)) => vec![word.as_str()],
            _ => Vec::new(),
        };
        let Some(other) =
            requested.into_iter().find(|word| others.iter().any(|other| other == word))
        else {
            continue;
        };
        conflict = conflict.or_else(|| Some((reason, other.to_owned())));
        let empty = if name == "shortNames" { json!([]) } else { json!("") };
        accepted[name] = before.get(name).cloned().unwrap_or(empty);
    }
    (accepted, conflict)
}

/// Sets a condition; its time moves when its status does.
fn set(
    definition: &mut Value,
    kind: &str,
    (status, reason, message): (bool, &str, &str),
    now: &str,
) {
    let status = if status { "True" } else { "False" };
    let mut conditions = list(definition, "/status/conditions").to_vec();
    let found = conditions.iter_mut().find(|condition| text(condition, "/type") == kind);
    let since = match &found {
        Some(condition) if text(condition, "/status") == status => {
            text(condition, "/lastTransitionTime").to_owned()
        }
        _ => now.to_owned(),
    };
    let condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    match found {
        Some(found) => *found = condition,
        None => conditions.push(condition),
    }
    definition["status"]["conditions"] = conditions.into();
}
