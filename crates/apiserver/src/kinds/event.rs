//! Events: what `kubectl get events` and `describe` select and show.

use jiff::Timestamp;
use serde_json::Value;

use super::strategy::Strategy;
use super::{NAME, computed, text};
use crate::registry::Column;

/// The columns, as upstream prints events.
pub(super) const COLUMNS: &[Column] = &[
    computed("Last Seen", 0, last_seen),
    computed("Type", 0, |event, _| text(event, "/type").into()),
    computed("Reason", 0, |event, _| text(event, "/reason").into()),
    computed("Object", 0, |event, _| {
        let kind = text(event, "/involvedObject/kind").to_lowercase();
        format!("{kind}/{}", text(event, "/involvedObject/name")).into()
    }),
    computed("Subobject", 1, |event, _| text(event, "/involvedObject/fieldPath").into()),
    computed("Source", 1, |event, _| text(event, "/source/component").into()),
    computed("Message", 0, |event, _| text(event, "/message").trim().into()),
    computed("First Seen", 1, |event, now| ago(first_of(event, &["/firstTimestamp", "/eventTime"]), now)),
    computed("Count", 1, |event, _| event.get("count").cloned().unwrap_or_else(|| 1.into())),
    Column { priority: 1, ..NAME },
];

fn last_seen(event: &Value, now: Timestamp) -> Value {
    ago(first_of(event, &["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp"]), now)
}

fn first_of<'a>(event: &'a Value, pointers: &[&str]) -> &'a str {
    pointers.iter().map(|pointer| text(event, pointer)).find(|time| !time.is_empty()).unwrap_or_default()
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

impl Strategy for Event {
    fn is_selectable(&self, field: &str) -> bool {
        SELECTABLE.iter().any(|(name, _)| *name == field)
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let (_, pointer) = SELECTABLE.iter().find(|(name, _)| *name == field)?;
        Some(text(object, pointer).to_owned())
    }
}
