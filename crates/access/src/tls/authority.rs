//! The certificate authority: its key and its certificate.

use std::path::Path;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::tls::Error;

pub(super) const CRT: &str = "ca.crt";
pub(super) const KEY: &str = "ca.key";
/// The validity that upstream's own tools give a cluster's authority.
const YEARS: i16 = 10;
/// Certificates are valid from the day before, since clocks differ.
const BACKDATE_DAYS: i64 = 1;

/// The authority of one data directory.
pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) roots: RootCertStore,
}

/// Reads the authority, or creates it.
pub(super) fn open(dir: &Path, now: Timestamp) -> Result<Authority, Error> {
    let (crt, key) = (dir.join(CRT), dir.join(KEY));
    let pem = match read(&crt)? {
        Some(pem) => pem,
        None => {
            let made = self::key(&key, true)?;
            let pem = params(now)
                .self_signed(&made)
                .map_err(|source| Error::Make { what: "authority's certificate", source })?
                .pem();
            mxjob_files::write(&crt, pem.as_bytes())
                .map_err(|source| Error::Write { path: crt.clone(), source })?;
            pem
        }
    };
    let broken = || Error::Broken { path: crt.clone(), what: "certificate" };
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| broken())?;
    let mut roots = RootCertStore::empty();
    roots.add(der).map_err(|_| broken())?;
    Ok(Authority { pem, roots })
}

/// The issuer, for signing. The certificate's names are constants, so only the key is read.
pub(super) fn issuer(dir: &Path, now: Timestamp) -> Result<Issuer<'static, KeyPair>, Error> {
    let path = dir.join(KEY);
    if read(&path)?.is_none() {
        return Err(Error::KeyMissing { certificate: dir.join(CRT), key: path });
    }
    Ok(Issuer::new(params(now), key(&path, false)?))
}

/// Reads a private key. Creates it (ECDSA on P-256, the default of [`KeyPair::generate`]) if it is
/// missing and `make` is set.
pub(super) fn key(path: &Path, make: bool) -> Result<KeyPair, Error> {
    let broken = || Error::Broken { path: path.to_owned(), what: "private key" };
    match read(path)? {
        Some(pem) => KeyPair::from_pem(&pem).map_err(|_| broken()),
        None if make => {
            let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                .map_err(|source| Error::Make { what: "private key", source })?;
            mxjob_files::write(path, key.serialize_pem().as_bytes())
                .map_err(|source| Error::Write { path: path.to_owned(), source })?;
            Ok(key)
        }
        None => Err(broken()),
    }
}

pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match mxjob_files::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::Broken { path: path.to_owned(), what: "PEM text" })
        }
        other => other.map_err(|source| Error::Read { path: path.to_owned(), source }),
    }
}

/// Sets the start and the length of a certificate's validity, in whole days.
pub(super) fn set_validity(params: &mut CertificateParams, now: Timestamp, years: i16) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let ymd = |date: jiff::civil::Date| {
        // A civil date's month and day are always in range; the fallback is never used.
        let (month, day) =
            (u8::try_from(date.month()).unwrap_or(1), u8::try_from(date.day()).unwrap_or(1));
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = ymd(today.saturating_sub(BACKDATE_DAYS.days()));
    params.not_after = ymd(today.saturating_add(i64::from(years).years()));
}

fn params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, YEARS);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mxjob-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}
