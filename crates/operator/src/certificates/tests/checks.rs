//! What is decided at which time for which content.

use rustls::server::ParsedCertificate;

use super::*;
use crate::certificates::authority::{Authority, server};

/// A short name of a decision.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Keep => "keep",
        Decision::RenewCertificate(Reason::Due) => "renew",
        Decision::RenewCertificate(_) => "reissue",
        Decision::RenewAuthority(Reason::Due) => "add authority",
        Decision::RenewAuthority(_) => "replace",
        Decision::RecreateAll(_) => "recreate",
    }
}

fn decision(secret_data: &SecretData, now: Timestamp) -> &'static str {
    word(&check(Some(secret_data), &names(), Some(&secret_data.ca_crt), now))
}

/// Applies the decision of that time, where the API server trusts all authorities of `ca.crt`.
fn step(secret_data: &SecretData, now: Timestamp) -> SecretData {
    let trusted = Some(secret_data.ca_crt.as_str());
    let decision = check(Some(secret_data), &names(), trusted, now);
    apply(decision, Some(secret_data), &names(), trusted, now).unwrap().1
}

/// For each trusted authority, newest first, whether it signed the certificate.
fn trust(secret_data: &SecretData, now: Timestamp) -> Vec<bool> {
    let certified = server(&secret_data.tls_crt, &secret_data.tls_key).unwrap();
    let certificate = ParsedCertificate::try_from(&certified.cert[0]).unwrap();
    let authorities = Authority::all(&secret_data.ca_crt).unwrap();
    authorities.iter().map(|authority| authority.signed(&certificate, now)).collect()
}

#[test]
fn a_new_installation_is_created_and_kept() {
    assert_eq!(check(None, &names(), None, start()), Decision::RecreateAll(Reason::Missing));
    let secret_data = new_installation(start());
    for (days, want) in
        [(0, "keep"), (1, "keep"), (59, "keep"), (61, "renew"), (89, "renew"), (91, "reissue")]
    {
        assert_eq!(decision(&secret_data, day(days)), want, "day {days}");
    }
    assert_eq!(trust(&secret_data, start()), [true]);
}

#[test]
fn a_certificate_is_renewed_by_the_same_authority_with_a_new_key() {
    let first = new_installation(start());
    let second = step(&first, day(61));
    assert!(first.ca_crt == second.ca_crt && first.ca_key == second.ca_key);
    assert!(first.tls_crt != second.tls_crt && first.tls_key != second.tls_key);
    assert_eq!(trust(&second, day(61)), [true]);
    for (days, want) in [(61, "keep"), (120, "keep"), (122, "renew")] {
        assert_eq!(decision(&second, day(days)), want, "day {days}");
    }
}

#[test]
fn clocks_may_differ_by_an_hour() {
    let secret_data = new_installation(start());
    let minutes = |minutes| start() + SignedDuration::from_mins(minutes);
    assert_eq!(decision(&secret_data, minutes(-59)), "keep");
    assert_eq!(decision(&secret_data, minutes(-61)), "recreate");
}

/// An installation that was synced until this day.
fn synced_until(last: i32) -> SecretData {
    let mut secret_data = new_installation(start());
    // Every three days is enough: a certificate is due for thirty.
    for days in (0..=last).step_by(3) {
        secret_data = step(&secret_data, day(days));
    }
    secret_data
}

#[test]
fn a_new_authority_is_trusted_before_it_signs() {
    // After nine years and a day less than one year is left.
    let due = 9 * 365;
    let before = synced_until(due);
    assert_eq!(trust(&before, day(due)), [true]);
    let now = day(due + 1);
    assert_eq!(decision(&before, now), "add authority");
    let both = step(&before, now);
    assert_eq!(trust(&both, now), [false, true], "the new one is trusted, the old one has signed");
    assert!(both.tls_crt == before.tls_crt && both.ca_key != before.ca_key);
    assert_eq!(decision(&both, now), "keep");

    // The following days.
    let mut secret_data = both;
    let mut seen = Vec::new();
    for days in due + 1..due + 200 {
        let next = step(&secret_data, day(days));
        if next.tls_crt != secret_data.tls_crt {
            seen.push(trust(&next, day(days)));
        }
        secret_data = next;
    }
    assert_eq!(
        seen[..2],
        [vec![true, false], vec![true]],
        "the next certificate is signed by the new one, and the renewal after it removes the old one"
    );
}

