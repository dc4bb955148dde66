//! The server's own certificate authority and certificate, in `pki/` of the data directory.
//!
//! ```text
//! ca.key       created at the first start, never replaced
//! ca.crt       valid for ten years; clients trust it
//! server.key   created at the first start, kept on renewal
//! server.crt   valid for a year; renewed before it expires or when the server's names change
//! sa.key       created at the first start, never replaced; signs service account tokens
//! ```
//!
//! A key is written before its certificate, so that the next start can complete an interrupted one.
//! Existing files are used or rejected, never overwritten, except a `server.crt` of ours that is
//! due for renewal. The cryptography library (aws-lc-rs) is named explicitly: no process-wide
//! default is installed or used.

mod authority;
mod client;
mod server;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use crate::tokens::SigningKey;

pub use crate::tls::client::ClientAuthority;

/// The key that signs service account tokens.
const TOKEN_KEY: &str = "sa.key";
/// Folder of keys and certificates in the data directory.
pub const PKI_DIR: &str = "pki";

/// The keys and certificates that serving needs.
#[derive(Clone)]
pub struct Pki {
    /// Configuration of the TLS server.
    pub config: Arc<ServerConfig>,
    /// The authority's certificate, for clients to trust.
    pub ca_pem: String,
    /// Verifies client certificates of the same authority.
    pub clients: ClientAuthority,
    /// Signs the tokens of service accounts.
    pub token_key: SigningKey,
}

/// Why keys and certificates cannot be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or the folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold a usable {what}; restore it, or remove the folder to recreate everything in it", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate exists without its key.
    #[error("{} exists but {} does not; restore the key, or remove the certificate", certificate.display(), key.display())]
    KeyMissing {
        /// The certificate.
        certificate: PathBuf,
        /// The missing key.
        key: PathBuf,
    },
    /// Two valid files do not belong together.
    #[error("{} was not made with {}; restore the right one, or remove the former to recreate it", path.display(), by.display())]
    Foreign {
        /// The certificate.
        path: PathBuf,
        /// The file that it should match.
        by: PathBuf,
    },
    /// A key or a certificate cannot be created.
    #[error("cannot create the {what}")]
    Make {
        /// The object that was to be created.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refuses its configuration.
    #[error("cannot set up TLS")]
    Config {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// Opens the `pki` folder of a data directory; creates what is missing and renews what is about to
/// expire.
///
/// # Errors
/// If a file cannot be read or written, is invalid, or does not belong to the others.
pub fn open(data_dir: &Path, names: &[String], now: Timestamp) -> Result<Pki, Error> {
    let dir = data_dir.join(PKI_DIR);
    mxjob_files::private_dir(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let authority = authority::open(&dir, now)?;
    let (chain, key) = server::open(&dir, &authority, names, now, &provider)?;
    let clients = ClientAuthority::new(authority.roots, Arc::clone(&provider))?;
    let config = config(provider, clients.clone(), chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            Error::Foreign { path: dir.join(server::CRT), by: dir.join(server::KEY) }
        }
        source => Error::Config { source },
    })?;
    let path = dir.join(TOKEN_KEY);
    let token_key = SigningKey::from_pkcs8(&authority::key(&path, true)?.serialize_der());
    let token_key = token_key.ok_or(Error::Broken { path, what: "private key" })?;
    Ok(Pki { config: Arc::new(config), ca_pem: authority.pem, clients, token_key })
}

/// The names and addresses of a server that listens on `listen`: the local ones, the ones that pods
/// of a cluster use, the host's name and the address itself.
#[must_use]
pub fn server_names(listen: IpAddr, host: Option<&str>) -> Vec<String> {
    let fixed = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "127.0.0.1",
        "::1",
    ];
    let mut names: Vec<String> = fixed.map(str::to_owned).to_vec();
    // A host may have a name that no certificate can carry; clients then use another name.
    let host = host.map(str::to_ascii_lowercase).filter(|host| server::name(host).is_some());
    let listen = (!listen.is_unspecified()).then(|| listen.to_string());
    for name in host.into_iter().chain(listen) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The host's name.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn config(
    provider: Arc<CryptoProvider>,
    clients: ClientAuthority,
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(clients.into_verifier())
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // No session resumption: clients keep connections for long, and a server without tickets has no
    // ticket keys to lose.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
