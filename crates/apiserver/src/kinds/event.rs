//! Events: what `kubectl get events` and `describe` select and show.
//!
//! Two groups serve the same events with different field names. The core group's form is stored.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::text;
use mxjob_machinery::names;
use serde_json::{Value, json};

use super::{default_to, rules};
use crate::kind::{Cell, Column, Kind, computed};
use crate::strategy::Strategy;

/// The columns, as upstream prints events.
pub(super) const COLUMNS: &[Column] = &[
    computed("Last Seen", 0, last_seen),
    computed("Type", 0, |event, _| text(event, "/type").into()),
    computed("Reason", 0, |event, _| text(event, "/reason").into()),
    computed("Object", 0, |event, _| {
        let kind = first_of(event, &["/involvedObject/kind", "/regarding/kind"]).to_lowercase();
        format!("{kind}/{}", first_of(event, &["/involvedObject/name", "/regarding/name"])).into()
    }),
    computed("Subobject", 1, |event, _| {
        first_of(event, &["/involvedObject/fieldPath", "/regarding/fieldPath"]).into()
    }),
    computed("Source", 1, |event, _| {
        let sources = [
            "/source/component",
            "/deprecatedSource/component",
            "/reportingComponent",
            "/reportingController",
        ];
        first_of(event, &sources).into()
    }),
    computed("Message", 0, |event, _| first_of(event, &["/message", "/note"]).trim().into()),
    computed("First Seen", 1, |event, now| {
        ago(first_of(event, &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]), now)
    }),
    computed("Count", 1, |event, _| {
        let counts = ["/series/count", "/count", "/deprecatedCount"];
        counts
            .iter()
            .find_map(|pointer| event.pointer(pointer))
            .cloned()
            .unwrap_or_else(|| 1.into())
    }),
    Column::new("Name", "string", "", 1, Cell::Path(Cow::Borrowed(".metadata.name"))),
];

fn last_seen(event: &Value, now: Timestamp) -> Value {
    let times = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/deprecatedFirstTimestamp",
    ];
    ago(first_of(event, &times), now)
}

fn first_of<'a>(event: &'a Value, pointers: &[&str]) -> &'a str {
    pointers
        .iter()
        .map(|pointer| text(event, pointer))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

fn ago(time: &str, now: Timestamp) -> Value {
    crate::table::age(time, now)
}

/// Fields of an event that may be selected by, with where they are.
const SELECTABLE: &[(&str, &str)] = &[
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.namespace", "/involvedObject/namespace"),
    ("involvedObject.name", "/involvedObject/name"),
    ("involvedObject.uid", "/involvedObject/uid"),
    ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
    ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
    ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
    ("reason", "/reason"),
    ("reportingComponent", "/reportingComponent"),
    ("source", "/source/component"),
    ("type", "/type"),
];

/// The rules of an event.
#[derive(Debug)]
pub(crate) struct Event;

/// Fields that an event with a time needs, and the most characters that each may have.
const NEEDED: &[(&str, usize)] =
    &[("reportingController", 0), ("reportingInstance", 128), ("action", 128), ("reason", 128)];
/// The most bytes of the message of such an event.
const MAX_MESSAGE: usize = 1024;

impl Event {
    /// The fields that Go's encoder writes in every event.
    fn complete(event: &mut Value) {
        for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
            default_to(event, field, Value::Null);
        }
        for field in ["involvedObject", "source"] {
            default_to(event, field, json!({}));
        }
        for field in OMITTED_BY_GROUPED.map(|(core, _)| core) {
            default_to(event, field, "");
        }
    }
}

impl Strategy for Event {
    fn prepare_create(&self, event: &mut Value) {
        Self::complete(event);
    }

    fn prepare_update(&self, _: &Value, event: &mut Value) {
        Self::complete(event);
    }

