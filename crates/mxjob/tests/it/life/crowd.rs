//! Many jobs at once.

use std::collections::BTreeSet;

use super::{all_ended, list, outcome, restarts, workers};
use crate::support::{Place, Server};

const JOBS: usize = 200;

#[test]
fn two_hundred_jobs_at_once_all_end_as_they_should() {
    let place = Place::new();
    let server = Server::up(&place);
    let name = |number: usize| format!("one-of-many-{number}");
    let fails = |number: usize| number.is_multiple_of(10);
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| {
            let script = if fails(number) { "exit 3" } else { "exit 0" };
            workers(&place, &name(number), 1, "Never", script)
        })
        .collect();
    server.create(&list(&jobs));
    // Followed and not asked for again and again, which would take the time from the jobs; only to
    // stand still is too slow.
    let path = "jsonpath={.metadata.name} {.status.completionTime}{\"\\n\"}";
    let mut changes = server.follow(&["get", "mxjobs", "-w", "-o", path]);
    let mut ended = BTreeSet::new();
    while ended.len() < JOBS {
        let change = changes.wait_for("one-of-many-");
        if let Some((name, time)) = change.split_once(' ')
            && !time.is_empty()
        {
            ended.insert(name.to_owned());
        }
    }
    drop(changes);
    let jobs = all_ended(&server);
    assert_eq!(jobs.len(), JOBS);
    for number in 0..JOBS {
        let job = jobs.iter().find(|job| job["metadata"]["name"] == name(number)).unwrap();
        let expected = if fails(number) { "Failed" } else { "Succeeded" };
        assert_eq!(outcome(job), Some(expected), "{}", job["status"]);
        let ends = &job["status"]["replicaStatuses"]["Worker"];
        assert_eq!(ends[expected.to_lowercase()], 1, "{}", job["status"]);
        assert_eq!(restarts(job), 0, "{}", job["status"]);
    }
    // No pod was made twice and none was left out.
    let pods = server.kubectl(&["get", "pods", "-o", "name"]);
    assert_eq!(pods.lines().count(), JOBS);
    place.wait_until_only_the_server_runs(&server);
}
