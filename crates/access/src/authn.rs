//! Authentication: who is calling.
//!
//! An [`Identity`] comes from a client certificate, from a bearer token, or, for requests made
//! inside this process, from the component itself. This module never decides what a caller may do;
//! that is [`crate::authz`].

mod certificate;
pub mod impersonation;

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use crate::identity::Identity;
use crate::tls::ClientAuthority;
use crate::tokens::Tokens;
use crate::tokens::service_account::{ISSUER, Invalid, ServiceAccounts};

/// Header of the documented cloud API for the same tokens.
pub const X_AUTH_TOKEN: &str = "x-auth-token";

/// Begins the name of a WebSocket protocol whose rest is a token in base64 without padding:
/// browsers cannot send other headers (upstream's convention).
pub const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Why a caller is not authenticated. All become a 401; they differ only in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// The request has no credentials that this server reads.
    #[error("the request carries no credentials")]
    Missing,
    /// An unknown, expired or revoked token.
    #[error("unknown or invalid token")]
    UnknownToken,
    /// An invalid client certificate, and no token.
    #[error("the client certificate was not issued by this server, or has expired")]
    Certificate,
}

/// Authenticates callers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    tokens: Arc<Tokens>,
    clients: Option<ClientAuthority>,
    accounts: Option<Arc<ServiceAccounts>>,
}

// === impl Authenticator ===

impl Authenticator {
    /// An authenticator with these static tokens.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens: Arc::new(tokens), clients: None, accounts: None }
    }

    /// Also trusts client certificates of this authority.
    #[must_use]
    pub fn with_clients(self, authority: ClientAuthority) -> Self {
        Self { clients: Some(authority), ..self }
    }

    /// Also issues and accepts tokens of service accounts.
    #[must_use]
    pub fn with_service_accounts(self, accounts: ServiceAccounts) -> Self {
        Self { accounts: Some(Arc::new(accounts)), ..self }
    }

    /// The issuer of service account tokens, if there is one.
    pub fn service_accounts(&self) -> Option<&ServiceAccounts> {
        self.accounts.as_deref()
    }

    /// The owner of a token, and the requested audiences that it is valid for. Static tokens are
    /// valid for this server only.
    ///
    /// # Errors
    /// If the token is unknown, invalid, or for another audience.
    pub fn find(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), Invalid> {
        if let Some(identity) = self.tokens.find(token.as_bytes()) {
            if !audiences.iter().any(|audience| audience == ISSUER) {
                return Err(Invalid::Audience {
                    given: vec![ISSUER.to_owned()],
                    wanted: audiences.to_vec(),
                });
            }
            return Ok((identity.clone(), vec![ISSUER.to_owned()]));
        }
        self.accounts.as_ref().ok_or(Invalid::Unknown)?.check(token, audiences)
    }

    /// Authenticates a caller by, in this order: the identity `given` in memory, the client
    /// certificate, `Authorization: Bearer`, `X-Auth-Token`. `certificates` is the client's chain,
    /// its own first.
    ///
    /// A scheme other than `Bearer` counts as no credentials. An unknown bearer token is final: the
    /// second header is not tried.
    ///
    /// # Errors
    /// If there are no credentials, or invalid ones.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        given: Option<&Identity>,
        certificates: Option<&[CertificateDer<'_>]>,
        now: Timestamp,
    ) -> Result<Identity, Unauthenticated> {
        if let Some(identity) = given {
            return Ok(identity.clone());
        }
        let mut missing = Unauthenticated::Missing;
        if let Some(chain) = certificates {
            match self.of_certificate(chain, now) {
                Some(identity) => return Ok(identity),
                None => missing = Unauthenticated::Certificate,
            }
        }
        let token = bearer(headers).or_else(|| present(headers.get(X_AUTH_TOKEN)?.as_bytes()));
        let token = token.map(Cow::Borrowed).or_else(|| of_websocket(headers).map(Cow::Owned));
        let Some(token) = token else { return Err(missing) };
        let token = std::str::from_utf8(&token).map_err(|_| Unauthenticated::UnknownToken)?;
        let (identity, _) = self.find(token, &[ISSUER.to_owned()]).map_err(|error| {
            tracing::debug!(%error, "token refused");
            Unauthenticated::UnknownToken
        })?;
        Ok(identity)
    }

    /// The identity of a client certificate. It is verified for every request, since connections
    /// outlive certificates.
    fn of_certificate(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Option<Identity> {
        self.clients.as_ref().filter(|clients| clients.trusts(chain, now))?;
        certificate::identity(chain.first()?)
    }
}

