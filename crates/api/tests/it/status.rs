//! Section 5 of the contract, the status: the order of conditions, and the wire form.

use jiff::Timestamp;
use mxjob_api::{ConditionStatus, ConditionType, JobStatus, ReplicaStatus, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use ConditionStatus::{False, True};
use ConditionType::{Created, Failed, Other, Restarting, Running, Succeeded, Suspended};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A status after these transitions, one a second, with the default reasons.
fn after(steps: &[(ConditionType, ConditionStatus)]) -> JobStatus {
    let mut status = JobStatus::default();
    for (second, (kind, holds)) in (0..).zip(steps) {
        let reason = if (kind, *holds) == (&Suspended, False) {
            "MXJobResumed".to_owned()
        } else {
            kind.reason()
        };
        status.set_condition(
            kind.clone(),
            *holds,
            &reason,
            &format!("{kind} {holds:?}"),
            at(second),
        );
    }
    status
}

/// Asserts that the transitions lead to these conditions, in this order (`+` True, `-` False).
fn check(steps: &[(ConditionType, ConditionStatus)], expected: &[&str]) {
    let found: Vec<_> = after(steps)
        .conditions
        .iter()
        .map(|condition| {
            format!("{}{}", if condition.status == True { '+' } else { '-' }, condition.kind)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_newest_transition_is_last() {
    check(&[(Created, True)], &["+Created"]);
    check(&[(Created, True), (Running, True)], &["+Created", "+Running"]);
    check(
        &[(Created, True), (Running, True), (Succeeded, True)],
        &["+Created", "-Running", "+Succeeded"],
    );
    check(
        &[(Created, True), (Running, True), (Failed, True)],
        &["+Created", "-Running", "+Failed"],
    );
    check(&[(Created, True), (Failed, True)], &["+Created", "+Failed"]);
    check(
        &[(Created, True), (Running, True), (Other("Mine".into()), True)],
        &["+Created", "+Running", "+Mine"],
    );
}

#[test]
fn running_and_restarting_replace_each_other() {
    let restarting = [(Created, True), (Running, True), (Restarting, True)];
    check(&restarting, &["+Created", "+Restarting"]);
    check(&[restarting.as_slice(), &[(Running, True)]].concat(), &["+Created", "+Running"]);
    check(
        &[restarting.as_slice(), &[(Failed, True)]].concat(),
        &["+Created", "-Restarting", "+Failed"],
    );
}

#[test]
fn the_state_never_reads_suspended_after_a_resume() {
    check(&[(Created, True), (Suspended, True)], &["+Created", "+Suspended"]);
    let suspended = [(Created, True), (Running, True), (Suspended, True)];
    check(&suspended, &["+Created", "-Running", "+Suspended"]);
    let resumed = [suspended.as_slice(), &[(Suspended, False)]].concat();
    check(&resumed, &["-Running", "-Suspended", "+Created"]);
    let running = [resumed.as_slice(), &[(Running, True)]].concat();
    check(&running, &["+Created", "-Suspended", "+Running"]);
    let again = [running.as_slice(), &[(Suspended, True)]].concat();
    check(&again, &["+Created", "-Running", "+Suspended"]);
    let done = [running.as_slice(), &[(Succeeded, True)]].concat();
    check(&done, &["+Created", "-Suspended", "-Running", "+Succeeded"]);
    let from_restart = [(Created, True), (Restarting, True), (Suspended, True), (Suspended, False)];
    check(&from_restart, &["-Restarting", "-Suspended", "+Created"]);
}

#[test]
fn the_last_condition_is_always_true() {
    let kinds = [Created, Running, Restarting, Suspended, Other("Mine".into())];
    let steps: Vec<_> =
        kinds.iter().flat_map(|kind| [(kind.clone(), True), (kind.clone(), False)]).collect();
    for first in &steps {
        for second in &steps {
            for third in &steps {
                let status =
                    after(&[(Created, True), first.clone(), second.clone(), third.clone()]);
                if status.is_true(&Created) {
                    assert_eq!(
                        status.conditions.last().unwrap().status,
                        True,
                        "{first:?} {second:?} {third:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_terminal_condition_freezes_all_conditions() {
    for end in [Succeeded, Failed] {
        let mut status = after(&[(Created, True), (Running, True), (end, True)]);
        let before = status.clone();
        assert!(status.is_finished());
        for kind in
            [Created, Running, Restarting, Suspended, Succeeded, Failed, Other("Mine".into())]
        {
            for holds in [True, False, ConditionStatus::Unknown] {
                assert!(!status.set_condition(kind.clone(), holds, "R", "m", at(99)));
            }
        }
        assert_eq!(status, before);
    }
}

#[test]
fn the_end_sets_running_false_in_place_and_keeps_its_message() {
    let status = after(&[(Created, True), (Running, True), (Succeeded, True)]);
    let running = status.condition(&Running).unwrap();
    assert_eq!(
        (running.reason.as_str(), running.message.as_str()),
        ("MXJobRunning", "Running True")
    );
    assert_eq!(
        (running.last_transition_time, running.last_update_time),
        (Some(at(2)), Some(at(2)))
    );
}

#[test]
fn suspending_sets_running_false_with_its_own_reason() {
    let status = after(&[(Created, True), (Running, True), (Suspended, True)]);
    let running = status.condition(&Running).unwrap();
    assert_eq!((running.status, running.reason.as_str()), (False, "MXJobSuspended"));
}

#[test]
fn repeating_a_condition_changes_nothing() {
    let mut status = after(&[(Created, True), (Running, True)]);
    let before = status.clone();
    assert!(!status.set_condition(Created, True, "MXJobCreated", "Created True", at(50)));
    assert!(!status.set_condition(Running, True, "MXJobRunning", "Running True", at(50)));
    assert_eq!(status, before);
}

#[test]
fn a_new_message_is_an_update_and_no_transition() {
    let mut status = after(&[(Created, True), (Running, True)]);
    assert!(status.set_condition(Created, True, "MXJobUnschedulable", "waiting", at(50)));
    let created = &status.conditions[0];
    assert_eq!(
        (created.last_transition_time, created.last_update_time),
        (Some(at(0)), Some(at(50)))
    );
    assert_eq!(
        (created.reason.as_str(), created.message.as_str()),
        ("MXJobUnschedulable", "waiting")
    );
    assert_eq!(status.conditions[1].kind, Running);
}

#[test]
fn times_are_whole_seconds() {
    let mut status = JobStatus::default();
    let now: Timestamp = "2026-11-24T08:00:00.987654321Z".parse().unwrap();
    status.set_condition(Created, True, "MXJobCreated", "MXJob digits is created.", now);
    status.start_time = Some(now);
    let value = status.to_value();
    assert_eq!(value["startTime"], "2026-11-24T08:00:00Z");
    assert_eq!(value["conditions"][0]["lastTransitionTime"], "2026-11-24T08:00:00Z");
    assert_eq!(value["conditions"][0]["lastUpdateTime"], "2026-11-24T08:00:00Z");
}

#[test]
fn counts_are_written_under_both_names_without_zeros() {
    let mut status = JobStatus::default();
    assert_eq!(status.to_value(), json!({}));
    status
        .replicas
        .insert(Role::Scheduler, ReplicaStatus { active: 1, ..ReplicaStatus::default() });
    status.replicas.insert(Role::Server, ReplicaStatus::default());
    status
        .replicas
        .insert(Role::Worker, ReplicaStatus { active: 1, succeeded: 2, failed: 3, restarts: 4 });
    let counts = json!({
        "Scheduler": { "active": 1 },
        "Server": {},
        "Worker": { "active": 1, "succeeded": 2, "failed": 3, "restarts": 4 },
    });
    assert_eq!(
        status.to_value(),
        json!({ "mxReplicaStatuses": counts, "replicaStatuses": counts })
    );
}

#[test]
fn a_status_is_read_back_as_it_was_written() {
    let mut status = after(&[
        (Created, True),
        (Running, True),
        (Other("Mine".into()), ConditionStatus::Unknown),
    ]);
    status.replicas.insert(Role::Tuner, ReplicaStatus { restarts: 7, ..ReplicaStatus::default() });
    status.start_time = Some(at(1));
    status.completion_time = Some(at(2));
    status.last_reconcile_time = Some(at(3));
    assert_eq!(JobStatus::deserialize(status.to_value()).unwrap(), status);
}

#[test]
fn either_name_of_the_counts_is_read_and_unknown_roles_are_ignored() {
    let read = |value: Value| JobStatus::deserialize(value).unwrap();
    for name in ["mxReplicaStatuses", "replicaStatuses"] {
        let status = read(
            json!({ name: { "worker": { "active": 2.0, "succeeded": null }, "Master": { "active": 1 } } }),
        );
        assert_eq!(status.replicas.len(), 1);
        assert_eq!(status.replicas[&Role::Worker].active, 2);
    }
    let bare = read(
        json!({ "conditions": [{ "type": "Created", "status": "True" }], "completedIndexes": {}, "x": 1 }),
    );
    assert_eq!(bare.conditions[0].last_update_time, None);
    assert!(bare.is_true(&Created));
    assert_eq!(read(json!({ "conditions": null, "startTime": null })), JobStatus::default());
}
