//! The certificate for new TLS handshakes. It can be exchanged at any time; existing connections
//! keep theirs.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Holds the certificate. Handshakes fail until there is one.
#[derive(Debug, Default)]
pub(crate) struct Resolver(RwLock<Option<Arc<CertifiedKey>>>);

// === impl Resolver ===

impl Resolver {
    /// Sets the certificate for handshakes from now on.
    pub(super) fn set(&self, certified: CertifiedKey) {
        *self.0.write() = Some(Arc::new(certified));
    }

    /// The TLS configuration of the webhook's server.
    ///
    /// # Errors
    /// Where the cryptography library does not support a protocol version.
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
        self.0.read().clone()
    }
}
