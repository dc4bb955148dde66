//! Creating and changing by every verb that does so.

use serde_json::{Value, json};

use super::held;
use crate::support::{Done, Place, Server};

/// `kubectl edit` with a command in place of the editor.
fn edit(server: &Server<'_>, editor: &str, words: &[&str]) -> Done {
    let mut command = server.kubectl_command(&[&["edit"], words].concat());
    Done::of(command.env("KUBE_EDITOR", editor).output().unwrap())
}

fn says(server: &Server<'_>, words: &[&str], answer: &str) {
    assert_eq!(server.kubectl(words).trim_end(), answer, "{words:?}");
}

fn refuses(server: &Server<'_>, words: &[&str], parts: &[&str]) {
    let done = server.try_kubectl(words);
    assert_eq!(done.code(), Some(1), "{words:?}: {}", done.stdout);
    for part in parts {
        assert!(done.stderr.contains(part), "{words:?}: {}", done.stderr);
    }
}

#[test]
fn an_editor_changes_a_job() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&held("edited"));
    let done =
        edit(&server, "sed -i s/cleanPodPolicy:.None/cleanPodPolicy:\\ All/", &["mxjob/edited"]);
    assert_eq!(done.stdout, "mxjob.kubeflow.org/edited edited\n", "{}", done.stderr);
    assert_eq!(server.get("mxjob", "edited")["spec"]["cleanPodPolicy"], "All");

    let done = edit(&server, "true", &["mxjob", "edited"]);
    assert!(done.stderr.contains("Edit cancelled, no changes made."), "{}", done.stderr);
    // A refused edit opens the editor again; one that then changes nothing ends it.
    let once = place.write(
        "once.sh",
        "#!/bin/sh\n[ -e \"$0.done\" ] && exit 0\ntouch \"$0.done\"\nsed -i 's/replicas: 2/replicas: 9/' \"$1\"\n",
    );
    let done = edit(&server, &format!("sh {once}"), &["mxjob", "edited"]);
    assert_eq!(done.code(), Some(1), "{}", done.stdout);
    assert!(done.stderr.contains(r#"mxjobs.kubeflow.org "edited" is invalid"#), "{}", done.stderr);
}

#[test]
fn jobs_are_created_once_and_replaced() {
    let place = Place::new();
    let server = Server::up(&place);
    let file = place.write("job.json", &held("made").to_string());
    says(
        &server,
        &["create", "-f", &file, "--dry-run=server", "-o", "name"],
        "mxjob.kubeflow.org/made",
    );
    says(&server, &["create", "-f", &file], "mxjob.kubeflow.org/made created");
    refuses(&server, &["create", "-f", &file], &["AlreadyExists", r#"mxjobs.kubeflow.org "made""#]);

    let mut job = held("made");
    job["spec"]["cleanPodPolicy"] = json!("Running");
    place.write("job.json", &job.to_string());
    says(&server, &["replace", "-f", &file], "mxjob.kubeflow.org/made replaced");
    let before = server.get("mxjob", "made");
    assert_eq!(before["spec"]["cleanPodPolicy"], "Running");
    job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(3);
    place.write("job.json", &job.to_string());
    refuses(&server, &["replace", "-f", &file], &["spec.mxReplicaSpecs"]);
    let text = server.kubectl(&["replace", "--force", "-f", &file]);
    assert!(text.ends_with("mxjob.kubeflow.org/made replaced\n"), "{text}");
    let after = server.get("mxjob", "made");
    assert_eq!(after["spec"]["mxReplicaSpecs"]["Worker"]["replicas"], 3);
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);

    // As the documented replace does.
    let missing = place.write("other.json", &held("absent").to_string());
    says(&server, &["replace", "-f", &missing], "mxjob.kubeflow.org/absent replaced");
    let missing = place.write(
        "map.json",
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "absent"}, "spec": {}})
            .to_string(),
    );
    refuses(&server, &["replace", "-f", &missing], &["(NotFound)"]);
    // Other kinds have generators of their own in kubectl.
    says(&server, &["create", "namespace", "team"], "namespace/team created");
    says(
        &server,
        &["create", "configmap", "settings", "-n", "team", "--from-literal=a=1"],
        "configmap/settings created",
    );
    says(&server, &["get", "cm", "-n", "team", "settings", "-o", "jsonpath={.data.a}"], "1");
}

#[test]
fn patches_come_in_three_types() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&held("patched"));
    let patched = "mxjob.kubeflow.org/patched patched";
    let merge = r#"{"spec":{"cleanPodPolicy":"All"},"metadata":{"labels":{"a":"1","b":"2"}}}"#;
    says(&server, &["patch", "mxjob", "patched", "--type=merge", "-p", merge], patched);
    says(
        &server,
        &["patch", "mxjob", "patched", "--type=merge", "-p", merge],
        "mxjob.kubeflow.org/patched patched (no change)",
    );
    let json_patch = r#"[{"op":"test","path":"/metadata/labels/a","value":"1"},{"op":"remove","path":"/metadata/labels/b"}]"#;
    says(&server, &["patch", "mxj/patched", "--type=json", "-p", json_patch], patched);
    refuses(
        &server,
        &["patch", "mxj/patched", "--type=json", "-p", json_patch],
        &["The request is invalid"],
    );
    assert_eq!(server.get("mxjob", "patched")["metadata"]["labels"], json!({"a": "1"}));
    refuses(
        &server,
        &["patch", "mxjob", "patched", "-p", "{}"],
        &["is not supported by kubeflow.org/v1, Kind=MXJob"],
    );

    // Lists of built-in kinds are merged by their keys.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "single"}, "spec": {"containers": [
        {"name": "main", "image": "none", "command": ["/bin/sleep", "600"]},
        {"name": "side", "image": "none", "command": ["/bin/sleep", "600"]},
    ]}});
    server.create(&pod);
    let strategic = r#"{"spec":{"containers":[{"name":"side","image":"newer"}]}}"#;
    says(&server, &["patch", "pod", "single", "-p", strategic], "pod/single patched");
    let images = server.get("pod", "single")["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["image"].clone())
        .collect::<Vec<Value>>();
    assert_eq!(images, ["none", "newer"]);
    server.kubectl(&["delete", "pod", "single", "--now"]);
}

#[test]
fn labels_and_annotations_are_set_overwritten_and_removed() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&held("named"));
    says(
        &server,
        &["label", "mxjob", "named", "team=digits", "tier=small"],
        "mxjob.kubeflow.org/named labeled",
    );
    refuses(&server, &["label", "mxjob", "named", "team=letters"], &["--overwrite is false"]);
    server.kubectl(&["label", "mxjob", "named", "team=letters", "--overwrite"]);
    says(&server, &["label", "mxjob", "named", "tier-"], "mxjob.kubeflow.org/named unlabeled");
    says(&server, &["label", "mxjob", "named", "--list"], "team=letters");
    says(&server, &["label", "mxjobs", "--all", "seen=yes"], "mxjob.kubeflow.org/named labeled");
    refuses(&server, &["label", "mxjob", "named", "bad=not valid!"], &["a valid label"]);
    says(
        &server,
        &["annotate", "mxjob", "named", "note=some text"],
        "mxjob.kubeflow.org/named annotated",
    );
    says(&server, &["annotate", "mxjob", "named", "--list"], "note=some text");
    says(&server, &["annotate", "mxjob", "named", "note-"], "mxjob.kubeflow.org/named annotated");
    let job = server.get("mxjob", "named");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters", "seen": "yes"}));
    assert_eq!(job["metadata"].get("annotations"), None);
}
