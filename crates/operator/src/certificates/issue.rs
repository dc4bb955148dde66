//! Issues keys and certificates as [`check`](super::check) decided. The time is a parameter; only
//! the keys are random.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ParsedCertificate;

use super::authority::Authority;
use super::decision::{BACKDATE, Decision, Reason};
use super::secret_data::SecretData;

/// Lifetime of an authority: ten years.
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Lifetime of a server's certificate: 90 days.
const CERTIFICATE_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How many authorities of the `caBundle` stay trusted where everything else is recreated: enough
/// for the replicas that still serve by them, and a bound on the list.
const MAX_KEPT_AUTHORITIES: usize = 3;

/// Carries out a decision. Returns the new content of the Secret and what was done in the end: if
/// the authority turns out to be unable to sign, everything is recreated. `trusted` is the
/// `caBundle` of the configuration, as PEM.
///
/// # Errors
/// Where a key or a certificate cannot be created.
pub(super) fn apply(
    decision: Decision,
    secret_data: Option<&SecretData>,
    names: &[String],
    trusted: Option<&str>,
    now: Timestamp,
) -> Result<(Decision, SecretData), rcgen::Error> {
    let present = secret_data.cloned().unwrap_or_default();
    let next = match &decision {
        Decision::Keep => present,
        Decision::RenewCertificate(_) => match renew_certificate(present, names, now) {
            Ok(next) => next,
            Err(_) => {
                let why = Reason::Invalid(
                    "its authority cannot sign; another program may have created it",
                );
                return apply(Decision::RecreateAll(why), secret_data, names, trusted, now);
            }
        },
        Decision::RenewAuthority(_) => {
            let old = Authority::all(&present.ca_crt).unwrap_or_default();
            let (pem, key) = authority(now)?;
            let ca_crt = pem + &pems(old.iter().filter(|old| old.validity.contains(now)));
            SecretData { ca_crt, ca_key: key.serialize_pem(), ..present }
        }
        Decision::RecreateAll(_) => {
            let (pem, key) = authority(now)?;
            let ca_key = key.serialize_pem();
            let (tls_crt, tls_key) = certificate(key, names, now)?;
            // Other replicas serve a certificate of one of these until they have read the Secret.
            let earlier = Authority::all(trusted.unwrap_or_default()).unwrap_or_default();
            let earlier = earlier.iter().filter(|earlier| earlier.validity.contains(now));
            let ca_crt = pem + &pems(earlier.take(MAX_KEPT_AUTHORITIES));
            SecretData { ca_crt, ca_key, tls_crt, tls_key }
        }
    };
    Ok((decision, next))
}

/// Signs by the current authority. The earlier ones stay trusted until the renewal after this one,
/// since replicas may still serve a certificate that one of them signed.
fn renew_certificate(
    present: SecretData,
    names: &[String],
    now: Timestamp,
) -> Result<SecretData, rcgen::Error> {
    let key = KeyPair::from_pem(&present.ca_key)?;
    let (tls_crt, tls_key) = certificate(key, names, now)?;
    let authorities = Authority::all(&present.ca_crt).unwrap_or_default();
    let is_of_current = |pem: &str| {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
        authorities.first().zip(der).is_some_and(|(current, der)| {
            ParsedCertificate::try_from(&der)
                .is_ok_and(|certificate| current.signed(&certificate, now))
        })
    };
    if !is_of_current(&tls_crt) {
        // Another program's authority may have another name; a certificate signed in our name would
        // not verify.
        return Err(rcgen::Error::CouldNotParseCertificate);
    }
    let trusted = if is_of_current(&present.tls_crt) { 1 } else { authorities.len() };
    let trusted = authorities.iter().take(trusted);
    let ca_crt = pems(trusted.filter(|authority| authority.validity.contains(now)));
    Ok(SecretData { ca_crt, ca_key: present.ca_key, tls_crt, tls_key })
}

fn pems<'a>(authorities: impl Iterator<Item = &'a Authority>) -> String {
    authorities.map(|authority| pem(&authority.der)).collect()
}

/// A certificate in the PEM format (RFC 7468).
fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// A new self-signed authority: its certificate and its key.
fn authority(now: Timestamp) -> Result<(String, KeyPair), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let pem = authority_params(now).self_signed(&key)?.pem();
    Ok((pem, key))
}

/// All authorities have the same name, so the key alone is enough to sign by one.
fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, AUTHORITY_LIFETIME);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mxjob-webhook-ca");
    // It signs server certificates only, no further authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// A certificate for these names, and its key.
fn certificate(
    authority: KeyPair,
    names: &[String],
    now: Timestamp,
) -> Result<(String, String), rcgen::Error> {
    let issuer = Issuer::new(authority_params(now), authority);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    set_validity(&mut params, now, CERTIFICATE_LIFETIME);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mxjob-webhook");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pem = params.signed_by(&key, &issuer)?.pem();
    Ok((pem, key.serialize_pem()))
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    params.not_before = epoch + since(now.as_second().saturating_sub(BACKDATE.as_secs()));
    params.not_after = epoch + since(now.as_second().saturating_add(life.as_secs()));
}
