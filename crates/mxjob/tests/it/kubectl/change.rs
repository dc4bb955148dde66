//! `kubectl create`, `edit`, `replace`, `patch`, `label` and `annotate`.

use serde_json::{Value, json};

use super::suspended;
use crate::support::{Done, Place, Server, Text as _};

/// `kubectl edit` with a command in place of the editor.
fn edit(server: &Server<'_>, editor: &str, args: &[&str]) -> Done {
    let mut command = server.kubectl_command(&[&["edit"], args].concat());
    Done::of(command.env("KUBE_EDITOR", editor).output().unwrap())
}

fn prints(server: &Server<'_>, args: &[&str], expected: &str) {
    assert_eq!(server.kubectl(args).trim_end(), expected, "{args:?}");
}

fn fails(server: &Server<'_>, args: &[&str], parts: &[&str]) {
    let done = server.try_kubectl(args);
    assert_eq!(done.code(), Some(1), "{args:?}: {}", done.stdout);
    for part in parts {
        assert!(done.stderr.contains(part), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn edit_changes_a_job() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&suspended("edited"));
    let done =
        edit(&server, "sed -i s/cleanPodPolicy:.None/cleanPodPolicy:\\ All/", &["mxjob/edited"]);
    assert_eq!(done.stdout, "mxjob.kubeflow.org/edited edited\n", "{}", done.stderr);
    assert_eq!(server.get("mxjob", "edited")["spec"]["cleanPodPolicy"], "All");

    let done = edit(&server, "true", &["mxjob", "edited"]);
    done.stderr.must_contain("Edit cancelled, no changes made.");
    // kubectl opens the editor again after a rejected edit, and gives up if nothing changes then.
    let once = place.write(
        "once.sh",
        "#!/bin/sh\n[ -e \"$0.done\" ] && exit 0\ntouch \"$0.done\"\nsed -i 's/replicas: 2/replicas: 9/' \"$1\"\n",
    );
    let done = edit(&server, &format!("sh {once}"), &["mxjob", "edited"]);
    assert_eq!(done.code(), Some(1), "{}", done.stdout);
    done.stderr.must_contain(r#"mxjobs.kubeflow.org "edited" is invalid"#);
}

#[test]
fn create_fails_for_an_existing_job_and_replace_changes_it() {
    let place = Place::new();
    let server = Server::up(&place);
    let file = place.write("job.json", &suspended("made").to_string());
    prints(
        &server,
        &["create", "-f", &file, "--dry-run=server", "-o", "name"],
        "mxjob.kubeflow.org/made",
    );
    prints(&server, &["create", "-f", &file], "mxjob.kubeflow.org/made created");
    fails(&server, &["create", "-f", &file], &["AlreadyExists", r#"mxjobs.kubeflow.org "made""#]);

    let mut job = suspended("made");
    job["spec"]["cleanPodPolicy"] = json!("Running");
    place.write("job.json", &job.to_string());
    prints(&server, &["replace", "-f", &file], "mxjob.kubeflow.org/made replaced");
    let before = server.get("mxjob", "made");
    assert_eq!(before["spec"]["cleanPodPolicy"], "Running");
    job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(3);
    place.write("job.json", &job.to_string());
    fails(&server, &["replace", "-f", &file], &["spec.mxReplicaSpecs"]);
    let text = server.kubectl(&["replace", "--force", "-f", &file]);
    text.must_end_with("mxjob.kubeflow.org/made replaced\n");
    let after = server.get("mxjob", "made");
    assert_eq!(after["spec"]["mxReplicaSpecs"]["Worker"]["replicas"], 3);
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);

    // A replace creates a missing MXJob, as documented, but no other missing object.
    let missing = place.write("other.json", &suspended("absent").to_string());
    prints(&server, &["replace", "-f", &missing], "mxjob.kubeflow.org/absent replaced");
    let missing = place.write(
        "map.json",
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "absent"}, "spec": {}})
            .to_string(),
    );
    fails(&server, &["replace", "-f", &missing], &["(NotFound)"]);
    // kubectl has own generators for these kinds.
    prints(&server, &["create", "namespace", "team"], "namespace/team created");
    prints(
        &server,
        &["create", "configmap", "settings", "-n", "team", "--from-literal=a=1"],
        "configmap/settings created",
    );
    prints(&server, &["get", "cm", "-n", "team", "settings", "-o", "jsonpath={.data.a}"], "1");
}

