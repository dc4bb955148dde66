//! The entries of `metadata.managedFields`: reading, writing, order, and the cap on their number.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::set::Set;

/// Upstream's limit on entries of operation `Update`.
const MAX_UPDATE_MANAGERS: usize = 10;
/// The manager that the oldest of them are merged into.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// Fields nobody owns, since they name the object or the server sets them.
static NEVER_OWNED: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "deletionGracePeriodSeconds"],
        &["metadata", "deletionTimestamp"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
    ])
});

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// The owner of fields: the part of an entry that identifies it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) operation: Operation,
    pub(super) manager: String,
    /// Empty for appliers, who keep their entry when they change the version they apply in.
    pub(super) api_version: String,
    /// `None` for the object itself.
    pub(super) subresource: Option<String>,
}

/// What is owned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holding {
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) set: Set,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers(pub(super) BTreeMap<Identity, Holding>);

/// The set without what nobody owns.
pub(super) fn ownable(set: &Set) -> Set {
    set.difference(&NEVER_OWNED)
}

/// What nobody owns, for those who must not remove it.
pub(super) fn never_owned() -> &'static Set {
    &NEVER_OWNED
}

/// A time as entries carry it.
pub(super) fn time_text(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metadata.managedFields` of an object.
pub(super) fn field(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Whether the object is stored already: only then has it a uid.
pub(super) fn exists(live: Option<&Value>) -> bool {
    live.and_then(|live| live.get("metadata")?.get("uid")?.as_str())
        .is_some_and(|uid| !uid.is_empty())
}

/// Takes `metadata.managedFields` out of an object.
pub(super) fn take_field(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// Puts `metadata.managedFields` into an object, or takes it out if there is nothing to say.
pub(super) fn put_field(object: &mut Value, entries: Option<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    let meta = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(meta) = meta.as_object_mut() else { return };
    match entries {
        Some(entries) => {
            meta.insert("managedFields".to_owned(), entries);
        }
        None => {
            meta.remove("managedFields");
        }
    }
}

/// Whether two objects are equal except for the times of their managed fields: a write that would
/// change nothing but those need not be made.
pub fn same_but_for_times(a: &Value, b: &Value) -> bool {
    let entries = |object| field(object).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (of_a, of_b) = (entries(a), entries(b));
    of_a.len() == of_b.len()
        && of_a.iter().zip(of_b).all(|(a, b)| same_without(Some(a), Some(b), "time"))
        && same_without(Some(a), Some(b), "metadata")
        && same_without(a.get("metadata"), b.get("metadata"), "managedFields")
}

/// Whether two maps are the same but for one entry; what is no map is compared as it is.
fn same_without(a: Option<&Value>, b: Option<&Value>, but: &str) -> bool {
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut left = a.iter().filter(|(key, _)| *key != but);
            let mut right = b.iter().filter(|(key, _)| *key != but);
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return true,
                    (Some((key_a, a)), Some((key_b, b))) if key_a == key_b && a == b => {}
                    _ => return false,
                }
            }
        }
        (a, b) => a == b,
    }
}

// === impl Managers ===

impl Managers {
    /// Reads entries; `None` if they are not well formed.
    pub(super) fn decode(entries: Option<&Value>) -> Option<Self> {
        let entries = match entries {
            None | Some(Value::Null) => return Some(Self::default()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return None,
        };
        let mut managers = BTreeMap::new();
        for entry in entries {
            let text =
                |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let operation = match entry.get("operation").and_then(Value::as_str) {
                Some("Apply") => Operation::Apply,
                Some("Update") => Operation::Update,
                _ => return None,
            };
            let api_version = text("apiVersion");
            let set = match entry.get("fieldsV1") {
                None | Some(Value::Null) => Set::new(),
                Some(fields) => Set::from_fields_v1(fields).ok()?,
            };
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            let subresource = text("subresource");
            let subresource = Some(&*subresource).filter(|name| !name.is_empty());
            let identity = Identity::new(operation, &text("manager"), &api_version, subresource);
            managers.insert(identity, Holding { api_version, time, set });
        }
        Some(Self(managers))
    }

    /// Writes the entries in upstream's order; `None` if there are none.
    pub(super) fn encode(&self) -> Option<Value> {
        let mut entries: Vec<(&Identity, &Holding)> = self.0.iter().collect();
        entries.sort_by(|(a, held_a), (b, held_b)| {
            (a.operation, &held_a.time, &a.manager, &held_a.api_version, &a.subresource).cmp(&(
                b.operation,
                &held_b.time,
                &b.manager,
                &held_b.api_version,
                &b.subresource,
            ))
        });
        let encoded: Vec<Value> =
            entries.into_iter().map(|(identity, holding)| identity.encode(holding)).collect();
        (!encoded.is_empty()).then_some(Value::Array(encoded))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|_, holding| !holding.set.is_empty());
    }

    /// Merges the oldest updaters into one while there are too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, Identity)> = self
            .0
            .iter()
            .filter(|(identity, _)| identity.operation == Operation::Update)
            .map(|(identity, holding)| (holding.time.clone(), identity.clone()))
            .collect();
        let mut count = updaters.len();
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        updaters.sort();
        // Sets are merged within a version of the API only, since fields are named in one.
        let mut first_of_version: BTreeMap<String, Identity> = BTreeMap::new();
        for (time, identity) in updaters {
            if count <= MAX_UPDATE_MANAGERS {
                break;
            }
            let version = identity.api_version.clone();
            let Some(first) = first_of_version.get(&version) else {
                first_of_version.insert(version, identity);
                continue;
            };
            let bucket = Identity::new(Operation::Update, ANCIENT_CHANGES, &version, None);
            if !self.0.contains_key(&bucket)
                && let Some(holding) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), holding);
            }
            if identity != bucket
                && let Some(merged) = self.0.remove(&identity)
                && let Some(holding) = self.0.get_mut(&bucket)
            {
                holding.set = std::mem::take(&mut holding.set).union(&merged.set);
                holding.time = time;
                count -= 1;
            }
        }
    }
}

// === impl Identity ===

impl Identity {
    pub(super) fn new(
        operation: Operation,
        manager: &str,
        api_version: &str,
        subresource: Option<&str>,
    ) -> Self {
        let api_version = match operation {
            Operation::Apply => String::new(),
            Operation::Update => api_version.to_owned(),
        };
        Self {
            operation,
            manager: manager.to_owned(),
            api_version,
            subresource: subresource.map(str::to_owned),
        }
    }

    fn encode(&self, holding: &Holding) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = Map::new();
        let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        put("apiVersion", holding.api_version.clone().into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", holding.set.to_fields_v1());
        put("manager", self.manager.clone().into());
        put("operation", operation.into());
        if let Some(subresource) = &self.subresource {
            put("subresource", subresource.clone().into());
        }
        if let Some(time) = &holding.time {
            put("time", time.clone().into());
        }
        Value::Object(entry)
    }
}
