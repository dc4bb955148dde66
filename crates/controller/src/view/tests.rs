use serde_json::json;

use super::*;

fn pod(status: &Value) -> PodView {
    PodView::read(
        &json!({ "metadata": { "name": "digits-worker-1", "uid": "u1" }, "status": status }),
    )
    .unwrap()
}

#[test]
fn a_failed_pod_has_code_signal_reason_and_message() {
    let view = pod(&json!({
        "phase": "Failed",
        "startTime": "2026-11-24T08:00:00Z",
        "containerStatuses": [{
            "name": "mxnet",
            "restartCount": 2,
            "state": { "terminated": {
                "exitCode": 137, "signal": 9, "reason": "OOMKilled", "message": "epoch=3\n",
                "startedAt": "2026-11-24T08:00:01Z", "finishedAt": "2026-11-24T08:05:00Z",
            } },
        }],
    }));
    assert_eq!(view.phase, Phase::Failed);
    assert_eq!(view.restarts, 2);
    assert_eq!(view.started_at, Some("2026-11-24T08:00:00Z".parse().unwrap()));
    assert_eq!(view.finished_at(), Some("2026-11-24T08:05:00Z".parse().unwrap()));
    let exit = view.exit.unwrap();
    assert_eq!(
        (exit.code, exit.signal(), exit.reason.as_deref()),
        (137, Some(9), Some("OOMKilled"))
    );
    assert_eq!(exit.message.as_deref(), Some("epoch=3\n"));
}

#[test]
fn the_exit_code_implies_the_signal_if_the_node_reports_none() {
    for (code, signal, expected) in [
        (3, None, None),
        (128, None, None),
        (143, None, Some(15)),
        (193, None, None),
        (1, Some(6), Some(6)),
    ] {
        let exit = Exit { code, signal, ..Exit::default() };
        assert_eq!(exit.signal(), expected, "{code}");
    }
}

#[test]
fn a_restarted_container_has_no_end_until_its_pod_failed() {
    let status = |phase: &str| {
        pod(&json!({ "phase": phase, "containerStatuses": [{
            "name": "mxnet", "restartCount": 1,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 3 } },
        }] }))
    };
    assert_eq!(status("Running").exit, None);
    assert_eq!(status("Failed").exit.map(|exit| exit.code), Some(3));
}

#[test]
fn only_the_training_container_determines_the_exit_code() {
    let view = pod(&json!({
        "phase": "Failed",
        "initContainerStatuses": [{ "name": "fetch", "restartCount": 1, "state": { "terminated": { "exitCode": 0 } } }],
        "containerStatuses": [
            { "name": "sidecar", "restartCount": 1, "state": { "terminated": { "exitCode": 7 } } },
            { "name": "mxnet", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } },
        ],
    }));
    assert_eq!(view.exit.map(|exit| exit.code), Some(0));
    assert_eq!(
        view.other_exit.map(|(name, exit)| (name, exit.code)),
        Some(("sidecar".to_owned(), 7))
    );
    assert_eq!(view.restarts, 2);
}

#[test]
fn a_pod_without_status_is_pending_and_of_the_first_attempt() {
    let view = PodView::read(&json!({ "metadata": { "name": "a", "uid": "u" } })).unwrap();
    assert_eq!(view, PodView { name: "a".to_owned(), uid: "u".to_owned(), ..PodView::default() });
}

#[test]
fn a_deletion_timestamp_and_an_attempt_are_read_from_the_metadata() {
    let view = PodView::read(&json!({ "metadata": {
        "name": "a", "uid": "u", "deletionTimestamp": "2026-11-24T08:00:00Z",
        "annotations": { ATTEMPT_ANNOTATION: "4" },
    } }))
    .unwrap();
    assert!(view.terminating);
    assert_eq!(view.attempt, 4);
}

#[test]
fn an_evicted_pod_has_a_reason_and_no_exit() {
    let view = pod(
        &json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." }),
    );
    assert_eq!((view.exit, view.reason.as_deref()), (None, Some("Evicted")));
}

#[test]
fn malformed_documents_are_read_as_far_as_possible() {
    for object in
        [json!(null), json!([]), json!({ "metadata": 1 }), json!({ "metadata": { "name": "a" } })]
    {
        assert_eq!(PodView::read(&object), None, "{object}");
        assert_eq!(ServiceView::read(&object), None, "{object}");
    }
    let view = pod(
        &json!({ "phase": 3, "startTime": "soon", "containerStatuses": [1, { "name": 2 }, { "name": "mxnet", "restartCount": -1, "state": [] }] }),
    );
    assert_eq!(
        (view.phase, view.started_at, view.exit, view.restarts),
        (Phase::Pending, None, None, 0)
    );
}
