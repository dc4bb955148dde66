//! The certificate authorities in `ca.crt`, and which certificates they signed.

use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::validity::Validity;

/// One certificate authority, without its key.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) der: CertificateDer<'static>,
    pub(super) validity: Validity,
}

// === impl Authority ===

impl Authority {
    /// Reads the authorities from PEM; `None` if there is none, or one of them is not a
    /// certificate.
    pub(super) fn all(pem: &str) -> Option<Vec<Self>> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let all: Option<Vec<Self>> = all.ok()?.into_iter().map(Self::of).collect();
        all.filter(|all| !all.is_empty())
    }

    fn of(der: CertificateDer<'static>) -> Option<Self> {
        let validity = Validity::of(&der)?;
        // Rejects a certificate that the TLS library cannot use as a trust anchor.
        RootCertStore::empty().add(der.clone()).ok()?;
        Some(Self { der, validity })
    }

    /// Whether the PEM is the private key of this authority.
    pub(super) fn has_key(&self, pem: &str) -> bool {
        certified(vec![self.der.clone()], pem).is_some()
    }

    /// Whether it signed this server certificate.
    pub(super) fn signed(&self, certificate: &ParsedCertificate<'_>, now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        if roots.add(self.der.clone()).is_err() {
            return false;
        }
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let algorithms = default_provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(certificate, &roots, &[], now, algorithms).is_ok()
    }
}

/// A certificate chain with its key, if both can be read and belong together.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key_pem: &str,
) -> Option<CertifiedKey> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).ok()?;
    let provider: CryptoProvider = default_provider();
    let key = provider.key_provider.load_private_key(key).ok()?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().is_ok().then_some(certified)
}

/// The server's certificate: the chain of `tls.crt` with the key of `tls.key`.
pub(super) fn server(tls_crt: &str, tls_key: &str) -> Option<CertifiedKey> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(tls_crt.as_bytes()).collect();
    certified(chain.ok().filter(|chain| !chain.is_empty())?, tls_key)
}
