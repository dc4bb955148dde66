//! Patches that the API server rejects.

use mxjob_testkit::Fault;

use super::{OLDER, create_job_of, migrate};
use crate::submit::lost::proxy;
use crate::support::{Place, Server, Text as _};

#[tokio::test(flavor = "multi_thread")]
async fn services_and_the_status_wait_for_the_pods() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    create_job_of(&place, &server, &OLDER[2], "digits");
    let (proxy, kubeconfig) = proxy(&place).await;
    proxy.add_rule("patch pods digits-worker-0", Fault::Refuse(422), 1);
    let done = place.mxjob(&["migrate", "--kubeconfig", &kubeconfig, "--apply"]);
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    let want = "Pod default/digits-worker-0: injected: patch pods digits-worker-0 is refused\n";
    done.stderr.must_end_with(want);
    done.stderr.must_contain("adopted 1 jobs with 3 patches, but some objects");
    let report = migrate(&place, &[]);
    report.stdout.must_contain("training-operator 1.8");
    let job = server.get("mxjob", "digits");
    assert!(job["status"].get("mxReplicaStatuses").is_none(), "{job}");
    let done = migrate(&place, &["--apply"]);
    assert!(done.stderr.contains("adopted 1 jobs with 6 patches; now"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn unwritable_status_is_not_treated_as_a_deleted_job() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    create_job_of(&place, &server, &OLDER[2], "digits");
    let (proxy, kubeconfig) = proxy(&place).await;
    let apply = ["migrate", "--kubeconfig", &kubeconfig, "--apply"];
    proxy.add_rule("patch mxjobs/status digits", Fault::Refuse(404), 1);
    let done = place.mxjob(&apply);
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    done.stderr.must_contain("  MXJob default/digits: injected: patch");
    // The job is deleted, so it needs no patch.
    proxy.add_rule("patch mxjobs/status digits", Fault::Refuse(404), 1);
    proxy.add_rule("get mxjobs digits", Fault::Refuse(404), 1);
    let done = place.mxjob(&apply);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn patch_that_succeeds_on_retry_is_not_reported_as_failed() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    create_job_of(&place, &server, &OLDER[2], "digits");
    let (proxy, kubeconfig) = proxy(&place).await;
    proxy.add_rule("patch pods digits-worker-0", Fault::Refuse(422), 1);
    proxy.add_rule("patch pods digits-worker-1", Fault::Refuse(409), 1);
    let done = place.mxjob(&["migrate", "--kubeconfig", &kubeconfig, "--apply"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("adopted 1 jobs with 9 patches; now"), "{}", done.stderr);
}
