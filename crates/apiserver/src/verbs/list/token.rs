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
    /// The list's snapshot; `None` continues in the current state, since the snapshot is gone.
    pub(crate) revision: Option<Revision>,
    /// The last key of the page before, relative to the collection.
    last: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
}

/// The revision that means "now".
const NOW: i64 = -1;

impl Token {
    /// The token after a page that ended with `key`.
    pub(crate) fn new(revision: Revision, prefix: &str, key: &str) -> Self {
        Self { revision: Some(revision), last: key.strip_prefix(prefix).unwrap_or(key).to_owned() }
    }

    /// The token that goes on at the same place, but with what there is now.
    pub(crate) fn inconsistent(self) -> Self {
        Self { revision: None, ..self }
    }

    /// Reads what a client sends back.
    ///
    /// # Errors
    /// 400 for what is no token.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid =
            |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|error| invalid(&error.to_string()))?;
        let wire: Wire =
            serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if wire.v != VERSION {
            return Err(invalid(&format!(
                "server does not recognize this encoded version {}",
                wire.v
            )));
        }
        if wire.rv == 0 {
            return Err(invalid(
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ));
        }
        let last = wire.start.trim_end_matches('\0').trim_start_matches('/');
        if last.is_empty() || last.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(&format!("incomplete key {}", wire.start)));
        }
        Ok(Self { revision: u64::try_from(wire.rv).ok().map(Revision::new), last: last.to_owned() })
    }

    /// The token as the client gets it.
    pub(crate) fn render(&self) -> String {
        let rv =
            self.revision.map_or(NOW, |revision| i64::try_from(revision.get()).unwrap_or(i64::MAX));
        let wire = Wire { v: VERSION.to_owned(), rv, start: format!("/{}\0", self.last) };
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
        let back = Token::parse(&token.inconsistent().render()).expect("our own token");
        assert_eq!(
            (back.revision, back.after("/registry/pods/").as_str()),
            (None, "/registry/pods/ns/a")
        );
        for text in [
            "garbage",
            "",
            "e30",
            "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEifQ",
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiIvYSJ9",
        ] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
    }
}
