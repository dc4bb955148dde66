//! Continue tokens: where the next page of a list starts, and at which revision.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mxjob_store::Revision;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// The only version of the format there is (upstream's).
const VERSION: &str = "meta.k8s.io/v1";

/// A parsed token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The list's snapshot.
    pub(crate) revision: Revision,
    /// The last key of the page before, relative to the collection.
    last: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: u64,
    start: String,
}

impl Token {
    /// The token after a page that ended with `key`.
    pub(crate) fn new(revision: Revision, prefix: &str, key: &str) -> Self {
        Self { revision, last: key.strip_prefix(prefix).unwrap_or(key).to_owned() }
    }

    /// Reads what a client sends back.
    ///
    /// # Errors
    /// 400 for what is no token.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|error| invalid(&error.to_string()))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if wire.v != VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {}", wire.v)));
        }
        let last = wire.start.trim_end_matches('\0').trim_start_matches('/');
        if last.is_empty() || last.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(&format!("incomplete key {}", wire.start)));
        }
        Ok(Self { revision: Revision::new(wire.rv), last: last.to_owned() })
    }

    /// What the client gets.
    pub(crate) fn render(&self) -> String {
        let wire = Wire { v: VERSION.to_owned(), rv: self.revision.get(), start: format!("{}\0", self.last) };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// The key after which the next page starts.
    pub(crate) fn after(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip_and_rubbish_is_refused() {
        let token = Token::new(Revision::new(7), "/registry/pods/", "/registry/pods/ns/a");
        let back = Token::parse(&token.render()).expect("our own token");
        assert_eq!(back, token);
        assert_eq!(back.after("/registry/pods/"), "/registry/pods/ns/a");
        for text in ["garbage", "", "e30", "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEifQ"] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
    }
}
