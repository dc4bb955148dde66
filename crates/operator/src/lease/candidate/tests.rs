use serde_json::json;

use super::*;

mod world;

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A lease as the API server shows it.
fn lease(version: u64, holder: &str) -> Answer {
    Answer::Is(Record::from_value(json!({
        "metadata": { "resourceVersion": version.to_string() },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15 },
    })))
}

/// Feeds answers to a candidate, each at a second, and returns its next step after each, and
/// whether it leads.
fn run(candidate: &mut Candidate, answers: &[(u64, Answer)]) -> String {
    let mut steps = Vec::new();
    for (at, answer) in answers {
        let step = candidate.next(seconds(*at));
        assert!(
            !matches!(step, Step::Wait(_)),
            "an answer at {at} that the candidate does not wait for: {steps:?}"
        );
        candidate.answered(seconds(*at), seconds(*at), answer.clone());
        let what = match candidate.next(seconds(*at)) {
            Step::Wait(until) => format!("wait {}", until.as_secs()),
            Step::Read => "read".to_owned(),
            Step::Write { before: None, .. } => "create".to_owned(),
            Step::Write { before: Some(before), .. } => format!("update {}", before.version),
        };
        let leads = if candidate.leads(seconds(*at)) { "leading: " } else { "" };
        steps.push(format!("{leads}{what}"));
    }
    steps.join(", ")
}

#[track_caller]
fn check(answers: &[(u64, Answer)], steps: &str) -> Candidate {
    let mut candidate = Candidate::new("me".to_owned(), TIMING);
    assert_eq!(candidate.next(Duration::ZERO), Step::Read);
    assert_eq!(run(&mut candidate, answers), steps);
    candidate
}

use Answer::{Conflict, Lost, Missing};

#[test]
fn a_free_lease_is_taken_immediately() {
    check(&[(0, Missing), (0, lease(1, "me"))], "create, leading: wait 2");
    check(&[(0, lease(7, "")), (0, lease(8, "me"))], "update 7, leading: wait 2");
}

#[test]
fn the_leader_renews_without_reading() {
    check(
        &[(0, Missing), (0, lease(1, "me")), (2, lease(2, "me")), (4, lease(3, "me"))],
        "create, leading: wait 2, leading: wait 4, leading: wait 6",
    );
}

#[test]
fn the_lease_of_another_expires_after_its_last_observed_change() {
    check(
        &[
            (100, lease(1, "other")),
            (102, lease(1, "other")),
            (104, lease(2, "other")),
            (106, lease(2, "other")),
            (108, lease(2, "other")),
            (118, lease(2, "other")),
            (119, lease(2, "other")),
            (119, lease(3, "me")),
        ],
        "wait 102, wait 104, wait 106, wait 108, wait 110, wait 119, update 2, leading: wait 121",
    );
}

#[test]
fn the_lease_duration_of_the_holder_counts() {
    let lease = Answer::Is(Record::from_value(json!({
        "metadata": { "resourceVersion": "1" },
        "spec": { "holderIdentity": "other", "leaseDurationSeconds": 60 },
    })));
    check(&[(0, lease.clone()), (59, lease.clone()), (60, lease)], "wait 2, wait 60, update 1");
}

#[test]
fn a_released_lease_is_taken_at_the_next_read() {
    check(
        &[(0, lease(1, "other")), (2, lease(2, "")), (2, lease(3, "me"))],
        "wait 2, update 2, leading: wait 4",
    );
}

#[test]
fn the_slower_candidate_stands_by() {
    check(&[(0, Missing), (0, Conflict), (0, lease(1, "other"))], "create, read, wait 2");
    check(&[(0, lease(1, "")), (0, Conflict), (0, lease(2, "other"))], "update 1, read, wait 2");
}

#[test]
fn a_lost_answer_proves_nothing_and_the_lease_is_read_again() {
    check(
        &[(0, Missing), (0, lease(1, "me")), (2, Lost), (4, lease(2, "me")), (4, lease(3, "me"))],
        "create, leading: wait 2, leading: wait 4, leading: update 2, leading: wait 6",
    );
}

#[test]
fn a_leader_that_cannot_renew_gives_up_at_the_deadline_and_may_lead_again() {
    let mut candidate = check(
        &[(0, Missing), (0, lease(1, "me")), (2, Lost), (4, Lost), (6, Lost), (8, Lost)],
        "create, leading: wait 2, leading: wait 4, leading: wait 6, leading: wait 8, leading: wait 10",
    );
    assert_eq!(candidate.may_write_until(), Some(seconds(15)));
    assert!(!candidate.leads(seconds(10)));
    assert_eq!(candidate.next(seconds(10)), Step::Read);
    assert_eq!(candidate.may_write_until(), None);
    assert_eq!(
        run(&mut candidate, &[(12, lease(1, "me")), (12, lease(2, "me"))]),
        "update 1, leading: wait 14",
        "no other has taken it"
    );
}

#[test]
fn a_paused_leader_does_not_lead_when_it_continues() {
    let mut candidate = check(&[(0, Missing), (0, lease(1, "me"))], "create, leading: wait 2");
    assert!(!candidate.leads(seconds(3600)));
    assert_eq!(candidate.next(seconds(3600)), Step::Read);
    assert_eq!(run(&mut candidate, &[(3600, lease(9, "other"))]), "wait 3602");
}

