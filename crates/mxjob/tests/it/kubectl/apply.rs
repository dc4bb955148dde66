//! Applying configurations: from the client's side, from the server's, and looking at the
//! difference first.

use serde_json::{Value, json};

use super::held;
use crate::support::{Place, Server};

/// A job that has no pods and a configuration worth changing.
fn configuration() -> Value {
    let mut job = held("applied");
    job["metadata"]["labels"] = json!({"team": "digits", "tier": "small"});
    job["metadata"]["annotations"] = json!({"note": "first"});
    job["spec"]["ttlSecondsAfterFinished"] = json!(60);
    job
}

/// The same with one label changed, one removed, and a field removed.
fn changed() -> Value {
    let mut job = configuration();
    job["metadata"]["labels"] = json!({"team": "letters"});
    job["spec"]["cleanPodPolicy"] = json!("All");
    job["spec"].as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
    job
}

fn check(server: &Server<'_>, words: &[&str], configuration: &Value, answer: &str) {
    let done = server.kubectl_with(&[&["apply", "-f", "-"], words].concat(), configuration);
    assert_eq!(
        (done.stdout.trim_end(), done.stderr.as_str()),
        (format!("mxjob.kubeflow.org/applied {answer}").as_str(), ""),
        "{words:?}"
    );
}

fn conflict(server: &Server<'_>, manager: &str, configuration: &Value) -> String {
    let words = ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
    let done = server.kubectl_with(&words, configuration);
    assert_eq!((done.code(), done.stdout.as_str()), (Some(1), ""));
    done.stderr
}

#[test]
fn a_client_side_apply_creates_changes_and_removes() {
    let place = Place::new();
    let server = Server::up(&place);
    check(&server, &["--dry-run=server"], &configuration(), "created (server dry run)");
    check(&server, &[], &configuration(), "created");
    check(&server, &[], &configuration(), "unchanged");
    let before = server.get("mxjob", "applied");
    check(&server, &["--dry-run=server"], &changed(), "configured (server dry run)");
    assert_eq!(
        server.get("mxjob", "applied")["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );

    check(&server, &[], &changed(), "configured");
    let job = server.get("mxjob", "applied");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters"}));
    assert_eq!(job["metadata"]["annotations"]["note"], "first");
    assert_eq!(job["spec"]["cleanPodPolicy"], "All");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], Value::Null);
    let last = server.kubectl(&["apply", "view-last-applied", "mxjob", "applied", "-o", "json"]);
    assert!(!last.contains("ttlSecondsAfterFinished"), "{last}");

    let mut forbidden = changed();
    forbidden["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(7);
    let done = server.kubectl_with(&["apply", "-f", "-"], &forbidden);
    assert_eq!(done.code(), Some(1));
    assert!(done.stderr.contains("spec.mxReplicaSpecs"), "{}", done.stderr);
}

#[test]
fn a_difference_is_shown_and_told_by_the_exit_code() {
    let place = Place::new();
    let server = Server::up(&place);
    let diff = |configuration: &Value| server.kubectl_with(&["diff", "-f", "-"], configuration);
    let absent = diff(&configuration());
    assert_eq!(absent.code(), Some(1), "{}", absent.stderr);
    assert!(absent.stdout.contains("+kind: MXJob"), "{}", absent.stdout);

    check(&server, &[], &configuration(), "created");
    let same = diff(&configuration());
    assert_eq!((same.code(), same.stdout.as_str()), (Some(0), ""), "{}", same.stderr);
    let other = diff(&changed());
    assert_eq!(other.code(), Some(1), "{}", other.stderr);
    for line in [
        "-    team: digits",
        "+    team: letters",
        "-    tier: small",
        "+  cleanPodPolicy: All",
        "-  ttlSecondsAfterFinished: 60",
    ] {
        assert!(other.stdout.contains(line), "{line}\n{}", other.stdout);
    }
    assert_eq!(server.get("mxjob", "applied")["metadata"]["labels"]["team"], "digits");
}

#[test]
fn server_side_applies_conflict_until_they_are_forced() {
    let place = Place::new();
    let server = Server::up(&place);
    check(&server, &["--server-side"], &configuration(), "serverside-applied");
    let version = server.get("mxjob", "applied")["metadata"]["resourceVersion"].clone();
    check(&server, &["--server-side"], &configuration(), "serverside-applied");
    assert_eq!(server.get("mxjob", "applied")["metadata"]["resourceVersion"], version);

    let told = conflict(&server, "other", &changed());
    for part in [
        r#"conflicts with "kubectl""#,
        "- .metadata.labels.team\n",
        "- .spec.cleanPodPolicy\n",
        "--force-conflicts",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let words = ["--server-side", "--field-manager=other", "--force-conflicts"];
    check(&server, &words, &changed(), "serverside-applied");
    let job = server.get("mxjob", "applied");
    // The first manager still has what only it has asked for.
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters", "tier": "small"}));
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 60);

    let told = conflict(&server, "kubectl", &configuration());
    assert!(told.contains(r#"with "other""#), "{told}");
    // Giving a field up that nobody else has removes it.
    check(&server, &["--server-side"], &changed(), "serverside-applied");
    let job = server.get("mxjob", "applied");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters"}));
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], Value::Null);
}

#[test]
fn a_server_side_apply_takes_over_what_the_client_side_applied() {
    let place = Place::new();
    let server = Server::up(&place);
    check(&server, &[], &configuration(), "created");
    check(&server, &["--server-side"], &configuration(), "serverside-applied");
    let managers = server.kubectl(&[
        "get",
        "mxjob",
        "applied",
        "--show-managed-fields",
        "-o",
        "jsonpath={range .metadata.managedFields[*]}{.manager} {.operation},{end}",
    ]);
    assert!(managers.contains("kubectl Apply"), "{managers}");
    assert!(!managers.contains("kubectl-client-side-apply"), "{managers}");
    check(&server, &["--server-side"], &changed(), "serverside-applied");
    let job = server.get("mxjob", "applied");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters"}));
}
