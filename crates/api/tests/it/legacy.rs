//! Jobs as older operators left them: who it was, what will differ, and how they are adopted.

mod adoption;

use crate::jobs::{replica, with};
use mxjob_api::legacy::{self, Children, Era, Legacy, Weight};
use serde_json::{Value, json};

const NOW: &str = "2026-11-24T08:00:00Z";

/// A stored job of a scheduler, a server and two workers.
fn stored(spec: &Value, status: &Value) -> Value {
    let job = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "training", "uid": "7d1f" },
        "spec": { "jobMode": "MXTrain", "mxReplicaSpecs": { "Scheduler": replica(), "Server": replica(), "Worker": replica() } },
        "status": status,
    });
    with(&with(&job, &json!({ "mxReplicaSpecs": { "Worker": { "replicas": 2 } } })), spec)
}

fn conditions(last: &str) -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": format!("MXJob{kind}"), "message": "m",
            "lastUpdateTime": "2026-11-24T07:00:00Z", "lastTransitionTime": "2026-11-24T07:00:00Z",
        })
    };
    json!([condition("Created"), condition(last)])
}

/// The status that each operator wrote, of a job whose last condition is this one.
fn status(era: Era, last: &str) -> Value {
    let counts = json!({ "Scheduler": { "active": 1 }, "Server": { "active": 1 }, "Worker": { "active": 2 } });
    let start = "2026-11-24T06:00:00Z";
    match era {
        Era::A => {
            json!({ "conditions": conditions(last), "mxReplicaStatuses": counts, "startTime": start, "lastReconcileTime": null })
        }
        Era::B | Era::CEarly => {
            json!({ "conditions": conditions(last), "replicaStatuses": counts, "startTime": null, "completionTime": null })
        }
        Era::CLate => {
            json!({ "conditions": conditions(last), "replicaStatuses": counts, "startTime": start, "lastReconcileTime": start })
        }
        Era::Current => {
            json!({ "conditions": conditions(last), "replicaStatuses": counts, "mxReplicaStatuses": counts, "startTime": start })
        }
        Era::Unknown => json!({}),
    }
}

/// A policy as users of that operator wrote it.
fn policy(era: Era, policy: Value) -> Value {
    if matches!(era, Era::A | Era::B) { policy } else { json!({ "runPolicy": policy }) }
}

fn read(job: &Value) -> Legacy {
    legacy::read(job, None, NOW.parse().unwrap())
}

/// Holds that a job has a finding of that weight with these words in it.
#[track_caller]
fn check(legacy: &Legacy, weight: Weight, words: &str) {
    let found = legacy
        .findings
        .iter()
        .any(|finding| finding.weight == weight && finding.text.contains(words));
    assert!(found, "{words}: {:#?}", legacy.findings);
}

/// Holds that it has none with these words.
#[track_caller]
fn check_silent(legacy: &Legacy, words: &str) {
    assert!(
        !legacy.findings.iter().any(|finding| finding.text.contains(words)),
        "{:#?}",
        legacy.findings
    );
}

const OLDER: [Era; 4] = [Era::A, Era::B, Era::CEarly, Era::CLate];

#[test]
fn the_operator_is_told_by_the_status_it_wrote() {
    for era in [Era::A, Era::B, Era::CEarly, Era::CLate, Era::Current, Era::Unknown] {
        let job = stored(&policy(era, json!({ "backoffLimit": 3 })), &status(era, "Running"));
        assert_eq!(read(&job).era, era, "{job}");
    }
    let suspended = stored(&json!({}), &json!({ "conditions": conditions("Suspended") }));
    assert_eq!(read(&suspended).era, Era::CLate);
    let mut new = stored(&json!({}), &json!({ "conditions": conditions("Created") }));
    new["metadata"]["managedFields"] =
        json!([{ "manager": "mxjob-controller", "operation": "Update", "subresource": "status" }]);
    assert_eq!(read(&new).era, Era::Current);
    let no_policy = stored(&json!({}), &status(Era::CLate, "Running"));
    assert_eq!(read(&no_policy).era, Era::CLate);
}

#[test]
fn the_labels_of_its_pods_tell_it_better() {
    let job = stored(&json!({}), &status(Era::B, "Running"));
    for (labels, era) in [
        (json!({ "group_name": "kubeflow.org", "mxnet_job_name": "digits" }), Era::A),
        (json!({ "group-name": "kubeflow.org", "mxnet-job-name": "digits" }), Era::A),
        (
            json!({ "group-name": "kubeflow.org", "job-name": "digits", "replica-type": "worker" }),
            Era::B,
        ),
        (json!({ "job-name": "digits", "training.kubeflow.org/job-name": "digits" }), Era::CEarly),
        (json!({ "training.kubeflow.org/job-name": "digits" }), Era::CLate),
        (
            json!({ "training.kubeflow.org/job-name": "digits", "mxnet-job-name": "digits" }),
            Era::Current,
        ),
    ] {
        let pods = [adoption::pod("digits-worker-0", &labels)];
        let children = Children { pods: &pods, services: &[] };
        assert_eq!(legacy::read(&job, Some(&children), NOW.parse().unwrap()).era, era, "{labels}");
    }
}

