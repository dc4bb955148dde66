//! What a pod or a container may use, in the units of the kernel.

use serde::{Deserialize, Serialize};

/// The length of a period of CPU time in microseconds: the kubelet's.
pub(super) const PERIOD_MICROS: u64 = 100_000;
/// The kernel accepts no smaller quota.
const MIN_QUOTA_MICROS: u64 = 1000;
/// The range of shares in v1. The smallest is for what requests nothing.
const SHARES: (u64, u64) = (2, 262_144);
/// Shares of one CPU.
pub(super) const SHARES_OF_A_CPU: u64 = 1024;

/// What a pod or a container may use. What is absent has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceLimits {
    /// The part of the CPU time under contention, in the unit of v1: 1024 for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period of 100 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<u64>,
    /// Bytes of memory. Nothing is swapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Number of processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

impl ResourceLimits {
    /// The limits for amounts of a pod or container: a CPU request, and limits of CPU and memory,
    /// CPU in thousandths. The rules are the kubelet's; an amount of zero is no limit.
    #[must_use]
    pub fn of_amounts(cpu_request: i64, cpu_limit: i64, memory_limit: i64) -> Self {
        let amount = |amount| u64::try_from(amount).ok().filter(|amount| *amount > 0);
        let shares = amount(cpu_request).unwrap_or_default().saturating_mul(SHARES_OF_A_CPU) / 1000;
        let quota = amount(cpu_limit).map(|milli| milli.saturating_mul(PERIOD_MICROS / 1000));
        Self {
            cpu_shares: Some(shares.clamp(SHARES.0, SHARES.1)),
            cpu_quota: quota.map(|quota| quota.max(MIN_QUOTA_MICROS)),
            memory: amount(memory_limit),
            pids: None,
        }
    }
}

/// The weight in v2 for shares of v1: their range is mapped to 1..=10000.
pub(super) fn weight(shares: u64) -> u64 {
    let (least, most) = SHARES;
    1 + (shares.clamp(least, most) - least) * 9999 / (most - least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_converted_as_the_kubelet_does() {
        let limits = |shares, quota, memory| ResourceLimits {
            cpu_shares: Some(shares),
            cpu_quota: quota,
            memory,
            pids: None,
        };
        for (request, limit, memory, expect) in [
            (0, 0, 0, limits(2, None, None)),
            (1, 1, 1, limits(2, Some(1000), Some(1))),
            (250, 500, 64 << 20, limits(256, Some(50_000), Some(64 << 20))),
            (1500, 0, 0, limits(1536, None, None)),
            (i64::MAX, i64::MAX, i64::MAX, {
                let most = u64::try_from(i64::MAX).unwrap();
                limits(262_144, Some(u64::MAX), Some(most))
            }),
            (-1, -1, -1, limits(2, None, None)),
        ] {
            assert_eq!(ResourceLimits::of_amounts(request, limit, memory), expect);
        }
    }

    #[test]
    fn weights_are_in_the_range_of_v2() {
        for (shares, expect) in [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(shares), expect, "{shares}");
        }
    }
}