#[test]
fn a_due_certificate_waits_until_a_new_authority_was_trusted_for_a_day_unless_it_is_urgent() {
    let authority = |secret_data: &SecretData, now| {
        let decision = Decision::RenewAuthority(Reason::Due);
        apply(decision, Some(secret_data), &names(), None, now).unwrap().1
    };
    let secret_data = new_installation(start());
    for (renewed, looked, want) in [
        (61, 61, "keep"),    // the authority is new
        (61, 62, "renew"),   // trusted for a day
        (84, 84, "renew"),   // less than a week left
        (91, 91, "reissue"), // expired
    ] {
        let both = authority(&secret_data, day(renewed));
        assert_eq!(decision(&both, day(looked)), want, "{renewed} {looked}");
    }
}

#[test]
fn a_new_authority_signs_once_the_api_server_trusts_it() {
    let old = new_installation(start());
    let decision = Decision::RenewAuthority(Reason::Due);
    let both = apply(decision, Some(&old), &names(), None, day(61)).unwrap().1;
    for (trusted, looked, want) in [
        (Some(&*old.ca_crt), 62, "keep"), // the configuration could not be changed
        // the old certificate is still accepted, a new one would not be
        (Some(&*old.ca_crt), 89, "keep"),
        (Some(&*old.ca_crt), 91, "reissue"), // expired
        (Some(""), 62, "keep"),              // the configuration could not be read
        (Some(&*both.ca_crt), 62, "renew"),
        (None, 62, "renew"), // the API server does not call
    ] {
        let found = word(&check(Some(&both), &names(), trusted, day(looked)));
        assert_eq!(found, want, "day {looked} {trusted:?}");
    }
    // The authority that signed the certificate may always sign the next one.
    assert_eq!(word(&check(Some(&old), &names(), Some(""), day(61))), "renew");
}

#[test]
fn a_recreated_secret_keeps_the_trusted_authorities_until_the_next_renewal() {
    let mut trusted = new_installation(start()).ca_crt;
    let mut secret_data = SecretData::default();
    for count in [2, 3, 4, 4] {
        let decision = Decision::RecreateAll(Reason::Missing);
        let trusts = Some(trusted.as_str());
        secret_data = apply(decision, None, &names(), trusts, start()).unwrap().1;
        assert_eq!(trust(&secret_data, start()).len(), count);
        assert!(trust(&secret_data, start())[0] && verdict_is_keep(&secret_data));
        trusted.clone_from(&secret_data.ca_crt);
    }
    assert_eq!(trust(&step(&secret_data, day(61)), day(61)), [true]);
    let over = new_installation(day(-11 * 365)).ca_crt;
    let decision = Decision::RecreateAll(Reason::Missing);
    let fresh = apply(decision, None, &names(), Some(&over), start()).unwrap().1;
    assert_eq!(trust(&fresh, start()), [true], "an expired authority is not kept");
}

fn verdict_is_keep(secret_data: &SecretData) -> bool {
    decision(secret_data, start()) == "keep"
}

