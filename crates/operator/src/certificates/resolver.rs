//! The certificate that new handshakes get. It can be exchanged at any time; connections that there are keep theirs.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Holds the certificate; none until there is one, and handshakes fail for so long.
#[derive(Debug, Default)]
pub(crate) struct Resolver(RwLock<Option<Arc<CertifiedKey>>>);

// === impl Resolver ===

impl Resolver {
    /// From now on handshakes get this one.
    pub(super) fn set(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
    }

    /// What to serve with.
    ///
    /// # Errors
    /// Where the cryptography library lacks a protocol version.
    pub(crate) fn server_config(self: Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
