//! What to do about the content of the Secret at a point in time. Pure.

use jiff::{SignedDuration, Timestamp};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use super::authority::{self, Authority};
use super::issue::BACKDATE;
use super::material::Material;
use super::validity::Validity;

/// An authority gets a successor when it has this left: several lives of the certificates that it signs.
const AUTHORITY_OVERLAP: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a new authority is only trusted before it signs: far longer than an API server takes to read a configuration again.
const SETTLING: SignedDuration = SignedDuration::from_hours(24);
/// With less left than this a certificate is renewed although its authority has not settled yet.
const URGENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// Make a certificate by the authority that is there.
    RenewCertificate(Why),
    /// Make an authority beside the one that is there; the certificate stays.
    RenewAuthority(Why),
    /// Make everything: nothing that is there can be used.
    Make(Why),
}

/// Why something is to be done, as it is said in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// There is no Secret yet.
    Absent,
    /// Time is up soon, as planned.
    Due,
    /// Something is not as it should be.
    Fault(&'static str),
}

/// Decides. No material: there is no Secret. The names are those that the certificate must be good for. `trusted` is what the API
/// server trusts at present, in the PEM format: nothing known if empty, and `None` if it does not call us.
pub(super) fn judge(
    material: Option<&Material>,
    names: &[String],
    trusted: Option<&str>,
    now: Timestamp,
) -> Verdict {
    let Some(material) = material else { return Verdict::Make(Why::Absent) };
    let fault = |text| Verdict::Make(Why::Fault(text));
    let authorities = Authority::all(&material.ca_crt).unwrap_or_default();
    let Some(current) = authorities.first() else {
        return fault("its ca.crt is empty or no list of certificates");
    };
    let certificate = certificate(material, &authorities, names, now);
    if !current.validity.holds(now) {
        return fault("the time of its ca.crt is over, or still to come");
    }
    if !current.has_key(&material.ca_key) {
        let why = "its ca.key is not the key of the first certificate in ca.crt";
        // What is signed is still good, so there can be an overlap.
        return match certificate {
            State::Good => Verdict::RenewAuthority(Why::Fault(why)),
            State::Due { .. } | State::Faulty(_) => fault(why),
        };
    }
    match certificate {
        State::Faulty(fault) => Verdict::RenewCertificate(Why::Fault(fault)),
        // It signs no more: whatever is due waits for its successor.
        _ if current.validity.not_after.duration_since(now) < AUTHORITY_OVERLAP => {
            Verdict::RenewAuthority(Why::Due)
        }
        State::Due { left, is_by_current }
            if (is_by_current || is_trusted(current, trusted))
                && (left < URGENT || has_settled(current, now)) =>
        {
            Verdict::RenewCertificate(Why::Due)
        }
        State::Good | State::Due { .. } => Verdict::Keep,
    }
}

/// How a server's certificate is.
enum State {
    Good,
    Due {
        left: SignedDuration,
        /// Whether the current authority has signed it, rather than one before.
        is_by_current: bool,
    },
    Faulty(&'static str),
}

fn certificate(
    material: &Material,
    authorities: &[Authority],
    names: &[String],
    now: Timestamp,
) -> State {
    let Some(served) = authority::server(&material.tls_crt, &material.tls_key) else {
        return State::Faulty("its tls.crt and tls.key are not a certificate and its key");
    };
    let Some(der) = served.cert.first() else { return State::Faulty("its tls.crt is empty") };
    let (Ok(certificate), Some(validity)) = (ParsedCertificate::try_from(der), Validity::of(der))
    else {
        return State::Faulty("its tls.crt cannot be read");
    };
    if !validity.holds(now) {
        return State::Faulty("the time of its tls.crt is over, or still to come");
    }
    let Some(by) = authorities.iter().position(|authority| authority.signed(&certificate, now))
    else {
        return State::Faulty("its tls.crt was not signed by an authority of its ca.crt");
    };
    let is_good_for = |name: &String| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    if !names.iter().all(is_good_for) {
        return State::Faulty("its tls.crt is for another service");
    }
    // At two thirds of its life.
    let left = validity.not_after.duration_since(now);
    if left < validity.length() / 3 {
        State::Due { left, is_by_current: by == 0 }
    } else {
        State::Good
    }
}

/// Whether an API server that calls us would accept what the authority signs. Where it could not be told of it, the certificate of before
/// serves as long as it can.
fn is_trusted(authority: &Authority, trusted: Option<&str>) -> bool {
    trusted.is_none_or(|bundle| {
        let trusted = Authority::all(bundle).unwrap_or_default();
        trusted.iter().any(|trusted| trusted.der == authority.der)
    })
}

/// Whether every API server has had time to learn of the authority.
fn has_settled(authority: &Authority, now: Timestamp) -> bool {
    now.duration_since(authority.validity.not_before) >= BACKDATE + SETTLING
}
