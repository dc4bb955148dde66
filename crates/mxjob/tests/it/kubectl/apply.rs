//! `kubectl apply`, client-side and server-side, and `kubectl diff`.

use serde_json::{Value, json};

use super::suspended;
use crate::support::{Place, Server, Text as _};

/// A job without pods.
fn configuration() -> Value {
    let mut job = suspended("applied");
    job["metadata"]["labels"] = json!({"team": "digits", "tier": "small"});
    job["metadata"]["annotations"] = json!({"note": "first"});
    job["spec"]["ttlSecondsAfterFinished"] = json!(60);
    job
}

/// The same with a label and a field changed, and a label and a field removed.
fn changed() -> Value {
    let mut job = configuration();
    job["metadata"]["labels"] = json!({"team": "letters"});
    job["spec"]["cleanPodPolicy"] = json!("All");
    job["spec"].as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
    job
}

/// Applies a configuration and checks the line that kubectl prints.
fn check(server: &Server<'_>, args: &[&str], configuration: &Value, expected: &str) {
    let done = server.kubectl_with(&[&["apply", "-f", "-"], args].concat(), configuration);
    assert_eq!(
        (done.stdout.trim_end(), done.stderr.as_str()),
        (format!("mxjob.kubeflow.org/applied {expected}").as_str(), ""),
        "{args:?}"
    );
}

/// Applies a configuration, which must conflict, and returns the message.
fn conflict(server: &Server<'_>, manager: &str, configuration: &Value) -> String {
    let args = ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
    let done = server.kubectl_with(&args, configuration);
    assert_eq!((done.code(), done.stdout.as_str()), (Some(1), ""));
    done.stderr
}

#[test]
fn client_side_apply_creates_changes_and_removes_fields() {
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
    done.stderr.must_contain("spec.mxReplicaSpecs");
}

#[test]
fn diff_prints_changes_and_exits_with_1() {
    let place = Place::new();
    let server = Server::up(&place);
    let diff = |configuration: &Value| server.kubectl_with(&["diff", "-f", "-"], configuration);
    let absent = diff(&configuration());
    assert_eq!(absent.code(), Some(1), "{}", absent.stderr);
    absent.stdout.must_contain("+kind: MXJob");

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
fn server_side_apply_conflicts_unless_forced() {
    let place = Place::new();
    let server = Server::up(&place);
    check(&server, &["--server-side"], &configuration(), "serverside-applied");
    let version = server.get("mxjob", "applied")["metadata"]["resourceVersion"].clone();
    check(&server, &["--server-side"], &configuration(), "serverside-applied");
    assert_eq!(server.get("mxjob", "applied")["metadata"]["resourceVersion"], version);

    let message = conflict(&server, "other", &changed());
    for part in [
        r#"conflicts with "kubectl""#,
        "- .metadata.labels.team\n",
        "- .spec.cleanPodPolicy\n",
        "--force-conflicts",
    ] {
        message.must_contain(part);
    }
    let args = ["--server-side", "--field-manager=other", "--force-conflicts"];
    check(&server, &args, &changed(), "serverside-applied");
    let job = server.get("mxjob", "applied");
    // The fields that only the first manager has applied stay.
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters", "tier": "small"}));
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 60);

    let message = conflict(&server, "kubectl", &configuration());
    message.must_contain(r#"with "other""#);
    // A field is removed when its only manager does not apply it any more.
    check(&server, &["--server-side"], &changed(), "serverside-applied");
    let job = server.get("mxjob", "applied");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters"}));
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], Value::Null);
}

#[test]
fn server_side_apply_takes_over_fields_of_client_side_apply() {
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
    managers.must_contain("kubectl Apply");
    assert!(!managers.contains("kubectl-client-side-apply"), "{managers}");
    check(&server, &["--server-side"], &changed(), "serverside-applied");
    let job = server.get("mxjob", "applied");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters"}));
}
