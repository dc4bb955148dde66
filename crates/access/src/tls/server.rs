//! The server's key and certificate.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose,
};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError};

use crate::tls::Error;
use crate::tls::authority::{self, Authority};

pub(super) const CRT: &str = "server.crt";
pub(super) const KEY: &str = "server.key";
const YEARS: i16 = 1;
/// A start renews a certificate that expires within this time.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What to do with the existing certificate.
enum Verdict {
    Keep,
    Renew,
    Foreign,
    Broken,
}

/// Reads the certificate and its key; creates or renews what is missing or about to expire.
pub(super) fn open(
    dir: &Path,
    authority: &Authority,
    names: &[String],
    now: Timestamp,
    provider: &CryptoProvider,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let (crt, key_path) = (dir.join(CRT), dir.join(KEY));
    let present = authority::read(&crt)?;
    if present.is_some() && authority::read(&key_path)?.is_none() {
        return Err(Error::KeyMissing { certificate: crt, key: key_path });
    }
    let verdict = present
        .as_deref()
        .map_or(Verdict::Renew, |pem| check(pem, authority, names, now, provider));
    let pem = match (verdict, present) {
        (Verdict::Keep, Some(pem)) => pem,
        (Verdict::Foreign, _) => {
            return Err(Error::Foreign { path: crt, by: dir.join(authority::CRT) });
        }
        (Verdict::Broken, _) => return Err(Error::Broken { path: crt, what: "certificate" }),
        (Verdict::Keep | Verdict::Renew, _) => make(dir, authority, names, now, provider)?,
    };
    let broken = |path: &Path, what| Error::Broken { path: path.to_owned(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|_| broken(&crt, "certificate"))?;
    let key = authority::read(&key_path)?.unwrap_or_default();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| broken(&key_path, "private key"))?;
    Ok((chain, key))
}

/// Creates the certificate, with the existing key if there is one, and writes it.
fn make(
    dir: &Path,
    authority: &Authority,
    names: &[String],
    now: Timestamp,
    provider: &CryptoProvider,
) -> Result<String, Error> {
    let failed = |source| Error::Make { what: "server's certificate", source };
    let issuer = authority::issuer(dir, now)?;
    let key = authority::key(&dir.join(KEY), true)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    authority::set_validity(&mut params, now, YEARS);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mxjob-apiserver");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pem = params.signed_by(&key, &issuer).map_err(failed)?.pem();
    // Detects here, and not at the first client, that the authority's two files do not match.
    if !matches!(check(&pem, authority, names, now, provider), Verdict::Keep) {
        return Err(Error::Foreign {
            path: dir.join(authority::CRT),
            by: dir.join(authority::KEY),
        });
    }
    let path = dir.join(CRT);
    mxjob_files::write(&path, pem.as_bytes()).map_err(|source| Error::Write { path, source })?;
    Ok(pem)
}

fn check(
    pem: &str,
    authority: &Authority,
    names: &[String],
    now: Timestamp,
    provider: &CryptoProvider,
) -> Verdict {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return Verdict::Broken };
    let Ok(certificate) = ParsedCertificate::try_from(&der) else { return Verdict::Broken };
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let then = UnixTime::since_unix_epoch(Duration::from_secs(seconds) + RENEW_BEFORE);
    let algorithms = provider.signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(
        &certificate,
        &authority.roots,
        &[],
        then,
        algorithms,
    ) {
        Ok(()) => {}
        Err(TlsError::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => return Verdict::Renew,
        Err(_) => return Verdict::Foreign,
    }
    let named = |text: &String| {
        name(text).is_some_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    if names.iter().all(named) { Verdict::Keep } else { Verdict::Renew }
}

/// A name or an address in the form that certificates carry.
pub(super) fn name(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text.to_owned()).ok()
}
