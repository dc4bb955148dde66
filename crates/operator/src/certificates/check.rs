//! Decides what to do about the content of the Secret at a point in time. Pure.

use jiff::{SignedDuration, Timestamp};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use super::authority::{self, Authority};
use super::decision::{BACKDATE, Decision, Reason};
use super::secret_data::SecretData;
use super::validity::Validity;

/// An authority gets a successor when this is left of its lifetime: several lifetimes of the
/// certificates that it signs.
const AUTHORITY_OVERLAP: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a new authority is trusted before it signs: far longer than an API server takes to see
/// a changed configuration.
const TRUST_DELAY: SignedDuration = SignedDuration::from_hours(24);
/// With less time left than this a certificate is renewed even if the new authority has not been
/// trusted for long.
const URGENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Decides what to do. `secret_data` is `None` where there is no Secret; `names` are the DNS names
/// that the certificate must cover. `trusted` is what the API server trusts at present, in the PEM
/// format: empty if that is not known, and `None` if the API server does not call this webhook.
pub(super) fn check(
    secret_data: Option<&SecretData>,
    names: &[String],
    trusted: Option<&str>,
    now: Timestamp,
) -> Decision {
    let Some(secret_data) = secret_data else { return Decision::RecreateAll(Reason::Missing) };
    let recreate = |text| Decision::RecreateAll(Reason::Invalid(text));
    let authorities = Authority::all(&secret_data.ca_crt).unwrap_or_default();
    let Some(current) = authorities.first() else {
        return recreate("its ca.crt is empty or not a list of certificates");
    };
    let certificate = certificate(secret_data, &authorities, names, now);
    if !current.validity.contains(now) {
        return recreate("its ca.crt is expired or not valid yet");
    }
    if !current.has_key(&secret_data.ca_key) {
        let why = "its ca.key is not the key of the first certificate in ca.crt";
        // The certificate is still good, so both authorities can overlap.
        return match certificate {
            State::Good => Decision::RenewAuthority(Reason::Invalid(why)),
            State::Due { .. } | State::Invalid(_) => recreate(why),
        };
    }
    match certificate {
        State::Invalid(why) => Decision::RenewCertificate(Reason::Invalid(why)),
        // This authority signs no more: a due certificate waits for the successor.
        _ if current.validity.not_after.duration_since(now) < AUTHORITY_OVERLAP => {
            Decision::RenewAuthority(Reason::Due)
        }
        State::Due { left, is_by_current }
            if (is_by_current || is_trusted(current, trusted))
                && (left < URGENT || is_established(current, now)) =>
        {
            Decision::RenewCertificate(Reason::Due)
        }
        State::Good | State::Due { .. } => Decision::Keep,
    }
}

/// The state of a server's certificate.
enum State {
    Good,
    Due {
        left: SignedDuration,
        /// Whether the current authority signed it, rather than an earlier one.
        is_by_current: bool,
    },
    Invalid(&'static str),
}

fn certificate(
    secret_data: &SecretData,
    authorities: &[Authority],
    names: &[String],
    now: Timestamp,
) -> State {
    let Some(served) = authority::server(&secret_data.tls_crt, &secret_data.tls_key) else {
        return State::Invalid("its tls.crt and tls.key are not a certificate and its key");
    };
    let Some(der) = served.cert.first() else { return State::Invalid("its tls.crt is empty") };
    let (Ok(certificate), Some(validity)) = (ParsedCertificate::try_from(der), Validity::of(der))
    else {
        return State::Invalid("its tls.crt cannot be read");
    };
    if !validity.contains(now) {
        return State::Invalid("its tls.crt is expired or not valid yet");
    }
    let Some(by) = authorities.iter().position(|authority| authority.signed(&certificate, now))
    else {
        return State::Invalid("its tls.crt was not signed by an authority of its ca.crt");
    };
    let is_good_for = |name: &String| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    if !names.iter().all(is_good_for) {
        return State::Invalid("its tls.crt is for another service");
    }
    // Due after two thirds of its lifetime.
    let left = validity.not_after.duration_since(now);
    if left < validity.length() / 3 {
        State::Due { left, is_by_current: by == 0 }
    } else {
        State::Good
    }
}

/// Whether the API server accepts what the authority signs. Where the `caBundle` could not be
/// changed, the old certificate serves as long as it can.
fn is_trusted(authority: &Authority, trusted: Option<&str>) -> bool {
    trusted.is_none_or(|bundle| {
        let trusted = Authority::all(bundle).unwrap_or_default();
        trusted.iter().any(|trusted| trusted.der == authority.der)
    })
}

/// Whether every API server has had the time to see the authority in the `caBundle`.
fn is_established(authority: &Authority, now: Timestamp) -> bool {
    now.duration_since(authority.validity.not_before) >= BACKDATE + TRUST_DELAY
}
