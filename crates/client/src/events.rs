//! Events as all our components write them: repeats are counted, similar ones are combined, and
//! what one source says about one object has a limit.
//!
//! A component makes an [`event`], puts it into a bounded queue of its own, and gives it to its
//! [`EventWriter`] from there. Nothing but events may wait for an event.

mod correlator;
mod lru;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;

use self::correlator::Correlator;

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// An expected transition.
    Normal,
    /// A failure.
    Warning,
}

/// An event about an object that happens now. Its name differs with the time.
pub fn event(
    about: ObjectReference,
    (level, reason, message): (Level, &str, String),
    source: EventSource,
    now: Timestamp,
) -> Event {
    let name = about.name.clone().unwrap_or_default();
    let time = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let level = match level {
        Level::Normal => "Normal",
        Level::Warning => "Warning",
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            // kubectl looks for events on cluster-scoped objects in this namespace.
            namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: about,
        type_: Some(level.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        count: Some(1),
        first_timestamp: Some(time.clone()),
        last_timestamp: Some(time),
        reporting_component: source.component.clone(),
        reporting_instance: Some(source.host.clone().unwrap_or_default()),
        source: Some(source),
        ..Event::default()
    }
}

/// Writes the events of a component.
pub struct EventWriter {
    client: Client,
    /// Locked only for a lookup.
    correlator: Mutex<Correlator>,
}

// === impl EventWriter ===

impl EventWriter {
    /// A writer that remembers no events yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, correlator: Mutex::default() }
    }

    /// Writes an event, counts it with an equal one, or drops it where its source said too much
    /// about the object. Events about one object must be written one after the other.
    ///
    /// # Errors
    /// Those of the request. The event is lost.
    pub async fn write(&self, event: Event) -> kube::Result<()> {
        let observed = self.correlator.lock().observe(event);
        let Some(event) = observed else { return Ok(()) };
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if event.count > Some(1)
            && let Some(name) = &event.metadata.name
        {
            let patch = json!({
                "count": event.count,
                "lastTimestamp": event.last_timestamp,
                "message": event.message,
            });
            match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => return Ok(()),
                // It has expired.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let params = PostParams {
            field_manager: event.reporting_component.clone(),
            ..PostParams::default()
        };
        match api.create(&params, &event).await {
            Ok(_) => Ok(()),
            // Written before this process was started.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for EventWriter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EventWriter").finish_non_exhaustive()
    }
}
