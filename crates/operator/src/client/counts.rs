//! Counts the requests to the API server, and how long they take.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::call::Call;

/// The counts; a cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

// === impl Counts ===

impl Default for Counts {
    fn default() -> Self {
        // From 1 ms to 32 s.
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        Self { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl Counts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "mxjob_api_requests",
            "Requests to the API server, by what came back; `error` where nothing did",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "mxjob_api_request_duration",
            "How long requests to the API server take, watches until their first word",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    /// Counts one request that was sent; `code` is what came back.
    pub(crate) fn sent(&self, call: &Call, code: Option<http::StatusCode>, took: Duration) {
        let code = code.map_or_else(|| "error".to_owned(), |code| code.as_str().to_owned());
        let labels = RequestLabels { verb: call.verb, resource: call.resource.clone(), code };
        self.requests.get_or_create(&labels).inc();
        let labels = VerbLabels { verb: call.verb };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
