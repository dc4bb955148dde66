//! The documented example: a job, and the request that sends it again.

use mxjob_api::{Job, Role, replace, unknown, validate};
use serde_json::Value;

fn example() -> (Value, Value) {
    let mut example: Value =
        serde_json::from_str(include_str!("../../../../examples/replace.json")).unwrap();
    (example["request"].take(), example["response"].take())
}

#[test]
fn the_documented_request_is_accepted_and_changes_nothing() {
    let (request, response) = example();
    assert_eq!(request, response);
    assert_eq!(validate::validate(&request).to_string(), "[]");
    assert_eq!(validate::validate_status(&request).to_string(), "[]");
    assert_eq!(replace::check(&response, &request).to_string(), "[]");
    assert_eq!(unknown::fields(&request), Vec::<String>::new());
    let mut pruned = request.clone();
    unknown::prune(&mut pruned);
    assert_eq!(pruned, request);
}

#[test]
fn the_documented_job_is_read_and_its_status_written_as_it_stands() {
    let (request, _) = example();
    let job = Job::from_value(&request).unwrap();
    assert_eq!(job.ttl_seconds_after_finished, Some(10000));
    assert_eq!(
        (job.count(Role::Scheduler), job.count(Role::Server), job.count(Role::Worker)),
        (1, 1, 1)
    );
    let mut status = job.status.to_value();
    // The documented object has the counts under one of the two names only.
    assert_eq!(status["replicaStatuses"], status["mxReplicaStatuses"]);
    status.as_object_mut().unwrap().remove("replicaStatuses");
    assert_eq!(status, request["status"]);
}
