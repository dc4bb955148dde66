//! The content of the Secret.
//!
//! `tls.crt` and `tls.key` have the names that every Secret of the type `kubernetes.io/tls` uses.
//! `ca.crt` lists all trusted authorities, the current one first; `ca.key` is the key of that one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The values of the Secret, in the PEM format; empty where one is missing. Not `Debug` on purpose:
/// two of them are keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct SecretData {
    pub(super) ca_crt: String,
    pub(super) ca_key: String,
    pub(super) tls_crt: String,
    pub(super) tls_key: String,
}

// === impl SecretData ===

impl SecretData {
    /// Reads the `data` of a Secret. A value that is not text counts as missing.
    pub(super) fn from_data(data: &Value) -> Self {
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

    /// Writes itself into the `data` of a Secret; other keys stay.
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
