//! `mxjob manifests`, and that the kustomization in the tree is the same.

use std::path::Path;
use std::process::Command;

use mxjob_machinery::yaml;
use serde_json::{Value, json};

use crate::support::{Done, Place, Text as _};

/// `manifests/` of this repository.
fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

fn printed(args: &[&str]) -> Vec<Value> {
    let place = Place::new();
    let done = place.mxjob(&[&["manifests", "-o", "json"], args].concat());
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let list: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(list["kind"], "List");
    sorted(list["items"].as_array().unwrap().clone())
}

fn kustomize(folder: &Path) -> Vec<Value> {
    let done = Done::of(Command::new("kubectl").arg("kustomize").arg(folder).output().unwrap());
    assert!(done.status.success(), "{}", done.stderr);
    let documents = done.stdout.split("\n---\n");
    sorted(documents.map(|document| yaml::decode(document.as_bytes()).unwrap()).collect())
}

fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap()
}

#[test]
fn kustomization_equals_the_output_of_the_command() {
    assert_eq!(kustomize(&folder()), printed(&[]));
}

#[test]
fn overlay_changes_the_namespace_of_everything() {
    let place = Place::new();
    for (path, text) in [
        ("base/install.yaml", std::fs::read_to_string(folder().join("install.yaml")).unwrap()),
        (
            "base/kustomization.yaml",
            std::fs::read_to_string(folder().join("kustomization.yaml")).unwrap(),
        ),
        (
            "own/kustomization.yaml",
            "namespace: elsewhere\nresources: [../base]\nimages: [{ name: mxjob, newName: registry.example.com/mxjob, newTag: two }]\n"
                .to_owned(),
        ),
    ] {
        let path = place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let image = "registry.example.com/mxjob:two";
    let moved = kustomize(&place.path().join("own"));
    let printed = printed(&["--namespace", "elsewhere", "--image", image]);
    assert_eq!(kinds(&moved).len(), kinds(&printed).len() + 1);
    // The overlay cannot remove the namespace object or change the annotation of the webhook.
    let comparable = |objects: Vec<Value>| -> Vec<Value> {
        let objects = objects.into_iter().filter(|object| object["kind"] != "Namespace");
        let without = |mut object: Value| {
            if object["kind"] == "ValidatingWebhookConfiguration" {
                object["metadata"].as_object_mut().unwrap().remove("annotations");
            }
            object
        };
        objects.map(without).collect()
    };
    assert_eq!(comparable(moved), comparable(printed));
}

fn kinds(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["kind"].as_str().unwrap()).collect()
}

#[test]
fn installation_without_webhook_prints_a_note() {
    let place = Place::new();
    let command = "kubectl delete validatingwebhookconfiguration mxjob";
    for (args, has_note) in [
        (&["--webhook=false"][..], true),
        (&["--webhook=false", "--only=operator"], true),
        (&["--webhook=false", "--only=rbac"], false),
        (&[], false),
    ] {
        let done = place.mxjob(&[&["manifests"], args].concat());
        assert_eq!(done.code(), Some(0));
        assert_eq!(done.stderr.contains(command), has_note, "{args:?}: {}", done.stderr);
        assert!(done.stderr.lines().count() <= 1, "{}", done.stderr);
    }
}

#[test]
fn other_namespace_is_printed_only_on_request() {
    let own = printed(&["--namespace=own"]);
    assert!(!kinds(&own).contains(&"Namespace"));
    assert_eq!(kinds(&printed(&["--namespace=own", "--only=namespace"])), ["Namespace"]);
}

#[test]
fn flags_change_the_manifests() {
    let objects = printed(&[
        "--only=operator",
        "--only=rbac",
        "--watch-namespace=team",
        "--gang-scheduler=volcano",
        "--replicas=3",
    ]);
    let deployment = find(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let expected = ["operator", "--webhook=true", "--gang-scheduler=volcano", "--namespace=team"];
    assert_eq!(*arguments, json!(expected));
    let uses_groups = |object: &&Value| object.to_string().contains("scheduling.volcano.sh");
    let with_groups: Vec<&Value> = objects.iter().filter(uses_groups).collect();
    assert_eq!(with_groups.len(), 1);
    assert_eq!(with_groups[0]["metadata"]["namespace"], "team");
}

#[test]
fn operator_accepts_the_arguments_of_its_deployment() {
    let place = Place::new();
    for flags in [
        &[][..],
        &[
            "--watch-namespace=team",
            "--gang-scheduler=gangs",
            "--webhook=false",
            "--arg=--workers=3",
        ],
    ] {
        let objects = printed(flags);
        let container = &find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let words = container["args"].as_array().unwrap().iter();
        let mut words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
        // The missing kubeconfig makes it exit before it connects.
        words.extend(["--kubeconfig", "/nowhere"]);
        let done = place.mxjob(&words);
        assert_eq!(done.code(), Some(2));
        done.stderr.must_contain("/nowhere");
    }
}

#[test]
fn invalid_flag_is_named() {
    let place = Place::new();
    for (flag, part) in [
        ("--only=all", "--only"),
        ("--replicas=0", "--replicas"),
        ("--namespace=No", "--namespace"),
        ("--watch-namespace=a.b", "--watch-namespace"),
        ("--gang-scheduler=", "--gang-scheduler"),
        ("--image-pull-secret=A", "--image-pull-secret"),
        ("--node-selector=arch", "--node-selector"),
    ] {
        let done = place.mxjob(&["manifests", flag]);
        assert_eq!((done.code(), done.stdout.as_str()), (Some(2), ""), "{flag}");
        done.stderr.must_contain(part);
    }
    let nothing = place.mxjob(&["manifests", "--only=webhook", "--webhook=false"]);
    assert_eq!(nothing.code(), Some(2), "{}", nothing.stderr);
}