#[test]
fn every_replica_serves_a_trusted_certificate_during_renewals() {
    let mut secret_data = new_installation(start());
    let mut bundles = vec![(0, secret_data.ca_crt.clone())];
    let mut days = 0;
    // Twelve years.
    while days < 12 * 365 {
        let now = day(days);
        let before = secret_data.clone();
        secret_data = step(&secret_data, now);
        if secret_data.ca_crt != before.ca_crt {
            bundles.push((days, secret_data.ca_crt.clone()));
        }
        // Another replica may still serve the old certificate, and an API server may still have the
        // old bundle.
        let mixed = |certificate: &SecretData, bundle: &SecretData| SecretData {
            ca_crt: bundle.ca_crt.clone(),
            ca_key: bundle.ca_key.clone(),
            ..certificate.clone()
        };
        for mixed in [mixed(&before, &secret_data), mixed(&secret_data, &before)] {
            assert!(trust(&mixed, now).contains(&true), "day {days}");
        }
        days += 4;
    }
    assert_eq!(bundles.len(), 3, "one, both, the new one: {bundles:?}");
}

#[test]
fn only_the_unusable_part_is_replaced() {
    let other = new_installation(start());
    let check = |damage: &dyn Fn(&mut SecretData), want: &str, why: &str| {
        let mut secret_data = new_installation(start());
        damage(&mut secret_data);
        let decision = check(Some(&secret_data), &names(), None, start());
        assert_eq!(word(&decision), want, "{why}");
        let (Decision::RecreateAll(found)
        | Decision::RenewCertificate(found)
        | Decision::RenewAuthority(found)) = &decision
        else {
            panic!("{decision:?}")
        };
        let Reason::Invalid(found) = found else { panic!("{found:?}") };
        assert!(found.contains(why), "{found}");
        let repaired = apply(decision, Some(&secret_data), &names(), None, start()).unwrap().1;
        assert_eq!(check(Some(&repaired), &names(), None, start()), Decision::Keep, "{why}");
    };
    check(&|m| *m = SecretData::default(), "recreate", "is empty or not a list");
    check(&|m| m.ca_crt = "hello".to_owned(), "recreate", "is empty or not a list");
    check(&|m| m.ca_crt.truncate(200), "recreate", "is empty or not a list");
    check(&|m| m.ca_crt = m.ca_key.clone(), "recreate", "is empty or not a list");
    check(&|m| m.ca_crt = other.ca_crt.clone(), "recreate", "not the key of the first");
    check(&|m| m.ca_key.clear(), "replace", "not the key of the first");
    check(&|m| m.ca_key = m.tls_key.clone(), "replace", "not the key of the first");
    check(&|m| m.tls_key.clear(), "reissue", "not a certificate and its key");
    check(&|m| m.tls_key = other.tls_key.clone(), "reissue", "not a certificate and its key");
    check(&|m| m.tls_crt.truncate(300), "reissue", "not a certificate and its key");
    check(
        &|m| {
            m.tls_crt = other.tls_crt.clone();
            m.tls_key = other.tls_key.clone();
        },
        "reissue",
        "not signed by an authority",
    );
    check(
        &|m| {
            let elsewhere = ["hook.elsewhere.svc".to_owned()];
            let decision = Decision::RenewCertificate(Reason::Due);
            *m = apply(decision, Some(m), &elsewhere, None, start()).unwrap().1;
        },
        "reissue",
        "for another service",
    );
    check(&|m| *m = new_installation(day(-11 * 365)), "recreate", "expired or not valid yet");
    check(&|m| *m = new_installation(day(1)), "recreate", "expired or not valid yet");
}

#[test]
fn a_single_changed_letter_is_repaired_in_one_step() {
    let intact = new_installation(start());
    let fields: [fn(&mut SecretData) -> &mut String; 4] =
        [|m| &mut m.ca_crt, |m| &mut m.ca_key, |m| &mut m.tls_crt, |m| &mut m.tls_key];
    for field in fields {
        for at in (0..field(&mut intact.clone()).len()).step_by(13) {
            let mut secret_data = intact.clone();
            let text = field(&mut secret_data);
            let letter = if text[at..].starts_with('A') { "B" } else { "A" };
            text.replace_range(at..=at, letter);
            let repaired = step(&secret_data, start());
            assert_eq!(
                check(Some(&repaired), &names(), None, start()),
                Decision::Keep,
                "letter {at}"
            );
        }
    }
}
