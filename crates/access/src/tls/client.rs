//! Client certificates: requested in every handshake, required in none.
//!
//! The handshake checks only that the client holds the key of its certificate. The authenticator
//! decides whether the certificate is valid, so that an invalid one gets a 401 in the API's form
//! and not a broken connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::tls::Error;

/// Decides which client certificates are trusted. Cheap to clone.
#[derive(Clone)]
pub struct ClientAuthority(Arc<dyn ClientCertVerifier>);

/// Accepts any certificate whose key the client holds.
#[derive(Debug)]
pub(super) struct Anybody(ClientAuthority);

impl ClientAuthority {
    /// Trusts the authority with these roots.
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let broken = |_| Error::Config {
            source: TlsError::General("the authority signs no client certificates".to_owned()),
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(broken)?;
        Ok(Self(verifier))
    }

    /// Whether a client's chain leads to the authority, has not expired, and is meant for clients.
    pub fn trusts(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let Some((own, others)) = chain.split_first() else { return false };
        self.0.verify_client_cert(own, others, now).is_ok()
    }

    pub(super) fn into_verifier(self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Anybody(self))
    }
}

impl fmt::Debug for ClientAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthority").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.0.supported_verify_schemes()
    }
}
