use serde_json::json;

use super::*;

fn follow() -> Follow {
    let config = kube::Config::new(http::Uri::from_static("http://127.0.0.1:1"));
    let mut follow = Follow::new(Client::try_from(config).unwrap());
    follow.expect(&[json!({"metadata": {"name": "a", "namespace": "default", "uid": "1"}})]);
    follow
}

fn job(condition: &str) -> Raw {
    serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "default", "uid": "1"},
        "status": {"conditions": [{"type": condition, "status": "True", "message": "m", "reason": "r"}]},
    }))
    .unwrap()
}

#[tokio::test]
async fn job_that_had_finished_when_it_was_deleted_keeps_its_result() {
    let mut follow = follow();
    follow.job("default", &watcher::Event::Delete(job("Succeeded")));
    assert_eq!(follow.progress.verdict(), Some(Verdict::Succeeded));
}

#[tokio::test]
async fn running_job_that_was_deleted_has_failed() {
    let mut follow = follow();
    follow.job("default", &watcher::Event::Delete(job("Running")));
    let expected = "job a was deleted before it finished".to_owned();
    assert_eq!(follow.progress.verdict(), Some(Verdict::Failed(expected)));
}

#[tokio::test]
async fn result_of_a_job_missing_from_a_new_list_is_unknown() {
    let mut follow = follow();
    follow.job("default", &watcher::Event::Apply(job("Running")));
    follow.job("default", &watcher::Event::Init);
    follow.job("default", &watcher::Event::InitDone);
    assert!(matches!(follow.progress.verdict(), Some(Verdict::Unknown(_))));
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_passed_over() {
    let mut follow = follow();
    let pod = json!({"metadata": {"name": "a-worker-0", "uid": "2", "labels": {"x": 5}}});
    let pod: Lenient<Pod> = serde_json::from_value(pod).unwrap();
    follow.pod("default", watcher::Event::Init);
    follow.pod("default", watcher::Event::InitApply(pod.clone()));
    follow.pod("default", watcher::Event::InitDone);
    follow.pod("default", watcher::Event::Delete(pod));
    follow.job("default", &watcher::Event::Apply(job("Succeeded")));
    assert_eq!(follow.progress.verdict(), Some(Verdict::Succeeded));
}
