//! The validity period of a certificate, read from its DER form.
//!
//! The TLS library checks the times of the certificates in a chain but does not expose them, and
//! ignores those of a trust anchor. So this reads the one field and nothing else: signatures, names
//! and extensions are left to the library.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The validity period of a certificate, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// `[0]`, constructed: the version of a certificate.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

// === impl Validity ===

impl Validity {
    /// Reads the field of a certificate (RFC 5280, 4.1.2.5); `None` if it is not a certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(certificate).value(SEQUENCE)?);
        let mut fields = Der(certificate.value(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.value(VERSION)?;
        }
        fields.value(INTEGER)?; // the serial number
        fields.value(SEQUENCE)?; // the algorithm
        fields.value(SEQUENCE)?; // the issuer
        let mut times = Der(fields.value(SEQUENCE)?);
        Some(Self { not_before: times.time()?, not_after: times.time()? })
    }

    /// Whether the certificate is valid at this time.
    pub(super) fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The length of the period.
    pub(super) fn length(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }
}

/// A reader of DER: the bytes that are left.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value if it has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = self.next()?;
        (found == tag).then_some(value)
    }

    /// The next value: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            // The low bits are the number of length bytes; no certificate needs more than three.
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 3 {
                return None;
            }
            rest = after;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn time(&mut self) -> Option<Timestamp> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?;
        let text = match tag {
            // Years of two digits are 1950 to 2049.
            UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_is_read_from_certificates_and_from_nothing_else() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 11, 24);
        // Times from 2050 on are encoded as GeneralizedTime.
        params.not_after = rcgen::date_time_ymd(2057, 2, 28) + std::time::Duration::from_secs(59);
        let certificate = params.self_signed(&key).unwrap();
        let der: &[u8] = certificate.der();
        let validity = Validity::of(der).unwrap();
        assert_eq!(validity.not_before, "2026-11-24T00:00:00Z".parse().unwrap());
        assert_eq!(validity.not_after, "2057-02-28T00:00:59Z".parse().unwrap());
        for end in 0..der.len() {
            assert_eq!(Validity::of(&der[..end]), None, "cut at {end}");
        }
        for at in 0..der.len() {
            for byte in [0x00, 0x7f, 0x80, 0x84, 0xff] {
                let mut broken = der.to_vec();
                broken[at] = byte;
                let _ = Validity::of(&broken); // any result, but no panic
            }
        }
    }
}