    /// Upstream's `legacyValidateEvent`.
    fn validate(&self, event: &Value) -> Errors {
        let mut errors = Errors::new();
        let (own, other) =
            (text(event, "/metadata/namespace"), text(event, "/involvedObject/namespace"));
        let is_new = !text(event, "/eventTime").is_empty();
        // Events about objects without a namespace are in one of these.
        let fits = match other {
            "" if is_new => matches!(own, "default" | "kube-system"),
            "" => own == "default",
            other => own == other,
        };
        if !fits {
            let path = Path::new("involvedObject").child("namespace");
            errors.push(Error::invalid(&path, other, "does not match event.namespace"));
        }
        if is_new {
            errors.append(new_event_errors(event));
        }
        errors
    }

    fn is_selectable(&self, field: &str) -> bool {
        SELECTABLE.iter().any(|(name, _)| *name == field)
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let (_, pointer) = SELECTABLE.iter().find(|(name, _)| *name == field)?;
        Some(text(object, pointer).to_owned())
    }
}

/// The rules of events with a time.
fn new_event_errors(event: &Value) -> Errors {
    let mut errors = Errors::new();
    for (field, limit) in NEEDED {
        // The core group calls the controller by another name.
        let stored =
            if *limit == 0 { "/reportingComponent".to_owned() } else { format!("/{field}") };
        let (value, path) = (text(event, &stored), Path::new(*field));
        if value.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if *limit == 0 {
            errors.append(rules::name_errors(value, &path, names::qualified_name));
        } else if value.len() > *limit {
            let detail = format!("can have at most {limit} characters");
            errors.push(Error::invalid(&path, "", detail));
        }
    }
    if text(event, "/message").len() > MAX_MESSAGE {
        let detail = format!("can have at most {MAX_MESSAGE} characters");
        errors.push(Error::invalid(&Path::new("message"), "", detail));
    }
    errors
}

/// The row of `events.k8s.io`.
pub(super) fn grouped() -> Kind {
    Kind {
        short_names: vec!["ev".into()],
        columns: COLUMNS.to_vec(),
        create_on_update: true,
        strategy: Arc::new(Grouped),
        ..Kind::new("events.k8s.io", "Event", "events", "event")
    }
}

/// Fields that `events.k8s.io` calls otherwise: its name, and the core group's.
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Fields that the core group always has, and `events.k8s.io` only where they are set: the core
/// group's name, and its.
const OMITTED_BY_GROUPED: [(&str, &str); 2] =
    [("reportingComponent", "reportingController"), ("reportingInstance", "reportingInstance")];

/// Events as `events.k8s.io` has them.
#[derive(Debug)]
struct Grouped;

impl Grouped {
    /// The core group's name of a field that may be selected by.
    fn core_field(field: &str) -> Option<String> {
        match field {
            "reason" | "type" => Some(field.to_owned()),
            "reportingController" => Some("reportingComponent".to_owned()),
            _ => Some(format!("involvedObject.{}", field.strip_prefix("regarding.")?)),
        }
    }
}

impl Strategy for Grouped {
    fn is_selectable(&self, field: &str) -> bool {
        Self::core_field(field).is_some_and(|field| Event.is_selectable(&field))
    }

    /// Selection looks at stored objects.
    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        Event.selectable(object, &Self::core_field(field)?)
    }

    fn stored_as(&self) -> Option<(&'static str, &'static str, &'static str)> {
        Some(("", "v1", "events"))
    }

    fn show_stored(&self, object: &mut Value) {
        rename(object, RENAMED.iter().map(|(own, core)| (*core, *own)), "events.k8s.io/v1");
        if let Some(map) = object.as_object_mut() {
            map.retain(|field, value| {
                *value != "" || OMITTED_BY_GROUPED.iter().all(|(_, own)| field != own)
            });
        }
    }

    fn to_stored(&self, object: &mut Value) {
        rename(object, RENAMED.iter().copied(), "v1");
    }
}

fn rename<'a>(object: &mut Value, names: impl Iterator<Item = (&'a str, &'a str)>, version: &str) {
    let Some(map) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
    if let Some(said) = map.get_mut("apiVersion") {
        *said = version.into();
    }
}