#[test]
fn a_take_over_that_was_cut_short_is_still_to_be_done() {
    let job = stored(&json!({}), &status(Era::B, "Running"));
    let done = json!({ "training.kubeflow.org/job-name": "digits", "mxnet-job-name": "digits" });
    let pods = [
        adoption::pod("digits-worker-0", &done),
        adoption::pod("digits-worker-1", &json!({ "job-name": "digits" })),
    ];
    let children = Children { pods: &pods, services: &[] };
    assert_eq!(legacy::read(&job, Some(&children), NOW.parse().unwrap()).era, Era::B);
}

#[test]
fn the_default_of_the_clean_up_was_another_in_each() {
    for (era, words) in [
        (Era::A, "the default is Running and was All with mxnet-operator 1.0"),
        (Era::B, "was All with mxnet-operator 1.1"),
        (Era::CEarly, "was All with training-operator 1.5"),
        (Era::CLate, "was None with training-operator 1.8"),
    ] {
        let bare = stored(&policy(era, json!({ "backoffLimit": 3 })), &status(era, "Running"));
        check(&read(&bare), Weight::Change, words);
        let given = stored(
            &policy(era, json!({ "backoffLimit": 3, "cleanPodPolicy": "None" })),
            &status(era, "Running"),
        );
        check_silent(&read(&given), "cleanPodPolicy");
        let empty = stored(
            &policy(era, json!({ "backoffLimit": 3, "cleanPodPolicy": "" })),
            &status(era, "Running"),
        );
        check(&read(&empty), Weight::Note, "goes on to mean All");
    }
    check_silent(&read(&stored(&json!({}), &status(Era::Current, "Running"))), "cleanPodPolicy");
}

#[test]
fn a_policy_in_the_layout_that_was_not_read_is_told() {
    let nested = json!({ "runPolicy": { "backoffLimit": 3, "suspend": true } });
    let a = read(&stored(&nested, &status(Era::A, "Running")));
    check(
        &a,
        Weight::Change,
        "spec.runPolicy.backoffLimit was not read by mxnet-operator 1.0 and is in force now: 3.",
    );
    check(
        &a,
        Weight::Danger,
        "spec.runPolicy.suspend was not read by mxnet-operator 1.0 and is in force now: true, so all pods",
    );

    let both = json!({ "ttlSecondsAfterFinished": 9, "successPolicy": "AllWorkers", "runPolicy": { "suspend": false } });
    let c = read(&stored(&both, &status(Era::CLate, "Running")));
    check(&c, Weight::Change, "spec.ttlSecondsAfterFinished was not read by training-operator 1.8");
    check(
        &c,
        Weight::Change,
        "spec.successPolicy was not read by training-operator 1.8 and is in force now: AllWorkers.",
    );
    check_silent(&c, "suspend was not read");

    let gang = json!({ "schedulingPolicy": { "minAvailable": 2 }, "backoffLimit": 1 });
    check(
        &read(&stored(&gang, &status(Era::B, "Running"))),
        Weight::Change,
        "spec.schedulingPolicy.minAvailable was not read",
    );
}

#[test]
fn a_time_to_live_that_is_over_would_delete_the_job_at_once() {
    for era in OLDER {
        let finished = |ttl: i32| {
            let mut status = status(era, "Succeeded");
            status["startTime"] = if era == Era::CLate {
                json!("2026-11-24T06:00:00Z")
            } else {
                status["startTime"].clone()
            };
            stored(&policy(era, json!({ "ttlSecondsAfterFinished": ttl })), &status)
        };
        let over = read(&finished(3599));
        assert!(over.is_finished);
        check(
            &over,
            Weight::Danger,
            "ended at 2026-11-24T07:00:00Z and its ttlSecondsAfterFinished of 3599 is over",
        );
        check(&read(&finished(3601)), Weight::Change, "it is deleted at 2026-11-24T08:00:01Z");
        check(&over, Weight::Note, "completionTime");
    }
    for era in [Era::B, Era::CEarly] {
        let job =
            stored(&policy(era, json!({ "ttlSecondsAfterFinished": 60 })), &status(era, "Running"));
        check(
            &read(&job),
            Weight::Change,
            "deleted 60 s after its end (ttlSecondsAfterFinished), which",
        );
    }
}

#[test]
fn a_deadline_that_never_ended_a_job_will() {
    for era in OLDER {
        let job =
            stored(&policy(era, json!({ "activeDeadlineSeconds": 600 })), &status(era, "Running"));
        if matches!(era, Era::A | Era::CLate) {
            check(&read(&job), Weight::Danger, "longer than its activeDeadlineSeconds of 600");
        } else {
            check(&read(&job), Weight::Change, "count from the take-over");
        }
    }
    let far = stored(&json!({ "activeDeadlineSeconds": 86_400 }), &status(Era::A, "Running"));
    check_silent(&read(&far), "activeDeadlineSeconds");
}

