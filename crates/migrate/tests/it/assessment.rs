//! Jobs as older operators left them: the operator, the findings, and the adoption.

mod adoption;

use mxjob_machinery::patch::merge_patch;
use mxjob_migrate::Operator::{
    MxnetOperator1_0, MxnetOperator1_1, TrainingOperator1_5, TrainingOperator1_8,
};
use mxjob_migrate::Weight::{Change, Danger, Note};
use mxjob_migrate::{Assessment, Children, Operator, Weight, assess};
use serde_json::{Value, json};

const NOW: &str = "2026-11-24T08:00:00Z";

/// The replicas of one role: one pod with a training container.
fn replica() -> Value {
    json!({ "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }] } } })
}

/// A stored job of a scheduler, a server and two workers.
fn stored(spec: &Value, status: &Value) -> Value {
    let job = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "training", "uid": "7d1f" },
        "spec": { "jobMode": "MXTrain", "mxReplicaSpecs": { "Scheduler": replica(), "Server": replica(), "Worker": replica() } },
        "status": status,
    });
    let two = json!({ "spec": { "mxReplicaSpecs": { "Worker": { "replicas": 2 } } } });
    merge_patch(&merge_patch(&job, &two), &json!({ "spec": spec }))
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
fn status(operator: Operator, last: &str) -> Value {
    let counts = json!({ "Scheduler": { "active": 1 }, "Server": { "active": 1 }, "Worker": { "active": 2 } });
    let start = "2026-11-24T06:00:00Z";
    match operator {
        MxnetOperator1_0 => {
            json!({ "conditions": conditions(last), "mxReplicaStatuses": counts, "startTime": start, "lastReconcileTime": null })
        }
        MxnetOperator1_1 | TrainingOperator1_5 => {
            json!({ "conditions": conditions(last), "replicaStatuses": counts, "startTime": null, "completionTime": null })
        }
        TrainingOperator1_8 => {
            json!({ "conditions": conditions(last), "replicaStatuses": counts, "startTime": start, "lastReconcileTime": start })
        }
        Operator::Mxjob => {
            json!({ "conditions": conditions(last), "replicaStatuses": counts, "mxReplicaStatuses": counts, "startTime": start })
        }
        Operator::None => json!({}),
    }
}

/// A stored job that runs.
fn running(operator: Operator, spec: &Value) -> Value {
    stored(spec, &status(operator, "Running"))
}

/// A policy as users of that operator wrote it.
fn policy(operator: Operator, policy: Value) -> Value {
    if matches!(operator, MxnetOperator1_0 | MxnetOperator1_1) {
        policy
    } else {
        json!({ "runPolicy": policy })
    }
}

fn read(job: &Value) -> Assessment {
    assess(job, None, NOW.parse().unwrap())
}

/// Asserts that a job has a finding of that weight that contains these words.
#[track_caller]
fn check(assessment: &Assessment, weight: Weight, words: &str) {
    let found = assessment
        .findings
        .iter()
        .any(|finding| finding.weight == weight && finding.text.contains(words));
    assert!(found, "{words}: {:#?}", assessment.findings);
}

/// Asserts that no finding contains these words.
#[track_caller]
fn check_silent(assessment: &Assessment, words: &str) {
    assert!(
        !assessment.findings.iter().any(|finding| finding.text.contains(words)),
        "{:#?}",
        assessment.findings
    );
}

const OLDER: [Operator; 4] =
    [MxnetOperator1_0, MxnetOperator1_1, TrainingOperator1_5, TrainingOperator1_8];

#[test]
fn operator_is_recognized_by_the_status_it_wrote() {
    for operator in OLDER.into_iter().chain([Operator::Mxjob, Operator::None]) {
        let job = running(operator, &policy(operator, json!({ "backoffLimit": 3 })));
        assert_eq!(read(&job).operator, operator, "{job}");
    }
    let suspended = stored(&json!({}), &json!({ "conditions": conditions("Suspended") }));
    assert_eq!(read(&suspended).operator, TrainingOperator1_8);
    let mut new = stored(&json!({}), &json!({ "conditions": conditions("Created") }));
    new["metadata"]["managedFields"] =
        json!([{ "manager": "mxjob-controller", "operation": "Update", "subresource": "status" }]);
    assert_eq!(read(&new).operator, Operator::Mxjob);
    let no_policy = running(TrainingOperator1_8, &json!({}));
    assert_eq!(read(&no_policy).operator, TrainingOperator1_8);
}

