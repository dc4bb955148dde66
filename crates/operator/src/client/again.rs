//! Which answers mean "not now", and when to ask again.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

/// How often a request is sent at most.
const TRIES: u32 = 6;
/// The longest pause, whatever the server says: the controller has its own way to wait, and it is better at it.
const LONGEST: Duration = Duration::from_secs(10);

/// The pause before the next try; `None` for an answer that stands. `tries` were made, `luck` is a random number.
///
/// 429 says by its nature that nothing was done. Of the others only those that name a time are taken at their word.
pub(crate) fn pause(
    status: StatusCode,
    headers: &HeaderMap,
    tries: u32,
    luck: u8,
) -> Option<Duration> {
    let named = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let named = named.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let asked = match status {
        StatusCode::TOO_MANY_REQUESTS => named.unwrap_or(Duration::from_secs(1)),
        StatusCode::SERVICE_UNAVAILABLE => named?,
        _ => return None,
    };
    let pause = asked.min(LONGEST);
    // Those who were turned away together must not come back together.
    let spread = (pause / 4 + Duration::from_millis(50)).mul_f64(f64::from(luck) / 255.0);
    (tries < TRIES).then(|| pause + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_names_the_pause_within_bounds() {
        let ask = |code: u16, after: Option<&str>, tries, luck| {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            }
            pause(StatusCode::from_u16(code).unwrap(), &headers, tries, luck)
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
        assert_eq!(ask(429, Some("1"), 1, 255), Some(1_300), "spread");
        assert_eq!(ask(429, Some("1"), 6, 0), None, "not for ever");
    }
}
