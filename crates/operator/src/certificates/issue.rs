//! Keys and certificates, made as [`judge`](super::judge) says. The time comes in; the keys are the one random thing.

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
use super::judge::{Verdict, Why};
use super::material::Material;

/// How long an authority counts.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long a server's certificate counts.
const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Certificates count from so long back: clocks differ.
pub(super) const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// How many authorities of a bundle are kept where all else is made anew: those that a replica may still show, and no endless list.
const KEPT: usize = 3;

/// What the Secret is to hold after the verdict was carried out, and what was done in the end: where the authority turns out to be
/// of no use, everything is made. `trusted` is the bundle of the configuration.
///
/// # Errors
/// Where a key or a certificate cannot be made.
pub(super) fn carry_out(
    verdict: Verdict,
    material: Option<&Material>,
    names: &[String],
    trusted: Option<&str>,
    now: Timestamp,
) -> Result<(Verdict, Material), rcgen::Error> {
    let present = material.cloned().unwrap_or_default();
    let next = match &verdict {
        Verdict::Keep => present,
        Verdict::RenewCertificate(_) => match renew_certificate(present, names, now) {
            Ok(next) => next,
            Err(_) => {
                let why = Why::Fault("its authority cannot sign; somebody else may have made it");
                return carry_out(Verdict::Make(why), material, names, trusted, now);
            }
        },
        Verdict::RenewAuthority(_) => {
            let old = Authority::all(&present.ca_crt).unwrap_or_default();
            let (pem, key) = authority(now)?;
            let ca_crt = pem + &pems(old.iter().filter(|old| old.validity.holds(now)));
            Material { ca_crt, ca_key: key.serialize_pem(), ..present }
        }
        Verdict::Make(_) => {
            let (pem, key) = authority(now)?;
            let ca_key = key.serialize_pem();
            let (tls_crt, tls_key) = certificate(key, names, now)?;
            // Other replicas show a certificate of one of these until they have looked at the Secret.
            let before = Authority::all(trusted.unwrap_or_default()).unwrap_or_default();
            let before = before.iter().filter(|before| before.validity.holds(now));
            let ca_crt = pem + &pems(before.take(KEPT));
            Material { ca_crt, ca_key, tls_crt, tls_key }
        }
    };
    Ok((verdict, next))
}

/// Signs by the current authority. The ones before it are trusted on while replicas may still show a certificate of theirs,
/// which is until the renewal after this one.
fn renew_certificate(
    present: Material,
    names: &[String],
    now: Timestamp,
) -> Result<Material, rcgen::Error> {
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
        // An authority that was not made here may have another name than ours, and what is signed in its place then leads nowhere.
        return Err(rcgen::Error::CouldNotParseCertificate);
    }
    let trusted = if is_of_current(&present.tls_crt) { 1 } else { authorities.len() };
    let trusted = authorities.iter().take(trusted);
    let ca_crt = pems(trusted.filter(|authority| authority.validity.holds(now)));
    Ok(Material { ca_crt, ca_key: present.ca_key, tls_crt, tls_key })
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

/// A new authority that has signed itself: its certificate and its key.
fn authority(now: Timestamp) -> Result<(String, KeyPair), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let pem = authority_params(now).self_signed(&key)?.pem();
    Ok((pem, key))
}

/// All authorities have the same name, so that the key is all that is needed to sign in the name of one.
fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, AUTHORITY_LIFE);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mxjob-webhook-ca");
    // It signs servers' certificates and no further authority.
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
    set_validity(&mut params, now, CERTIFICATE_LIFE);
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
