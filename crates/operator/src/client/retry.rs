//! Which answers ask the client to try again, and after which delay.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use mxjob_machinery::backoff;

/// How many times a request is sent at most.
const MAX_ATTEMPTS: u32 = 6;
/// The longest delay, whatever the server asks for. After the last attempt the controller's own
/// queue retries, with longer delays.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The delay before the next attempt; `None` for an answer that is final. `attempts` have been made
/// so far, `random` spreads the clients.
///
/// 429 always means that nothing was done. A 503 is retried only if it names a time
/// (`Retry-After`).
pub(crate) fn delay(
    status: StatusCode,
    headers: &HeaderMap,
    attempts: u32,
    random: u8,
) -> Option<Duration> {
    let named = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let named = named.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let asked = match status {
        StatusCode::TOO_MANY_REQUESTS => named.unwrap_or(Duration::from_secs(1)),
        StatusCode::SERVICE_UNAVAILABLE => named?,
        _ => return None,
    };
    (attempts < MAX_ATTEMPTS).then(|| backoff::with_jitter(asked.min(MAX_DELAY), random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_names_the_delay_within_bounds() {
        let ask = |code: u16, after: Option<&str>, attempts, random| {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            }
            delay(StatusCode::from_u16(code).unwrap(), &headers, attempts, random)
                .map(|pause| pause.as_millis())
        };
        for (code, after, want) in [
            (429, Some("2"), Some(2_000)),
            (429, Some("0"), Some(0)),
            (429, None, Some(1_000)),
            (429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), Some(1_000)),
            (429, Some("99999999"), Some(10_000)),
            (503, Some("3"), Some(3_000)),
            (503, None, None),
            (500, Some("1"), None),
            (409, Some("1"), None),
            (200, None, None),
        ] {
            assert_eq!(ask(code, after, 1, 0), want, "{code} {after:?}");
        }
        assert_eq!(ask(429, Some("1"), 1, 255), Some(1_300), "jitter");
        assert_eq!(ask(429, Some("1"), 6, 0), None, "the last attempt");
    }
}