#[test]
fn generated_objects_are_created_and_deleted() {
    let place = Place::new();
    let server = Server::up(&place);
    // kubectl sends these in protobuf.
    for (args, created) in [
        ("deployment web --image=web --replicas=0", "deployment.apps/web"),
        ("service clusterip web --tcp=80:8080", "service/web"),
        ("service externalname far --external-name=example.org", "service/far"),
        ("quota small --hard=pods=20", "resourcequota/small"),
        ("priorityclass high --value=10", "priorityclass.scheduling.k8s.io/high"),
        (
            "poddisruptionbudget one --min-available=1 --selector=a=b",
            "poddisruptionbudget.policy/one",
        ),
        ("secret generic key --from-literal=a=b", "secret/key"),
        ("serviceaccount robot", "serviceaccount/robot"),
        ("role reader --verb=get --resource=pods", "role.rbac.authorization.k8s.io/reader"),
    ] {
        let args: Vec<&str> = ["create"].into_iter().chain(args.split(' ')).collect();
        prints(&server, &args, &format!("{created} created"));
        let name = created.rsplit('/').next().unwrap();
        let deleted = server.kubectl(&["delete", created, "--grace-period=1"]);
        assert!(deleted.contains(&format!("\"{name}\" deleted")), "{deleted}");
    }
}

#[test]
fn merge_json_and_strategic_patches_are_applied() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&suspended("patched"));
    let patched = "mxjob.kubeflow.org/patched patched";
    let merge = r#"{"spec":{"cleanPodPolicy":"All"},"metadata":{"labels":{"a":"1","b":"2"}}}"#;
    prints(&server, &["patch", "mxjob", "patched", "--type=merge", "-p", merge], patched);
    prints(
        &server,
        &["patch", "mxjob", "patched", "--type=merge", "-p", merge],
        "mxjob.kubeflow.org/patched patched (no change)",
    );
    let json_patch = r#"[{"op":"test","path":"/metadata/labels/a","value":"1"},{"op":"remove","path":"/metadata/labels/b"}]"#;
    prints(&server, &["patch", "mxj/patched", "--type=json", "-p", json_patch], patched);
    fails(
        &server,
        &["patch", "mxj/patched", "--type=json", "-p", json_patch],
        &["The request is invalid"],
    );
    assert_eq!(server.get("mxjob", "patched")["metadata"]["labels"], json!({"a": "1"}));
    fails(
        &server,
        &["patch", "mxjob", "patched", "-p", "{}"],
        &["is not supported by kubeflow.org/v1, Kind=MXJob"],
    );

    // A strategic merge patch merges lists of built-in kinds by their keys.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "single"}, "spec": {"containers": [
        {"name": "main", "image": "none", "command": ["/bin/sleep", "600"]},
        {"name": "side", "image": "none", "command": ["/bin/sleep", "600"]},
    ]}});
    server.create(&pod);
    let strategic = r#"{"spec":{"containers":[{"name":"side","image":"newer"}]}}"#;
    prints(&server, &["patch", "pod", "single", "-p", strategic], "pod/single patched");
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
fn label_and_annotate_set_overwrite_and_remove() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&suspended("named"));
    prints(
        &server,
        &["label", "mxjob", "named", "team=digits", "tier=small"],
        "mxjob.kubeflow.org/named labeled",
    );
    fails(&server, &["label", "mxjob", "named", "team=letters"], &["--overwrite is false"]);
    server.kubectl(&["label", "mxjob", "named", "team=letters", "--overwrite"]);
    prints(&server, &["label", "mxjob", "named", "tier-"], "mxjob.kubeflow.org/named unlabeled");
    prints(&server, &["label", "mxjob", "named", "--list"], "team=letters");
    prints(&server, &["label", "mxjobs", "--all", "seen=yes"], "mxjob.kubeflow.org/named labeled");
    fails(&server, &["label", "mxjob", "named", "bad=not valid!"], &["a valid label"]);
    prints(
        &server,
        &["annotate", "mxjob", "named", "note=some text"],
        "mxjob.kubeflow.org/named annotated",
    );
    prints(&server, &["annotate", "mxjob", "named", "--list"], "note=some text");
    prints(&server, &["annotate", "mxjob", "named", "note-"], "mxjob.kubeflow.org/named annotated");
    let job = server.get("mxjob", "named");
    assert_eq!(job["metadata"]["labels"], json!({"team": "letters", "seen": "yes"}));
    assert_eq!(job["metadata"].get("annotations"), None);
}
