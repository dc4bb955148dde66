//! How others verify tokens of service accounts: the issuer's metadata and its public key
//! (upstream's service account issuer discovery).

use mxjob_access::tokens::service_account::{ISSUER, ServiceAccounts};
use serde_json::{Value, json};

use crate::discovery::Document;
use crate::document;

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";
/// The key changes only with the data directory.
pub(crate) const CACHE_CONTROL: &str = "public, max-age=3600";

/// The document under a path, if it is one of these two.
pub(crate) fn find(path: &str, accounts: Option<&ServiceAccounts>) -> Option<Document> {
    let accounts = accounts?;
    let (content, content_type) = match path.strip_suffix('/').unwrap_or(path) {
        CONFIGURATION if path == CONFIGURATION => (configuration(), "application/json"),
        KEYS => (json!({ "keys": [accounts.public_jwk()] }), "application/jwk-set+json"),
        _ => return None,
    };
    let json = document::to_vec(&content);
    Some(Document::new(json, Some(content_type.to_owned()), None))
}

fn configuration() -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}{KEYS}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}
