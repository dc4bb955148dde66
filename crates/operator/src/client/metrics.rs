//! Metrics of the requests to the API server.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::request_info::RequestInfo;

/// The metrics; a cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct RequestMetrics {
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

// === impl RequestMetrics ===

impl Default for RequestMetrics {
    fn default() -> Self {
        // From 1 ms to 32 s.
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        Self { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl RequestMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "mxjob_api_requests",
            "Requests to the API server by HTTP status; `error` where there was no answer",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "mxjob_api_request_duration",
            "Duration of requests to the API server; of a watch until its first event",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    /// Counts one request; `code` is the HTTP status of the answer.
    pub(crate) fn sent(&self, info: &RequestInfo, code: Option<http::StatusCode>, took: Duration) {
        let code = code.map_or_else(|| "error".to_owned(), |code| code.as_str().to_owned());
        let labels = RequestLabels { verb: info.verb, resource: info.resource.clone(), code };
        self.requests.get_or_create(&labels).inc();
        let labels = VerbLabels { verb: info.verb };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
