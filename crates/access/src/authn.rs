//! Who is calling.
//!
//! An [`Identity`] comes from a client certificate, from a bearer token, or from the caller of a request that was made inside
//! this process. This module never decides what a caller may do; that is [`crate::authz`].

mod certificate;
pub mod impersonation;

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use crate::identity::Identity;
use crate::tls::ClientAuthority;
use crate::tokens::Tokens;
use crate::tokens::service_account::{ISSUER, Invalid, ServiceAccounts};

/// The documented cloud API's header for the same tokens (CONTRACT section 7).
pub const X_AUTH_TOKEN: &str = "x-auth-token";

/// Why a caller is not known. Both become 401; they differ in the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Nothing that this server reads as credentials.
    #[error("the request carries no credentials")]
    Missing,
    /// A token that nobody has, or that does not count any more.
    #[error("the token is not known")]
    UnknownToken,
    /// A client certificate that does not count, and no token besides.
    #[error("the client certificate is not one of this server's, or its time is over")]
    Certificate,
}

/// Finds out who is calling. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    tokens: Arc<Tokens>,
    clients: Option<ClientAuthority>,
    accounts: Option<Arc<ServiceAccounts>>,
}

// === impl Authenticator ===

impl Authenticator {
    /// An authenticator that knows these tokens.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens: Arc::new(tokens), clients: None, accounts: None }
    }

    /// The same, that trusts client certificates of this authority.
    #[must_use]
    pub fn with_clients(self, authority: ClientAuthority) -> Self {
        Self { clients: Some(authority), ..self }
    }

    /// The same, that issues and takes tokens of service accounts.
    #[must_use]
    pub fn with_service_accounts(self, accounts: ServiceAccounts) -> Self {
        Self { accounts: Some(Arc::new(accounts)), ..self }
    }

    /// The issuer of service accounts' tokens, where there is one.
    pub fn service_accounts(&self) -> Option<&ServiceAccounts> {
        self.accounts.as_deref()
    }

    /// Whose token it is, and for which of the audiences; static tokens are for this server.
    ///
    /// # Errors
    /// Where nobody has the token, or it is for somebody else.
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

    /// The caller: the identity `given` in memory, else the one of the client certificate, of `Authorization: Bearer`, of
    /// `X-Auth-Token`. `certificates` is the chain that the client showed, its own first.
    ///
    /// A scheme other than `Bearer` counts as no credentials. A bearer token that is not known is final: a second
    /// header does not make up for it.
    ///
    /// # Errors
    /// Where there are no credentials, or bad ones.
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
        let Some(token) = token else { return Err(missing) };
        let token = std::str::from_utf8(token).map_err(|_| Unauthenticated::UnknownToken)?;
        let (identity, _) = self.find(token, &[ISSUER.to_owned()]).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            Unauthenticated::UnknownToken
        })?;
        Ok(identity)
    }

    /// The identity of a client certificate. It is checked for every request: connections outlive certificates.
    fn of_certificate(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Option<Identity> {
        self.clients.as_ref().filter(|clients| clients.trusts(chain, now))?;
        certificate::identity(chain.first()?)
    }
}

/// The token of an `Authorization` header; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| present(rest)).flatten()
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
    fn a_token_is_taken_from_either_header() {
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
    fn an_identity_given_in_memory_wins() {
        let node = Identity::node("n1");
        assert_eq!(
            ask(&[("authorization", "Bearer secret")], Some(&node)),
            Ok("system:node:n1".to_owned())
        );
    }
}
