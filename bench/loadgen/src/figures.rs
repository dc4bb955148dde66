//! Latencies and their summary.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// The durations and statuses of the requests of one run.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    took: Vec<Duration>,
    statuses: BTreeMap<u16, u64>,
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration, status: u16) {
        self.took.push(took);
        *self.statuses.entry(status).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.took.extend(other.took);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }

    /// Requests per second, and milliseconds at the usual percentiles (nearest rank).
    pub(crate) fn figures(mut self, during: Duration) -> Value {
        self.took.sort_unstable();
        let at = |permille: usize| {
            let rank = (self.took.len() * permille).div_ceil(1000).saturating_sub(1);
            self.took.get(rank).map(|took| thousandths(took.as_secs_f64() * 1000.0))
        };
        let statuses: BTreeMap<String, u64> =
            self.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect();
        let count = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        json!({
            "requests": count,
            "statuses": statuses,
            "per_second": thousandths(f64::from(count) / during.as_secs_f64()),
            "p50_ms": at(500),
            "p90_ms": at(900),
            "p99_ms": at(990),
            "max_ms": at(1000),
        })
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut latencies = Latencies::default();
        for milliseconds in 1..=100 {
            latencies.add(Duration::from_millis(milliseconds), 200);
        }
        let figures = latencies.figures(Duration::from_secs(10));
        assert_eq!(figures["p50_ms"], 50.0);
        assert_eq!(figures["p99_ms"], 99.0);
        assert_eq!(figures["max_ms"], 100.0);
        assert_eq!(figures["per_second"], 10.0);
        assert_eq!(figures["statuses"]["200"], 100);
    }

    #[test]
    fn no_requests_have_no_percentiles() {
        let figures = Latencies::default().figures(Duration::from_secs(1));
        assert!(figures["p50_ms"].is_null());
    }
}