#[test]
fn a_term_counts_from_when_the_request_was_sent() {
    let mut candidate = Candidate::new("me".to_owned(), TIMING);
    candidate.next(Duration::ZERO);
    candidate.answered(Duration::ZERO, Duration::ZERO, Missing);
    candidate.next(Duration::ZERO);
    candidate.answered(Duration::ZERO, seconds(11), lease(1, "me"));
    assert!(!candidate.leads(seconds(11)), "the answer took too long");
    assert_eq!(candidate.may_write_until(), Some(seconds(15)));
}

#[test]
fn a_leader_that_sees_another_holder_gives_up_immediately() {
    check(
        &[(0, Missing), (0, lease(1, "me")), (2, Conflict), (2, lease(5, "other"))],
        "create, leading: wait 2, leading: read, wait 4",
    );
}

#[test]
fn a_deleted_lease_is_recreated_only_after_it_would_have_expired() {
    check(
        &[(0, lease(1, "other")), (2, Missing), (14, Missing), (15, Missing)],
        "wait 2, wait 4, wait 15, create",
    );
    check(
        &[(0, Missing), (0, lease(1, "me")), (2, Missing), (2, Missing), (2, lease(4, "me"))],
        "create, leading: wait 2, leading: read, leading: create, leading: wait 4",
    );
}

#[test]
fn a_leader_whose_deleted_lease_was_recreated_by_another_reads_immediately() {
    let mut candidate = check(
        &[
            (0, Missing),
            (0, lease(1, "me")),
            (2, Missing),
            (2, Missing),
            (2, Conflict),
            (2, lease(5, "other")),
        ],
        "create, leading: wait 2, leading: read, leading: create, leading: read, wait 4",
    );
    assert_eq!(candidate.begin_release(), Release::NotNeeded);
}

#[test]
fn a_lease_with_an_unconfirmed_write_is_read_before_its_release() {
    let mut led = check(
        &[(0, Missing), (0, lease(1, "me")), (2, Lost)],
        "create, leading: wait 2, leading: wait 4",
    );
    assert_eq!(led.begin_release(), Release::ReadFirst);
    assert!(!led.leads(seconds(2)));
    let Answer::Is(ours) = lease(2, "me") else { unreachable!() };
    let Answer::Is(other) = lease(3, "other") else { unreachable!() };
    assert!(matches!(led.release_of(ours), Release::Write(record, _) if record.version == "2"));
    assert_eq!(led.release_of(other), Release::NotNeeded);
    for (answers, steps, want) in [
        (vec![(0, Missing), (0, Lost)], "create, wait 2", Release::ReadFirst),
        (vec![(0, Missing), (0, Lost), (2, Lost)], "create, wait 2, wait 4", Release::ReadFirst),
        (vec![(0, lease(1, "")), (0, Lost)], "update 1, wait 2", Release::ReadFirst),
        (
            vec![(0, Missing), (0, Lost), (2, lease(1, "other"))],
            "create, wait 2, wait 4",
            Release::NotNeeded,
        ),
        (vec![(0, Lost)], "wait 2", Release::NotNeeded),
        (vec![(0, lease(1, "other")), (2, Lost)], "wait 2, wait 4", Release::NotNeeded),
    ] {
        assert_eq!(check(&answers, steps).begin_release(), want, "{steps}");
    }
}

#[test]
fn only_the_own_lease_is_released() {
    let mut candidate = check(&[(0, Missing), (0, lease(1, "me"))], "create, leading: wait 2");
    let Release::Write(record, claim) = candidate.begin_release() else { panic!("{candidate:?}") };
    assert_eq!((record.version.as_str(), claim.holder.as_str(), claim.seconds), ("1", "", 1));
    assert!(!candidate.leads(seconds(1)));
    let mut candidate = check(&[(0, lease(1, "other"))], "wait 2");
    assert_eq!(candidate.begin_release(), Release::NotNeeded);
    assert_eq!(Candidate::new("me".to_owned(), TIMING).begin_release(), Release::NotNeeded);
}

#[test]
fn invalid_timings_are_rejected() {
    let ms = Duration::from_millis;
    for (lease, renew, retry, want) in [
        (15_000, 10_000, 2_000, Ok(())),
        (2_000, 1_000, 500, Ok(())),
        (0, 0, 0, Err(TimingError::Fraction)),
        (1_500, 1_000, 100, Err(TimingError::Fraction)),
        (15_000, 15_000, 2_000, Err(TimingError::RenewTooLong)),
        (2_147_483_647_000, 10_000, 2_000, Ok(())),
        (2_147_483_648_000, 10_000, 2_000, Err(TimingError::TooLong)),
        (15_000, 10_000, u64::MAX, Err(TimingError::RetryTooLong)),
        (15_000, 10_000, 6_000, Err(TimingError::RetryTooLong)),
        (15_000, 10_000, 0, Err(TimingError::RetryTooLong)),
    ] {
        let timing = Timing { lease: ms(lease), renew: ms(renew), retry: ms(retry) };
        assert_eq!(timing.check(), want, "{timing:?}");
    }
    let endless = Timing { retry: Duration::MAX, ..Timing::default() };
    assert_eq!(endless.check(), Err(TimingError::RetryTooLong));
}
