//! Signed tokens (JWS compact serialisation, RFC 7515, with ES256): only what service accounts
//! need.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const ALGORITHM: &str = "ES256";
/// Far longer than our tokens; longer input is rejected unread.
const LENGTH_MAX: usize = 16 * 1024;

/// The key that signs tokens. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: EcdsaKeyPair,
    /// Identifies the signing key: a digest of its public half.
    id: String,
}

impl SigningKey {
    /// Reads an ECDSA P-256 key in PKCS #8 (DER); `None` for anything else.
    #[must_use]
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, pair.public_key().as_ref()));
        Some(Self(Arc::new(Inner { pair, id })))
    }

    /// A new key, for the lifetime of the process; `None` if the system provides no random bytes.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .ok()?;
        Self::from_pkcs8(der.as_ref())
    }

    /// The public half as a JSON Web Key (RFC 7517), with which others verify tokens.
    pub fn public_jwk(&self) -> Value {
        // An uncompressed point: a byte, and two coordinates of the same length.
        let point = self.0.pair.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
        json!({
            "use": "sig", "kty": "EC", "kid": *self.0.id, "crv": "P-256", "alg": ALGORITHM,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// Signs a token with these claims; `None` if the system provides no random bytes.
    pub fn sign(&self, claims: &Value) -> Option<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(mxjob_machinery::object::to_vec(value));
        let signed =
            format!("{}.{}", part(&json!({ "alg": ALGORITHM, "kid": self.0.id })), part(claims));
        let signature = self.0.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed; `None` for any other token.
    pub fn verify(&self, token: &str) -> Option<Value> {
        if token.len() > LENGTH_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        // The header is untrusted: it must be the one that we write.
        if header["alg"] != ALGORITHM || header["kid"] != *self.0.id || header.get("crit").is_some()
        {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.pair.public_key().as_ref());
        key.verify(signed.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.0.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_read_only_with_its_key_and_only_unchanged() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let claims = json!({"sub": "x", "exp": 7});
        let token = key.sign(&claims).unwrap();
        assert_eq!(key.verify(&token), Some(claims));
        assert_eq!(other.verify(&token), None);
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(key.verify(&changed), None, "{index}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            &token[1..],
            &format!("{token}A"),
            &"a".repeat(20_000),
        ] {
            assert_eq!(key.verify(bad), None, "{bad}");
        }
    }

    #[test]
    fn public_key_verifies_tokens() {
        let key = SigningKey::generate().unwrap();
        let jwk = key.public_jwk();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let point = [vec![4], part("x"), part("y")].concat();
        let token = key.sign(&json!({ "sub": "x" })).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(public.verify(signed.as_bytes(), &signature).is_ok());
        assert_eq!(jwk["kid"], *key.0.id);
    }

    #[test]
    fn other_algorithms_are_refused() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&json!({})).unwrap();
        let (_, rest) = token.split_once('.').unwrap();
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256", "kid": key.0.id}),
            json!({"alg": "ES256"}),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            assert_eq!(key.verify(&format!("{header}.{rest}")), None);
        }
    }
}
