//! The fields that have two places: flat in the spec, and nested under `runPolicy`.
//!
//! Both layouts are in use and count as the same field. Validation, the replace rule and migration
//! share this one list.

use mxjob_machinery::field::Path;
use serde_json::Value;

/// One field with two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The path from the spec, or from `runPolicy`, to the field.
    names: &'static [&'static str],
    /// Whether a replace may change it.
    pub is_replaceable: bool,
}

/// All fields with two places. The members of `schedulingPolicy` are separate fields.
pub const FIELDS: [Field; 10] = [
    Field { names: &["activeDeadlineSeconds"], is_replaceable: true },
    Field { names: &["backoffLimit"], is_replaceable: false },
    Field { names: &["cleanPodPolicy"], is_replaceable: true },
    Field { names: &["ttlSecondsAfterFinished"], is_replaceable: true },
    Field { names: &["suspend"], is_replaceable: true },
    Field { names: &["schedulingPolicy", "minAvailable"], is_replaceable: false },
    Field { names: &["schedulingPolicy", "queue"], is_replaceable: false },
    Field { names: &["schedulingPolicy", "minResources"], is_replaceable: false },
    Field { names: &["schedulingPolicy", "priorityClass"], is_replaceable: false },
    Field { names: &["schedulingPolicy", "scheduleTimeoutSeconds"], is_replaceable: false },
];

/// The member of the spec that holds the nested layout.
pub const NESTED: &str = "runPolicy";

/// The member of either place that holds the gang scheduling fields.
pub const SCHEDULING: &str = "schedulingPolicy";

/// One of the two places of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the spec itself.
    Flat,
    /// Under `runPolicy`.
    Nested,
}

impl Place {
    /// Both, the nested one first: it takes precedence if an object that was never admitted has
    /// both.
    pub const ALL: [Self; 2] = [Self::Nested, Self::Flat];

    /// The path of the place.
    pub fn path(self) -> Path {
        match self {
            Self::Flat => Path::new("spec"),
            Self::Nested => Path::new("spec").child(NESTED),
        }
    }

    /// The object that holds the fields in this place.
    pub fn of(self, spec: &Value) -> Option<&Value> {
        match self {
            Self::Flat => Some(spec),
            Self::Nested => spec.get(NESTED),
        }
    }
}

impl Field {
    /// The field `schedulingPolicy.minAvailable`, with which validation limits the gang.
    pub fn min_available() -> Self {
        Self { names: &["schedulingPolicy", "minAvailable"], is_replaceable: false }
    }

    /// The field `suspend`.
    pub fn suspend() -> Self {
        Self { names: &["suspend"], is_replaceable: true }
    }

    /// The path from the place to the field.
    pub fn names(self) -> &'static [&'static str] {
        self.names
    }

    /// Its path in one place.
    pub fn path(self, place: Place) -> Path {
        self.names.iter().fold(place.path(), |path, name| path.child(name))
    }

    /// Its value in one place; null counts as absent.
    pub fn get(self, spec: &Value, place: Place) -> Option<&Value> {
        self.names
            .iter()
            .try_fold(place.of(spec)?, |value, name| value.get(*name))
            .filter(|value| !value.is_null())
    }

    /// Its value in either place, the nested one first.
    pub fn value(self, spec: &Value) -> Option<&Value> {
        Place::ALL.into_iter().find_map(|place| self.get(spec, place))
    }
}
