//! The webhook's Prometheus metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The metrics; a cheap handle.
///
/// ```
/// let metrics = mxjob_operator::webhook::Metrics::default();
/// assert!(metrics.encode().ends_with("# EOF\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    reviews: Family<ReviewLabels, Histogram, fn() -> Histogram>,
    refused: Family<RefusedLabels, Counter>,
    expires: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    operation: Operation,
    allowed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    code: u16,
}

/// The operation of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // as the label's values
pub(super) enum Operation {
    create,
    update,
    delete,
    connect,
}

// === impl Operation ===

impl Operation {
    /// Of a review that was answered, so the operation is one of these.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "CREATE" => Self::create,
            "UPDATE" => Self::update,
            "DELETE" => Self::delete,
            _ => Self::connect,
        }
    }
}

// === impl Metrics ===

impl Default for Metrics {
    /// All zero, in their own registry.
    fn default() -> Self {
        // From 50 µs (a small job) to about 400 ms (two jobs of the largest size).
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.00005, 2.0, 14));
        let mut registry = Registry::default();
        let reviews = Family::new_with_constructor(histogram);
        let (refused, expires) = (Family::default(), Gauge::default());
        registry.register_with_unit(
            "mxjob_webhook_review_duration",
            "Time to answer an admission review, without reading it; the count is the number of reviews",
            Unit::Seconds,
            reviews.clone(),
        );
        registry.register(
            "mxjob_webhook_refused_requests",
            "Requests that were refused because they were not an admission review, by HTTP status",
            refused.clone(),
        );
        registry.register_with_unit(
            "mxjob_webhook_certificate_expiry_timestamp",
            "When the webhook's certificate expires, in seconds since 1970; 0 without a certificate",
            Unit::Seconds,
            expires.clone(),
        );
        Self(Arc::new(Inner { registry, reviews, refused, expires }))
    }
}

impl Metrics {
    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Encoding fails only if the writer does, and a string does not.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }

    pub(super) fn answered(&self, operation: Operation, allowed: bool, took: Duration) {
        let labels = ReviewLabels { operation, allowed };
        self.0.reviews.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, status: StatusCode) {
        self.0.refused.get_or_create(&RefusedLabels { code: status.as_u16() }).inc();
    }

    /// Sets when the served certificate expires.
    pub(crate) fn expires(&self, at: Timestamp) {
        #[allow(clippy::cast_precision_loss)] // seconds are far below what a float counts exactly
        self.0.expires.set(at.as_second() as f64);
    }
}