#[test]
fn the_rules_of_restarts_and_of_success_are_told_where_they_differ() {
    let restarting = |era, name: &str| {
        let spec = json!({ "mxReplicaSpecs": { "Worker": { "restartPolicy": name } } });
        read(&stored(&with_policy(era, &spec), &status(era, "Running")))
    };
    for era in OLDER {
        check(
            &restarting(era, "ExitCode"),
            Weight::Change,
            "A failure that may be retried restarts all replicas",
        );
        check_silent(&restarting(era, "Never"), "may be retried");
        check(
            &restarting(era, "Never"),
            Weight::Change,
            "backoffLimit 3 counts the restarts of the job as a whole",
        );
    }
    check(
        &restarting(Era::CLate, "OnFailure"),
        Weight::Change,
        "is replaced, where training-operator 1.8 failed the job",
    );
    check(
        &restarting(Era::B, "Always"),
        Weight::Change,
        "is replaced, where mxnet-operator 1.1 failed the job",
    );
    check_silent(&restarting(Era::A, "OnFailure"), "failed the job.");
    check(&restarting(Era::A, "ExitCode"), Weight::Change, "every code from 128 on is retried");
    check_silent(&restarting(Era::CLate, "ExitCode"), "every code from 128 on");
    check(
        &restarting(Era::B, "Never"),
        Weight::Change,
        "its scheduler has and no worker has failed for good; with mxnet-operator 1.1 the first role",
    );

    let tune = json!({ "mxReplicaSpecs": {
        "Scheduler": null, "Server": null, "Worker": null, "TunerTracker": replica(), "TunerServer": replica(), "Tuner": replica(),
    }, "jobMode": "MXTune" });
    let tune = read(&stored(&with_policy(Era::CLate, &tune), &status(Era::CLate, "Created")));
    check(
        &tune,
        Weight::Change,
        "succeeds when its tuner has; with training-operator 1.8 such a job never ended",
    );
}

fn with_policy(era: Era, spec: &Value) -> Value {
    mxjob_machinery::patch::merge_patch(spec, &policy(era, json!({ "backoffLimit": 3 })))
}

#[test]
fn what_would_not_be_accepted_today_is_carried_on_or_refused_or_left_alone() {
    let three =
        json!({ "mxReplicaSpecs": { "Scheduler": { "replicas": 3, "restartPolicy": "" } } });
    let begun = read(&stored(&three, &status(Era::CLate, "Running")));
    check(&begun, Weight::Note, "as it stands it is carried on");
    check(&begun, Weight::Note, "a job has at most one Scheduler");
    check(&begun, Weight::Change, "has 3 replicas of Scheduler");
    check(&read(&stored(&three, &json!({}))), Weight::Danger, "the controller will refuse it");
    let odd = json!({ "mxReplicaSpecs": { "Evaluator": replica() } });
    let unreadable = read(&stored(&odd, &status(Era::CLate, "Running")));
    check(
        &unreadable,
        Weight::Danger,
        "leaves it and its pods alone: MXJob digits has replicas of the unknown role \"Evaluator\".",
    );
    assert!(unreadable.patches.is_empty());
}

#[test]
fn the_gravest_comes_first() {
    let spec = json!({ "runPolicy": { "suspend": true }, "cleanPodPolicy": "" });
    let findings = read(&stored(&spec, &status(Era::A, "Running"))).findings;
    assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.weight)));
    assert_eq!(findings[0].weight, Weight::Danger);
}

#[test]
fn there_is_nothing_to_say_of_a_job_of_our_own() {
    let job = stored(
        &json!({ "backoffLimit": 1, "ttlSecondsAfterFinished": 5 }),
        &status(Era::Current, "Running"),
    );
    let legacy = read(&job);
    assert_eq!((legacy.findings, legacy.patches), (vec![], vec![]));
    for any in
        [json!(null), json!([]), json!({ "metadata": { "name": "a" }, "spec": 1, "status": [] })]
    {
        let _ = read(&any);
    }
}

#[test]
fn a_job_that_is_too_large_is_named_as_one_that_will_fail() {
    let roles = json!({ "mxReplicaSpecs": { "Worker": { "replicas": i32::MAX } } });
    let found = |job: &Value| {
        let children = Children { pods: &[], services: &[] };
        let legacy = legacy::read(job, Some(&children), NOW.parse().unwrap());
        let dangers = legacy.findings.into_iter().filter(|it| it.weight == Weight::Danger);
        dangers.map(|it| it.text).collect::<Vec<_>>().join("\n")
    };
    let running = stored(&roles, &status(Era::CLate, "Running"));
    assert!(found(&running).contains("The job is too large"), "{}", found(&running));
    let over = stored(&roles, &status(Era::CLate, "Succeeded"));
    assert!(!found(&over).contains("too large"), "{}", found(&over));
}
