//! The identity in a client certificate: the common name is the user, the organizations are the
//! groups (upstream's `x509.CommonNameUserConversion`).
//!
//! Only certificates that our authority signed are read, after they were verified.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::identity::{CREDENTIAL_ID, Identity};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The explicit tag of a certificate's version, which may be left out.
const VERSION: u8 = 0xa0;
/// Strings whose bytes are UTF-8: `UTF8String`, `PrintableString`, `IA5String`.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The identity of a verified certificate; `None` where it has no common name.
pub(super) fn identity(der: &[u8]) -> Option<Identity> {
    let mut name = None;
    let mut groups = Vec::new();
    for (kind, value) in subject(der)? {
        match kind {
            COMMON_NAME => name = Some(value),
            ORGANIZATION => groups.push(value.to_owned()),
            _ => {}
        }
    }
    let name = name.filter(|name| !name.is_empty())?;
    let mut fingerprint = "X509SHA256=".to_owned();
    for byte in digest(&SHA256, der).as_ref() {
        let _ = write!(fingerprint, "{byte:02x}");
    }
    let extra = [(CREDENTIAL_ID.to_owned(), vec![fingerprint])].into();
    Some(Identity::new(name, "", groups).with_extra(extra))
}

/// Object identifier and text of each attribute of the subject, in order.
fn subject(der: &[u8]) -> Option<Vec<(&[u8], &str)>> {
    let (certificate, _) = tagged(der, SEQUENCE)?;
    let (mut fields, _) = tagged(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = any(fields)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        fields = any(fields)?.2;
    }
    let (mut names, _) = tagged(fields, SEQUENCE)?;
    let mut attributes = Vec::new();
    while !names.is_empty() {
        let (mut set, rest) = tagged(names, SET)?;
        names = rest;
        while !set.is_empty() {
            let (attribute, rest) = tagged(set, SEQUENCE)?;
            set = rest;
            let (kind, value) = tagged(attribute, OBJECT_IDENTIFIER)?;
            let (tag, text, _) = any(value)?;
            if TEXTS.contains(&tag) {
                attributes.push((kind, std::str::from_utf8(text).ok()?));
            }
        }
    }
    Some(attributes)
}

/// Content of a value that must have this tag, and the bytes after it.
fn tagged(der: &[u8], want: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = any(der)?;
    (tag == want).then_some((content, rest))
}

/// Tag, content, and the bytes after it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let length = match usize::from(*first) {
        short @ 0..=0x7f => short,
        // At most four length bytes: enough for any certificate.
        long @ 0x81..=0x84 => {
            let (bytes, after) = rest.split_at_checked(long - 0x80)?;
            rest = after;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn der(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_the_user_and_organizations_are_groups() {
        let identity = identity(&der(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "dev"),
            (DnType::CommonName, "änn"),
        ]));
        let identity = identity.unwrap();
        assert_eq!(
            (&*identity.name, &*identity.groups),
            ("änn", &["dev".to_owned(), "system:authenticated".to_owned()][..])
        );
        assert!(identity.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
        assert_eq!(super::identity(&der(&[(DnType::OrganizationName, "dev")])), None);
    }

    #[test]
    fn truncated_and_broken_certificates_have_no_identity() {
        let whole = der(&[(DnType::CommonName, "ann")]);
        for end in 0..whole.len() / 3 {
            assert_eq!(identity(&whole[..end]), None);
        }
        for index in 0..whole.len() {
            let mut broken = whole.clone();
            broken[index] ^= 0xff;
            let _ = identity(&broken); // must not panic
        }
        assert_eq!(identity(&[0x30, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