#[test]
fn labels_of_pods_win_over_the_status() {
    let job = running(MxnetOperator1_1, &json!({}));
    for (labels, operator) in [
        (json!({ "group_name": "kubeflow.org", "mxnet_job_name": "digits" }), MxnetOperator1_0),
        (json!({ "group-name": "kubeflow.org", "mxnet-job-name": "digits" }), MxnetOperator1_0),
        (
            json!({ "group-name": "kubeflow.org", "job-name": "digits", "replica-type": "worker" }),
            MxnetOperator1_1,
        ),
        (
            json!({ "job-name": "digits", "training.kubeflow.org/job-name": "digits" }),
            TrainingOperator1_5,
        ),
        (json!({ "training.kubeflow.org/job-name": "digits" }), TrainingOperator1_8),
        (
            json!({ "training.kubeflow.org/job-name": "digits", "mxnet-job-name": "digits" }),
            Operator::Mxjob,
        ),
    ] {
        let pods = [adoption::pod("digits-worker-0", &labels)];
        let children = Children { pods: &pods, services: &[] };
        assert_eq!(
            assess(&job, Some(&children), NOW.parse().unwrap()).operator,
            operator,
            "{labels}"
        );
    }
}

#[test]
fn interrupted_adoption_is_continued() {
    let job = running(MxnetOperator1_1, &json!({}));
    let done = json!({ "training.kubeflow.org/job-name": "digits", "mxnet-job-name": "digits" });
    let pods = [
        adoption::pod("digits-worker-0", &done),
        adoption::pod("digits-worker-1", &json!({ "job-name": "digits" })),
    ];
    let children = Children { pods: &pods, services: &[] };
    assert_eq!(assess(&job, Some(&children), NOW.parse().unwrap()).operator, MxnetOperator1_1);
}

#[test]
fn default_clean_pod_policy_of_each_operator_is_reported() {
    for (operator, words) in [
        (MxnetOperator1_0, "the default is Running and was All with mxnet-operator 1.0"),
        (MxnetOperator1_1, "was All with mxnet-operator 1.1"),
        (TrainingOperator1_5, "was All with training-operator 1.5"),
        (TrainingOperator1_8, "was None with training-operator 1.8"),
    ] {
        let bare = running(operator, &policy(operator, json!({ "backoffLimit": 3 })));
        check(&read(&bare), Change, words);
        let given = running(
            operator,
            &policy(operator, json!({ "backoffLimit": 3, "cleanPodPolicy": "None" })),
        );
        check_silent(&read(&given), "cleanPodPolicy");
        let empty = running(
            operator,
            &policy(operator, json!({ "backoffLimit": 3, "cleanPodPolicy": "" })),
        );
        check(&read(&empty), Note, "still means All");
    }
    check_silent(&read(&running(Operator::Mxjob, &json!({}))), "cleanPodPolicy");
}

#[test]
fn policy_in_a_place_that_was_not_read_is_reported() {
    let nested = json!({ "runPolicy": { "backoffLimit": 3, "suspend": true } });
    let a = read(&running(MxnetOperator1_0, &nested));
    check(
        &a,
        Change,
        "spec.runPolicy.backoffLimit was not read by mxnet-operator 1.0 and is now in effect: 3.",
    );
    check(
        &a,
        Danger,
        "spec.runPolicy.suspend was not read by mxnet-operator 1.0 and is now in effect: true, so all pods",
    );

    let both = json!({ "ttlSecondsAfterFinished": 9, "successPolicy": "AllWorkers", "runPolicy": { "suspend": false } });
    let c = read(&running(TrainingOperator1_8, &both));
    check(&c, Change, "spec.ttlSecondsAfterFinished was not read by training-operator 1.8");
    check(
        &c,
        Change,
        "spec.successPolicy was not read by training-operator 1.8 and is now in effect: AllWorkers.",
    );
    check_silent(&c, "suspend was not read");

    let gang = json!({ "schedulingPolicy": { "minAvailable": 2 }, "backoffLimit": 1 });
    check(
        &read(&running(MxnetOperator1_1, &gang)),
        Change,
        "spec.schedulingPolicy.minAvailable was not read",
    );
}

#[test]
fn expired_time_to_live_is_a_danger() {
    for operator in OLDER {
        let finished = |ttl: i32| {
            let mut status = status(operator, "Succeeded");
            status["startTime"] = if operator == TrainingOperator1_8 {
                json!("2026-11-24T06:00:00Z")
            } else {
                status["startTime"].clone()
            };
            stored(&policy(operator, json!({ "ttlSecondsAfterFinished": ttl })), &status)
        };
        let over = read(&finished(3599));
        assert!(over.is_finished);
        check(
            &over,
            Danger,
            "ended at 2026-11-24T07:00:00Z and its ttlSecondsAfterFinished of 3599 has expired",
        );
        check(&read(&finished(3601)), Change, "it is deleted at 2026-11-24T08:00:01Z");
        check(&over, Note, "completionTime");
    }
    for operator in [MxnetOperator1_1, TrainingOperator1_5] {
        let job = running(operator, &policy(operator, json!({ "ttlSecondsAfterFinished": 60 })));
        check(&read(&job), Change, "deleted 60 s after its end (ttlSecondsAfterFinished); ");
    }
}

