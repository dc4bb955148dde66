//! Caching of version 3 documents: the index lists each with its hash, and the response for that
//! hash never changes.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use crate::body::{Body, full};
use crate::discovery::Document;

/// The longest `max-age` that HTTP allows, which upstream sends with `immutable`.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Whether a client may cache the requested document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// The request has no hash: the document may change.
    Unknown,
    /// The hash is current: the response never changes.
    Immutable,
    /// The document has changed; it is now available here.
    Moved(String),
}

/// Compares the hash in a request with the document.
#[must_use]
pub fn freshness(path: &str, hash: &str, document: &Document) -> Freshness {
    let current = document.etag.as_deref().unwrap_or_default().trim_matches('"');
    if hash.is_empty() || current.is_empty() || !path.starts_with("/openapi/v3/") {
        Freshness::Unknown
    } else if hash == current {
        Freshness::Immutable
    } else {
        Freshness::Moved(format!("{path}?hash={current}"))
    }
}

// === impl Freshness ===

impl Freshness {
    /// A redirect, if the document has changed.
    pub(crate) fn redirect(&self) -> Option<Response<Body>> {
        let Self::Moved(to) = self else { return None };
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(to).ok()?);
        Some(response)
    }

    /// Sets the response's headers.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, now: Timestamp) {
        if *self != Self::Immutable {
            return;
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        let expires = now.saturating_add(YEAR).unwrap_or(now);
        let text = expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::EXPIRES, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/openapi/v3/api/v1";

    fn document(etag: Option<&str>) -> Document {
        Document::new("", None, etag.map(str::to_owned))
    }

    #[test]
    fn a_current_hash_makes_the_document_immutable() {
        let tagged = document(Some("\"NEW\""));
        for (path, hash, document, expected) in [
            (PATH, "", &tagged, Freshness::Unknown),
            (PATH, "NEW", &tagged, Freshness::Immutable),
            (PATH, "OLD", &tagged, Freshness::Moved(format!("{PATH}?hash=NEW"))),
            ("/openapi/v2", "OLD", &tagged, Freshness::Unknown),
            (PATH, "OLD", &document(None), Freshness::Unknown),
        ] {
            assert_eq!(freshness(path, hash, document), expected, "{path} {hash}");
        }
    }

    #[test]
    fn only_immutable_responses_have_cache_headers() {
        let now = Timestamp::UNIX_EPOCH;
        let mut headers = HeaderMap::new();
        Freshness::Unknown.mark(&mut headers, now);
        assert!(headers.is_empty());
        Freshness::Immutable.mark(&mut headers, now);
        assert_eq!(headers["cache-control"], "public, immutable");
        assert_eq!(headers["expires"], "Fri, 01 Jan 1971 00:00:00 GMT");
        assert!(Freshness::Immutable.redirect().is_none());
        let moved = Freshness::Moved(format!("{PATH}?hash=NEW")).redirect().unwrap();
        assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(moved.headers()["location"], "/openapi/v3/api/v1?hash=NEW");
    }
}
