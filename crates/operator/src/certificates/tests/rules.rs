//! What is done at which time with which content.

use super::*;
use crate::certificates::authority::{Authority, server};
use rustls::server::ParsedCertificate;

/// The one word of a verdict.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Keep => "keep",
        Verdict::RenewCertificate(Why::Due) => "renew",
        Verdict::RenewCertificate(_) => "mend",
        Verdict::RenewAuthority(Why::Due) => "succeed",
        Verdict::RenewAuthority(_) => "replace",
        Verdict::Make(_) => "make",
    }
}

fn verdict(material: &Material, now: Timestamp) -> &'static str {
    word(&judge(Some(material), &names(), Some(&material.ca_crt), now))
}

/// Does what is to be done at that time, once, where the API server was told of all that is trusted.
fn step(material: &Material, now: Timestamp) -> Material {
    let trusted = Some(material.ca_crt.as_str());
    let verdict = judge(Some(material), &names(), trusted, now);
    carry_out(verdict, Some(material), &names(), trusted, now).unwrap().1
}

/// Which authorities are trusted and which one has signed: `new*` or `new old*`, newest first.
fn trust(material: &Material, now: Timestamp) -> Vec<bool> {
    let certified = server(&material.tls_crt, &material.tls_key).unwrap();
    let certificate = ParsedCertificate::try_from(&certified.cert[0]).unwrap();
    let authorities = Authority::all(&material.ca_crt).unwrap();
    authorities.iter().map(|authority| authority.signed(&certificate, now)).collect()
}

#[test]
fn the_first_one_makes_everything_and_it_is_kept() {
    assert_eq!(judge(None, &names(), None, start()), Verdict::Make(Why::Absent));
    let material = made(start());
    for (days, want) in
        [(0, "keep"), (1, "keep"), (59, "keep"), (61, "renew"), (89, "renew"), (91, "mend")]
    {
        assert_eq!(verdict(&material, day(days)), want, "day {days}");
    }
    assert_eq!(trust(&material, start()), [true]);
}

#[test]
fn a_certificate_is_renewed_by_the_same_authority_with_a_key_of_its_own() {
    let first = made(start());
    let second = step(&first, day(61));
    assert!(first.ca_crt == second.ca_crt && first.ca_key == second.ca_key);
    assert!(first.tls_crt != second.tls_crt && first.tls_key != second.tls_key);
    assert_eq!(trust(&second, day(61)), [true]);
    for (days, want) in [(61, "keep"), (120, "keep"), (122, "renew")] {
        assert_eq!(verdict(&second, day(days)), want, "day {days}");
    }
}

#[test]
fn clocks_may_differ_by_an_hour() {
    let material = made(start());
    let minutes = |minutes| start() + SignedDuration::from_mins(minutes);
    assert_eq!(verdict(&material, minutes(-59)), "keep");
    assert_eq!(verdict(&material, minutes(-61)), "make");
}

/// An installation that was looked after until this day.
fn looked_after_until(last: i32) -> Material {
    let mut material = made(start());
    // Every three days, which is enough: a certificate is due for thirty.
    for days in (0..=last).step_by(3) {
        material = step(&material, day(days));
    }
    material
}

#[test]
fn an_authority_has_a_successor_that_is_trusted_before_it_signs() {
    // Nine years and a day: one year is left.
    let due = 9 * 365;
    let before = looked_after_until(due);
    assert_eq!(trust(&before, day(due)), [true]);
    let now = day(due + 1);
    assert_eq!(verdict(&before, now), "succeed");
    let both = step(&before, now);
    assert_eq!(trust(&both, now), [false, true], "the new one is there, the old one has signed");
    assert!(both.tls_crt == before.tls_crt && both.ca_key != before.ca_key);
    assert_eq!(verdict(&both, now), "keep");

    // From here on as time goes by.
    let mut material = both;
    let mut seen = Vec::new();
    for days in due + 1..due + 200 {
        let next = step(&material, day(days));
        if next.tls_crt != material.tls_crt {
            seen.push(trust(&next, day(days)));
        }
        material = next;
    }
    assert_eq!(
        seen[..2],
        [vec![true, false], vec![true]],
        "the next certificate is signed by the new one, and the old one leaves with the one after it"
    );
}

#[test]
fn a_certificate_that_is_due_waits_until_a_new_authority_has_settled_unless_it_is_urgent() {
    let authority = |material: &Material, now| {
        let verdict = Verdict::RenewAuthority(Why::Due);
        carry_out(verdict, Some(material), &names(), None, now).unwrap().1
    };
    let material = made(start());
    for (renewed, looked, want) in [
        (61, 61, "keep"),  // the authority is new
        (61, 62, "renew"), // a day later it has settled
        (84, 84, "renew"), // less than a week left
        (91, 91, "mend"),  // over
    ] {
        let both = authority(&material, day(renewed));
        assert_eq!(verdict(&both, day(looked)), want, "{renewed} {looked}");
    }
}

#[test]
fn a_new_authority_signs_once_the_api_server_was_seen_to_trust_it() {
    let old = made(start());
    let verdict = Verdict::RenewAuthority(Why::Due);
    let both = carry_out(verdict, Some(&old), &names(), None, day(61)).unwrap().1;
    for (trusted, looked, want) in [
        (Some(&*old.ca_crt), 62, "keep"), // the configuration could not be changed
        (Some(&*old.ca_crt), 89, "keep"), // what is served is better than what nobody accepts
        (Some(&*old.ca_crt), 91, "mend"), // until it is over
        (Some(""), 62, "keep"),           // the configuration could not be read
        (Some(&*both.ca_crt), 62, "renew"),
        (None, 62, "renew"), // nobody calls
    ] {
        let found = word(&judge(Some(&both), &names(), trusted, day(looked)));
        assert_eq!(found, want, "day {looked} {trusted:?}");
    }
    // The authority that has signed it before may sign the next one whatever is known.
    assert_eq!(word(&judge(Some(&old), &names(), Some(""), day(61))), "renew");
}

