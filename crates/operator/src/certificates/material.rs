//! What the Secret holds.
//!
//! `tls.crt` and `tls.key` under the names that every Secret of the type `kubernetes.io/tls` has; `ca.crt` is all that is to be trusted, the
//! current authority first; `ca.key` is the key of that one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The texts of the Secret, in the PEM format; empty where there is none. On purpose not `Debug`: two of them are keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) ca_crt: String,
    pub(super) ca_key: String,
    pub(super) tls_crt: String,
    pub(super) tls_key: String,
}

// === impl Material ===

impl Material {
    /// Reads the `data` of a Secret. What is no text counts as missing.
    pub(super) fn of_data(data: &Value) -> Self {
        let text = |key: &str| {
            let bytes = data.get(key)?.as_str().and_then(|text| STANDARD.decode(text).ok())?;
            String::from_utf8(bytes).ok()
        };
        let text = |key| text(key).unwrap_or_default();
        Self {
            ca_crt: text("ca.crt"),
            ca_key: text("ca.key"),
            tls_crt: text("tls.crt"),
            tls_key: text("tls.key"),
        }
    }

    /// Puts itself into the `data` of a Secret; what else is there stays.
    pub(super) fn write(&self, data: &mut Map<String, Value>) {
        let entries = BTreeMap::from([
            ("ca.crt", &self.ca_crt),
            ("ca.key", &self.ca_key),
            ("tls.crt", &self.tls_crt),
            ("tls.key", &self.tls_key),
        ]);
        for (key, text) in entries {
            data.insert(key.to_owned(), STANDARD.encode(text).into());
        }
    }
}
