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
async fn a_job_that_had_ended_when_it_was_deleted_ended_so() {
    let mut follow = follow();
    follow.job("default", &watcher::Event::Delete(job("Succeeded")));
    assert_eq!(follow.story.verdict(), Some(Verdict::Succeeded));
}

#[tokio::test]
async fn a_job_that_ran_when_it_was_deleted_had_not_finished() {
    let mut follow = follow();
    follow.job("default", &watcher::Event::Delete(job("Running")));
    let want = "job a was deleted before it had finished".to_owned();
    assert_eq!(follow.story.verdict(), Some(Verdict::Failed(want)));
}

#[tokio::test]
async fn of_a_job_that_a_new_list_does_not_have_the_end_is_not_known() {
    let mut follow = follow();
    follow.job("default", &watcher::Event::Apply(job("Running")));
    follow.job("default", &watcher::Event::Init);
    follow.job("default", &watcher::Event::InitDone);
    assert!(matches!(follow.story.verdict(), Some(Verdict::Unknown(_))));
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
    assert_eq!(follow.story.verdict(), Some(Verdict::Succeeded));
}
