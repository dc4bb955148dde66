//! The operator's Prometheus metrics, together with those of the controller and the webhook.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::client::RequestMetrics;
use crate::webhook;

/// All metrics of the process; a cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    leader: Gauge,
    terms: Counter,
    begun: Gauge<f64, AtomicU64>,
    pub(crate) requests: RequestMetrics,
    pub(crate) controller: mxjob_controller::Metrics,
    pub(crate) webhook: webhook::Metrics,
}

/// The end of an OpenMetrics text; there must be exactly one.
const END: &str = "# EOF\n";

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (leader, terms, begun) = (Gauge::default(), Counter::default(), Gauge::default());
        let requests = RequestMetrics::default();
        registry.register(
            "mxjob_leader",
            "1 while this operator leads, otherwise 0",
            leader.clone(),
        );
        registry.register(
            "mxjob_leader_terms",
            "Number of times that this operator began to lead",
            terms.clone(),
        );
        registry.register_with_unit(
            "mxjob_leader_start",
            "Time from the start of the process until it led for the first time",
            Unit::Seconds,
            begun.clone(),
        );
        requests.register(&mut registry);
        Self {
            registry: Arc::new(registry),
            leader,
            terms,
            begun,
            requests,
            controller: mxjob_controller::Metrics::default(),
            webhook: webhook::Metrics::default(),
        }
    }
}

impl Metrics {
    /// A term begins, this long after the start of the process.
    pub(crate) fn leads(&self, after: Duration) {
        if self.terms.inc() == 0 {
            self.begun.set(after.as_secs_f64());
        }
        self.leader.set(1);
    }

    /// The term is over.
    pub(crate) fn stands_by(&self) {
        self.leader.set(0);
    }

    /// Everything as OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        for part in [self.controller.encode(), self.webhook.encode()] {
            text.push_str(part.trim_end_matches(END));
        }
        // Encoding fails only if the writer does, and a string does not.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_are_one_text_with_one_end() {
        let metrics = Metrics::default();
        metrics.leads(Duration::from_millis(250));
        metrics.leads(Duration::from_secs(60));
        let text = metrics.encode();
        assert_eq!(text.matches("# EOF").count(), 1, "{text}");
        assert!(text.ends_with(END), "{text}");
        for line in [
            "mxjob_leader 1",
            "mxjob_leader_terms_total 2",
            "mxjob_leader_start_seconds 0.25",
            "mxjob_reconcile_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
        metrics.stands_by();
        assert!(metrics.encode().lines().any(|line| line == "mxjob_leader 0"));
    }
}
