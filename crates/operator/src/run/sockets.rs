//! The sockets, bound before anything else starts.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mxjob_serve::{self as serve, Bound, ServeError};

/// The sockets of the operator.
#[derive(Debug)]
pub struct Sockets {
    /// `/metrics`.
    pub metrics: Bound,
    /// `/healthz`, `/livez` and `/readyz`.
    pub probes: Bound,
    /// The admission webhook, if it is served.
    pub webhook: Option<Bound>,
}

// === impl Sockets ===

impl Sockets {
    /// Binds all of them.
    ///
    /// # Errors
    /// Where an address is in use or not of this machine.
    pub fn bind(
        metrics: SocketAddr,
        probes: SocketAddr,
        webhook: Option<SocketAddr>,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            metrics: serve::bind(metrics)?,
            probes: serve::bind(probes)?,
            webhook: webhook.map(serve::bind).transpose()?,
        })
    }
}

/// Listens on a port of every address of this machine, IPv4 and IPv6: the kubelet uses the family
/// of its cluster.
///
/// One socket serves both families, unless `net.ipv6.bindv6only` is set. Without IPv6 it listens on
/// IPv4 alone.
///
/// # Errors
/// Where the port is in use.
pub fn bind_everywhere(port: u16) -> Result<Bound, ServeError> {
    match serve::bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if has_no_ipv6(&error) => serve::bind((Ipv4Addr::UNSPECIFIED, port).into()),
        bound => bound,
    }
}

fn has_no_ipv6(error: &ServeError) -> bool {
    match error {
        ServeError::NotLocal { .. } => true,
        ServeError::Listen { source, .. } => {
            source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reached_by_either_family() {
        let bound = bind_everywhere(0).unwrap();
        let port = bound.local_addr().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // A machine without IPv6 has no client that uses it.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn only_a_missing_ipv6_falls_back_to_ipv4() {
        let address: SocketAddr = (Ipv6Addr::UNSPECIFIED, 1).into();
        let source = |code| std::io::Error::from_raw_os_error(code);
        let no_family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
        let no_files = rustix::io::Errno::MFILE.raw_os_error();
        assert!(has_no_ipv6(&ServeError::NotLocal { address }));
        assert!(has_no_ipv6(&ServeError::Listen { address, source: source(no_family) }));
        assert!(!has_no_ipv6(&ServeError::Listen { address, source: source(no_files) }));
        assert!(!has_no_ipv6(&ServeError::InUse { address }));
    }
}