/// The token of an `Authorization` header; the scheme is case-insensitive (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| present(rest)).flatten()
}

/// The token among the protocols of a WebSocket.
fn of_websocket(headers: &HeaderMap) -> Option<Vec<u8>> {
    let is_websocket = headers.get(UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
    let token = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| name.trim().strip_prefix(TOKEN_PROTOCOL))?;
    // What cannot be decoded is an unknown token, not a missing one.
    is_websocket.then(|| BASE64_URL_SAFE_NO_PAD.decode(token).unwrap_or_default())
}

fn present(token: &[u8]) -> Option<&[u8]> {
    Some(token.trim_ascii()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        headers: &[(&'static str, &str)],
        given: Option<&Identity>,
    ) -> Result<String, Unauthenticated> {
        let mut tokens = Tokens::default();
        tokens.insert("secret", Identity::admin());
        tokens.insert("other", Identity::new("ann", "7", ["dev".to_owned()]));
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        Authenticator::new(tokens)
            .authenticate(&headers, given, None, Timestamp::UNIX_EPOCH)
            .map(|identity| identity.name.to_string())
    }

    #[test]
    fn token_is_read_from_either_header() {
        let check = |headers: &[(&'static str, &str)], want: Result<&str, Unauthenticated>| {
            assert_eq!(ask(headers, None), want.map(str::to_owned), "{headers:?}");
        };
        check(&[("authorization", "Bearer secret")], Ok(crate::identity::ADMIN));
        check(&[("authorization", "bearer  other ")], Ok("ann"));
        check(&[("x-auth-token", "other")], Ok("ann"));
        check(
            &[("authorization", "Bearer secret"), ("x-auth-token", "other")],
            Ok(crate::identity::ADMIN),
        );
        check(&[("authorization", "Bearer "), ("x-auth-token", "other")], Ok("ann"));
        check(&[("authorization", "Basic c2VjcmV0"), ("x-auth-token", "other")], Ok("ann"));
        check(
            &[("authorization", "Bearer nope"), ("x-auth-token", "other")],
            Err(Unauthenticated::UnknownToken),
        );
        check(&[("authorization", "Bearer secret other")], Err(Unauthenticated::UnknownToken));
        check(&[("x-auth-token", "nope")], Err(Unauthenticated::UnknownToken));
        check(&[("x-auth-token", "")], Err(Unauthenticated::Missing));
        check(&[("authorization", "Bearer")], Err(Unauthenticated::Missing));
        check(&[("authorization", "Bearer ")], Err(Unauthenticated::Missing));
        check(&[("authorization", "secret")], Err(Unauthenticated::Missing));
        check(&[("authorization", "Basic c2VjcmV0")], Err(Unauthenticated::Missing));
        check(&[], Err(Unauthenticated::Missing));
    }

    #[test]
    fn token_is_read_from_the_protocols_of_a_websocket() {
        let check = |protocols: &str, upgrade: &str, want: Result<&str, Unauthenticated>| {
            let headers = [("upgrade", upgrade), ("sec-websocket-protocol", protocols)];
            assert_eq!(ask(&headers, None), want.map(str::to_owned), "{headers:?}");
        };
        let other = "base64url.bearer.authorization.k8s.io.b3RoZXI, binary.k8s.io";
        check(other, "websocket", Ok("ann"));
        check(other, "h2c", Err(Unauthenticated::Missing));
        check("binary.k8s.io", "websocket", Err(Unauthenticated::Missing));
        for token in ["bm9wZQ", "***", "", "_w"] {
            let protocol = format!("x, base64url.bearer.authorization.k8s.io.{token}");
            check(&protocol, "WebSocket", Err(Unauthenticated::UnknownToken));
        }
    }

    #[test]
    fn in_memory_identity_takes_precedence() {
        let node = Identity::node("n1");
        assert_eq!(
            ask(&[("authorization", "Bearer secret")], Some(&node)),
            Ok("system:node:n1".to_owned())
        );
    }
}
