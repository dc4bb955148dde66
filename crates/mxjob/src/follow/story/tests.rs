use serde_json::json;

use super::*;

fn jobs(names: &[&str]) -> Story {
    let mut story = Story::default();
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
    story.expect(&names.iter().map(job).collect::<Vec<_>>());
    story
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
fn a_transition_is_told_once() {
    let mut story = jobs(&["a"]);
    assert_eq!(
        story.job("uid-a", &status("Running", "MXJob a is running.")),
        ["MXJob a is running."]
    );
    assert!(story.job("uid-a", &status("Running", "MXJob a is running.")).is_empty());
    assert!(story.job("uid-b", &status("Running", "MXJob b is running.")).is_empty());
    assert!(story.job("uid-a", &json!({})).is_empty());
    assert_eq!(story.verdict(), None);
    assert_eq!(story.unfinished(), "job a");
    story.job("uid-a", &status("Succeeded", "done"));
    assert_eq!(story.verdict(), Some(Verdict::Succeeded));
    story.job_gone("uid-a");
    assert_eq!(story.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn a_failure_is_told_with_the_last_lines_of_the_replica_that_the_controller_names() {
    let mut story = jobs(&["a"]);
    assert_eq!(
        story.pod(&pod("a", "server", 0, "Failed", Some(1))),
        ["server-0 failed: exit code 1"]
    );
    assert_eq!(
        story.pod(&pod("a", "worker", 1, "Failed", Some(3))),
        ["worker-1 failed: exit code 3"]
    );
    assert!(story.pod(&pod("a", "worker", 1, "Failed", Some(3))).is_empty());
    for number in 0..12 {
        story.line("a-worker-1", "worker-1", format!("line {number}").as_bytes());
    }
    story.job("uid-a", &status("Failed", "MXJob a is failed because worker-1 exited with code 3."));
    let Some(Verdict::Failed(message)) = story.verdict() else { panic!("not failed") };
    assert!(
        message.starts_with("MXJob a is failed because worker-1 exited with code 3.\nThe last lines of worker-1:\n  line 2\n"),
        "{message}"
    );
    assert!(message.ends_with("\n  line 11"), "{message}");
}

#[test]
fn a_deleted_job_has_not_succeeded() {
    let mut story = jobs(&["a"]);
    story.job_gone("uid-a");
    assert_eq!(
        story.verdict(),
        Some(Verdict::Failed("job a was deleted before it had finished".to_owned()))
    );
}

#[test]
fn replicas_are_named_with_their_job_where_there_are_several() {
    assert_eq!(jobs(&["a"]).labels(), ["scheduler-0", "server-0", "worker-1"]);
    let mut story = jobs(&["a", "b"]);
    let running = pod("b", "worker", 0, "Running", None);
    assert!(story.sources(&running).is_empty());
    story.pod(&running);
    let sources = story.sources(&running);
    assert_eq!(sources.len(), 1);
    assert_eq!((sources[0].label.as_str(), sources[0].container.as_str()), ("b-worker-0", "mxnet"));
    story.job("uid-a", &status("Succeeded", ""));
    assert_eq!(story.verdict(), None);
}

#[test]
fn progress_counts_what_runs_and_shows_the_newest_line_of_a_worker() {
    let mut story = jobs(&["a"]);
    assert_eq!(story.progress(), "a Submitted  scheduler 0/1 server 0/1 worker 0/2");
    story.pod(&pod("a", "worker", 0, "Running", None));
    story.job("uid-a", &status("Created", ""));
    story.line("a-worker-0", "worker-0", b"one\rtwo\x1b[0m");
    assert_eq!(
        story.progress(),
        "a Created  scheduler 0/1 server 0/1 worker 1/2  worker-0: two[0m"
    );
    story.pod_gone("a-worker-0");
    assert!(story.progress().contains("worker 0/2"));
}

#[test]
fn what_a_complete_list_does_not_have_is_gone() {
    let mut story = jobs(&["a", "b"]);
    let running = pod("b", "worker", 0, "Running", None);
    story.pod(&running);
    story.pods_listed("default", &BTreeSet::from(["b-worker-0".to_owned()]));
    assert!(story.progress().contains("worker 1/2"), "{}", story.progress());
    story.pods_listed("elsewhere", &BTreeSet::new());
    assert!(story.progress().contains("worker 1/2"), "{}", story.progress());
    story.pods_listed("default", &BTreeSet::new());
    assert!(!story.progress().contains("worker 1/2"), "{}", story.progress());

    story.job("uid-a", &status("Succeeded", ""));
    story.jobs_listed("elsewhere", &BTreeSet::new());
    assert_eq!(story.verdict(), None);
    // A job that has ended may be deleted.
    story.jobs_listed("default", &BTreeSet::new());
    let want = "job b is gone, and how it ended is not known: it was deleted while it could not be watched";
    assert_eq!(story.verdict(), Some(Verdict::Unknown(want.to_owned())));
}

#[test]
fn a_job_that_is_known_to_have_failed_outweighs_one_whose_end_is_not_known() {
    let mut story = jobs(&["a", "b"]);
    story.job("uid-b", &status("Failed", "b failed"));
    story.jobs_listed("default", &BTreeSet::new());
    let Some(Verdict::Failed(message)) = story.verdict() else { panic!("not failed") };
    assert!(message.starts_with("b failed\nmxjob: job a is gone, and how"), "{message}");
}

#[test]
fn jobs_that_nobody_has_written_about_are_named() {
    let mut story = jobs(&["a", "b"]);
    assert_eq!(story.untaken().as_deref(), Some("job a, job b"));
    story.job("uid-a", &status("Created", ""));
    assert_eq!(story.untaken().as_deref(), Some("job b"));
    story.job("uid-b", &status("Suspended", ""));
    assert_eq!(story.untaken(), None);
}
