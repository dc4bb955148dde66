//! Objects that expire: events, as upstream.
//!
//! The bounds are for a server with one disk, where upstream's are those of etcd. Nothing else that
//! a server writes by itself grows with time: leases are one for each node, default service
//! accounts and quota status one for each namespace, and tokens are not stored.

use std::sync::Arc;
use std::time::Duration;

use mxjob_store::{Bounds, Expiry, ExpiryRule};

use crate::environment::Environment;

/// How long an event is kept after it was last written, unless the server has another setting.
pub const EVENT_TTL: Duration = Duration::from_secs(60 * 60);

/// Where events are stored.
const EVENTS: &str = "/registry/events/";
/// The events of all namespaces. An event of the controller or of the node agent has about 1 KiB.
const TOTAL: Bounds = Bounds { entries: 100_000, bytes: 128 << 20 };
/// The events of one namespace: half, so that a busy one leaves room for the others.
const NAMESPACE: Bounds = Bounds { entries: 50_000, bytes: 64 << 20 };

/// The objects of an API server that expire.
#[must_use]
pub fn rules(event_ttl: Duration, environment: Arc<dyn Environment>) -> Expiry {
    let events =
        ExpiryRule { prefix: EVENTS.to_owned(), ttl: event_ttl, total: TOTAL, folder: NAMESPACE };
    let clock = move || {
        let seconds = u64::try_from(environment.now().as_second());
        Duration::from_secs(seconds.unwrap_or_default())
    };
    Expiry { rules: vec![events], clock: Arc::new(clock) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn events_are_stored_where_they_expire() {
        let events = registry::find("", "v1", "events").unwrap();
        assert_eq!(events.prefix(), EVENTS);
    }
}