#[test]
fn where_all_is_made_anew_what_was_trusted_is_trusted_until_the_next_renewal() {
    let mut trusted = made(start()).ca_crt;
    let mut material = Material::default();
    for count in [2, 3, 4, 4] {
        let verdict = Verdict::Make(Why::Absent);
        let trusts = Some(trusted.as_str());
        material = carry_out(verdict, None, &names(), trusts, start()).unwrap().1;
        assert_eq!(trust(&material, start()).len(), count);
        assert!(trust(&material, start())[0] && verdict_is_keep(&material));
        trusted.clone_from(&material.ca_crt);
    }
    assert_eq!(trust(&step(&material, day(61)), day(61)), [true]);
    let over = made(day(-11 * 365)).ca_crt;
    let verdict = Verdict::Make(Why::Absent);
    let fresh = carry_out(verdict, None, &names(), Some(&over), start()).unwrap().1;
    assert_eq!(trust(&fresh, start()), [true], "what is over is not kept");
}

fn verdict_is_keep(material: &Material) -> bool {
    verdict(material, start()) == "keep"
}

#[test]
fn every_replica_that_looks_in_between_finds_what_it_serves_trusted() {
    let mut material = made(start());
    let mut bundles = vec![(0, material.ca_crt.clone())];
    let mut days = 0;
    // Twelve years.
    while days < 12 * 365 {
        let now = day(days);
        let before = material.clone();
        material = step(&material, now);
        if material.ca_crt != before.ca_crt {
            bundles.push((days, material.ca_crt.clone()));
        }
        // Another replica still shows the one before, and an API server may know only the bundle of before.
        let mixed = |certificate: &Material, bundle: &Material| Material {
            ca_crt: bundle.ca_crt.clone(),
            ca_key: bundle.ca_key.clone(),
            ..certificate.clone()
        };
        for mixed in [mixed(&before, &material), mixed(&material, &before)] {
            assert!(trust(&mixed, now).contains(&true), "day {days}");
        }
        days += 4;
    }
    assert_eq!(bundles.len(), 3, "one, both, the new one: {bundles:?}");
}

#[test]
fn what_cannot_be_used_is_replaced_as_sparingly_as_can_be() {
    let other = made(start());
    let check = |damage: &dyn Fn(&mut Material), want: &str, why: &str| {
        let mut material = made(start());
        damage(&mut material);
        let verdict = judge(Some(&material), &names(), None, start());
        assert_eq!(word(&verdict), want, "{why}");
        let (Verdict::Make(found)
        | Verdict::RenewCertificate(found)
        | Verdict::RenewAuthority(found)) = &verdict
        else {
            panic!("{verdict:?}")
        };
        let Why::Fault(found) = found else { panic!("{found:?}") };
        assert!(found.contains(why), "{found}");
        let mended = carry_out(verdict, Some(&material), &names(), None, start()).unwrap().1;
        assert_eq!(judge(Some(&mended), &names(), None, start()), Verdict::Keep, "{why}");
    };
    check(&|m| *m = Material::default(), "make", "is empty or no list");
    check(&|m| m.ca_crt = "hello".to_owned(), "make", "is empty or no list");
    check(&|m| m.ca_crt.truncate(200), "make", "is empty or no list");
    check(&|m| m.ca_crt = m.ca_key.clone(), "make", "is empty or no list");
    check(&|m| m.ca_crt = other.ca_crt.clone(), "make", "not the key of the first");
    check(&|m| m.ca_key.clear(), "replace", "not the key of the first");
    check(&|m| m.ca_key = m.tls_key.clone(), "replace", "not the key of the first");
    check(&|m| m.tls_key.clear(), "mend", "not a certificate and its key");
    check(&|m| m.tls_key = other.tls_key.clone(), "mend", "not a certificate and its key");
    check(&|m| m.tls_crt.truncate(300), "mend", "not a certificate and its key");
    check(
        &|m| {
            m.tls_crt = other.tls_crt.clone();
            m.tls_key = other.tls_key.clone();
        },
        "mend",
        "not signed by an authority",
    );
    check(
        &|m| {
            let elsewhere = ["hook.elsewhere.svc".to_owned()];
            let verdict = Verdict::RenewCertificate(Why::Due);
            *m = carry_out(verdict, Some(m), &elsewhere, None, start()).unwrap().1;
        },
        "mend",
        "for another service",
    );
    check(&|m| *m = made(day(-11 * 365)), "make", "is over");
    check(&|m| *m = made(day(1)), "make", "still to come");
}

#[test]
fn whatever_a_single_letter_does_to_the_content_it_is_mended_in_one_step() {
    let sound = made(start());
    let fields: [fn(&mut Material) -> &mut String; 4] =
        [|m| &mut m.ca_crt, |m| &mut m.ca_key, |m| &mut m.tls_crt, |m| &mut m.tls_key];
    for field in fields {
        for at in (0..field(&mut sound.clone()).len()).step_by(13) {
            let mut material = sound.clone();
            let text = field(&mut material);
            let letter = if text[at..].starts_with('A') { "B" } else { "A" };
            text.replace_range(at..=at, letter);
            let mended = step(&material, start());
            assert_eq!(judge(Some(&mended), &names(), None, start()), Verdict::Keep, "letter {at}");
        }
    }
}