#[test]
fn deadline_that_was_never_enforced_is_reported() {
    for operator in OLDER {
        let job = running(operator, &policy(operator, json!({ "activeDeadlineSeconds": 600 })));
        if matches!(operator, MxnetOperator1_0 | TrainingOperator1_8) {
            check(&read(&job), Danger, "longer than its activeDeadlineSeconds of 600");
        } else {
            check(&read(&job), Change, "count from its adoption");
        }
    }
    let far = running(MxnetOperator1_0, &json!({ "activeDeadlineSeconds": 86_400 }));
    check_silent(&read(&far), "activeDeadlineSeconds");
}

#[test]
fn changed_rules_of_restarts_and_success_are_reported() {
    let restarting = |operator, name: &str| {
        let spec = json!({ "mxReplicaSpecs": { "Worker": { "restartPolicy": name } } });
        read(&running(operator, &with_policy(operator, &spec)))
    };
    for operator in OLDER {
        check(
            &restarting(operator, "ExitCode"),
            Change,
            "A retryable failure restarts all replicas",
        );
        check_silent(&restarting(operator, "Never"), "retryable");
        check(
            &restarting(operator, "Never"),
            Change,
            "backoffLimit 3 now counts restarts of the whole job",
        );
    }
    check(
        &restarting(TrainingOperator1_8, "OnFailure"),
        Change,
        "is replaced, where training-operator 1.8 failed the job",
    );
    check(
        &restarting(MxnetOperator1_1, "Always"),
        Change,
        "is replaced, where mxnet-operator 1.1 failed the job",
    );
    check_silent(&restarting(MxnetOperator1_0, "OnFailure"), "failed the job.");
    check(&restarting(MxnetOperator1_0, "ExitCode"), Change, "every code from 128 on is retried");
    check_silent(&restarting(TrainingOperator1_8, "ExitCode"), "every code from 128 on");
    check(
        &restarting(MxnetOperator1_1, "Never"),
        Change,
        "its scheduler succeeds and no worker has failed permanently; with mxnet-operator 1.1 the first role",
    );

    let tune = json!({ "mxReplicaSpecs": {
        "Scheduler": null, "Server": null, "Worker": null, "TunerTracker": replica(), "TunerServer": replica(), "Tuner": replica(),
    }, "jobMode": "MXTune" });
    let tune = read(&stored(
        &with_policy(TrainingOperator1_8, &tune),
        &status(TrainingOperator1_8, "Created"),
    ));
    check(
        &tune,
        Change,
        "succeeds when its tuner succeeds; with training-operator 1.8 such a job never ended",
    );
}

fn with_policy(operator: Operator, spec: &Value) -> Value {
    merge_patch(spec, &policy(operator, json!({ "backoffLimit": 3 })))
}

#[test]
fn invalid_job_is_managed_rejected_or_left_unmanaged() {
    let three =
        json!({ "mxReplicaSpecs": { "Scheduler": { "replicas": 3, "restartPolicy": "" } } });
    let begun = read(&running(TrainingOperator1_8, &three));
    check(&begun, Note, "since it exists, it is still managed");
    check(&begun, Note, "a job has at most one Scheduler");
    check(&begun, Change, "has 3 replicas of Scheduler");
    check(&read(&stored(&three, &json!({}))), Danger, "the controller will reject it");
    let odd = json!({ "mxReplicaSpecs": { "Evaluator": replica() } });
    let unreadable = read(&running(TrainingOperator1_8, &odd));
    check(
        &unreadable,
        Danger,
        "leaves it and its pods unmanaged: MXJob digits has replicas of the unknown role \"Evaluator\".",
    );
    assert!(unreadable.patches.is_empty());
}

#[test]
fn job_that_is_too_large_will_fail() {
    let roles = json!({ "mxReplicaSpecs": { "Worker": { "replicas": i32::MAX } } });
    let running = read(&running(TrainingOperator1_8, &roles));
    check(&running, Danger, "The job is too large");
    let finished = read(&stored(&roles, &status(TrainingOperator1_8, "Succeeded")));
    assert!(!finished.findings.iter().any(|finding| finding.text.contains("too large")));
}

#[test]
fn dangers_come_first() {
    let spec = json!({ "runPolicy": { "suspend": true }, "cleanPodPolicy": "" });
    let findings = read(&running(MxnetOperator1_0, &spec)).findings;
    assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.weight)));
    assert_eq!(findings[0].weight, Danger);
}

#[test]
fn job_of_mxjob_has_no_findings() {
    let job = running(Operator::Mxjob, &json!({ "backoffLimit": 1, "ttlSecondsAfterFinished": 5 }));
    let assessment = read(&job);
    assert_eq!((assessment.findings, assessment.patches), (vec![], vec![]));
    for any in
        [json!(null), json!([]), json!({ "metadata": { "name": "a" }, "spec": 1, "status": [] })]
    {
        let _ = read(&any);
    }
}
