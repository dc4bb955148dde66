use serde_json::json;

use super::*;

fn jobs(names: &[&str]) -> Progress {
    let mut progress = Progress::default();
    let template = json!({"spec": {"containers": [{"name": "mxnet", "image": "i"}]}});
    let job = |name: &&str| {
        json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
            "spec": {"mxReplicaSpecs": {
                "Scheduler": {"template": template}, "Server": {"template": template},
                "Worker": {"replicas": 2, "template": template},
            }},
        })
    };
    progress.expect(&names.iter().map(job).collect::<Vec<_>>());
    progress
}

fn status(kind: &str, message: &str) -> Value {
    json!({"status": {"conditions": [{"type": kind, "status": "True", "message": message, "reason": "r"}]}})
}

fn pod(job: &str, role: &str, index: u32, phase: &str, exit_code: Option<i32>) -> Pod {
    let state = match exit_code {
        Some(code) => {
            json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}})
        }
        None => json!({"running": {}}),
    };
    let name = format!("{job}-{role}-{index}");
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name,
            "labels": {"training.kubeflow.org/replica-type": role, "training.kubeflow.org/replica-index": index.to_string()},
            "ownerReferences": [{"apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": job, "uid": format!("uid-{job}")}],
        },
        "status": {"phase": phase, "containerStatuses": [
            {"name": "mxnet", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
        ]},
    }))
    .unwrap()
}

#[test]
fn transition_is_reported_once() {
    let mut progress = jobs(&["a"]);
    assert_eq!(
        progress.job("uid-a", &status("Running", "MXJob a is running.")),
        ["MXJob a is running."]
    );
    assert!(progress.job("uid-a", &status("Running", "MXJob a is running.")).is_empty());
    assert!(progress.job("uid-b", &status("Running", "MXJob b is running.")).is_empty());
    assert!(progress.job("uid-a", &json!({})).is_empty());
    assert_eq!(progress.verdict(), None);
    assert_eq!(progress.unfinished(), "job a");
    progress.job("uid-a", &status("Succeeded", "done"));
    assert_eq!(progress.verdict(), Some(Verdict::Succeeded));
    progress.job_deleted("uid-a");
    assert_eq!(progress.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn failure_has_the_last_lines_of_the_replica_that_the_controller_names() {
    let mut progress = jobs(&["a"]);
    assert_eq!(
        progress.pod(&pod("a", "server", 0, "Failed", Some(1))),
        ["server-0 failed: exit code 1"]
    );
    assert_eq!(
        progress.pod(&pod("a", "worker", 1, "Failed", Some(3))),
        ["worker-1 failed: exit code 3"]
    );
    assert!(progress.pod(&pod("a", "worker", 1, "Failed", Some(3))).is_empty());
    for number in 0..32 {
        progress.line("a-worker-1", "worker-1", format!("line {number}").as_bytes());
    }
    progress
        .job("uid-a", &status("Failed", "MXJob a is failed because worker-1 exited with code 3."));
    let Some(Verdict::Failed(message)) = progress.verdict() else { panic!("not failed") };
    assert!(
        message.starts_with("MXJob a is failed because worker-1 exited with code 3.\nLast lines of worker-1:\n  line 2\n"),
        "{message}"
    );
    assert!(message.ends_with("\n  line 31"), "{message}");
}

#[test]
fn deleted_job_has_failed() {
    let mut progress = jobs(&["a"]);
    progress.job_deleted("uid-a");
    assert_eq!(
        progress.verdict(),
        Some(Verdict::Failed("job a was deleted before it finished".to_owned()))
    );
}

#[test]
fn labels_contain_the_job_if_there_are_several() {
    assert_eq!(jobs(&["a"]).labels(), ["scheduler-0", "server-0", "worker-1"]);
    let mut progress = jobs(&["a", "b"]);
    let running = pod("b", "worker", 0, "Running", None);
    assert!(progress.sources(&running).is_empty());
    progress.pod(&running);
    let sources = progress.sources(&running);
    assert_eq!(sources.len(), 1);
    assert_eq!((sources[0].label.as_str(), sources[0].container.as_str()), ("b-worker-0", "mxnet"));
    progress.job("uid-a", &status("Succeeded", ""));
    assert_eq!(progress.verdict(), None);
}

#[test]
fn progress_line_has_running_replicas_and_the_newest_line_of_a_worker() {
    let mut progress = jobs(&["a"]);
    assert_eq!(progress.summary(), "a Submitted  scheduler 0/1 server 0/1 worker 0/2");
    progress.pod(&pod("a", "worker", 0, "Running", None));
    progress.job("uid-a", &status("Created", ""));
    progress.line("a-worker-0", "worker-0", b"one\rtwo\x1b[0m");
    assert_eq!(
        progress.summary(),
        "a Created  scheduler 0/1 server 0/1 worker 1/2  worker-0: two[0m"
    );
    progress.pod_deleted("a-worker-0");
    assert!(progress.summary().contains("worker 0/2"));
}

#[test]
fn objects_missing_from_a_complete_list_are_deleted() {
    let mut progress = jobs(&["a", "b"]);
    let running = pod("b", "worker", 0, "Running", None);
    progress.pod(&running);
    progress.pods_listed("default", &BTreeSet::from(["b-worker-0".to_owned()]));
    assert!(progress.summary().contains("worker 1/2"), "{}", progress.summary());
    progress.pods_listed("elsewhere", &BTreeSet::new());
    assert!(progress.summary().contains("worker 1/2"), "{}", progress.summary());
    progress.pods_listed("default", &BTreeSet::new());
    assert!(!progress.summary().contains("worker 1/2"), "{}", progress.summary());

    progress.job("uid-a", &status("Succeeded", ""));
    progress.jobs_listed("elsewhere", &BTreeSet::new());
    assert_eq!(progress.verdict(), None);
    // A finished job may be deleted.
    progress.jobs_listed("default", &BTreeSet::new());
    let expected = "the result of job b is unknown: it was deleted while it could not be watched";
    assert_eq!(progress.verdict(), Some(Verdict::Unknown(expected.to_owned())));
}

#[test]
fn failed_job_outweighs_an_unknown_result() {
    let mut progress = jobs(&["a", "b"]);
    progress.job("uid-b", &status("Failed", "b failed"));
    progress.jobs_listed("default", &BTreeSet::new());
    let Some(Verdict::Failed(message)) = progress.verdict() else { panic!("not failed") };
    assert!(message.starts_with("b failed\nmxjob: the result of job a is unknown"), "{message}");
}

#[test]
fn jobs_without_a_status_are_not_picked_up() {
    let mut progress = jobs(&["a", "b"]);
    assert_eq!(progress.not_picked_up().as_deref(), Some("job a, job b"));
    progress.job("uid-a", &status("Created", ""));
    assert_eq!(progress.not_picked_up().as_deref(), Some("job b"));
    progress.job("uid-b", &status("Suspended", ""));
    assert_eq!(progress.not_picked_up(), None);
}
