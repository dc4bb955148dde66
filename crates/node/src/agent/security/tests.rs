#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_in_result,
    reason = "the arguments are literals, also the pod"
)]

use serde_json::{Value, json};

use super::*;

fn node(user: u32) -> Node {
    Node { user, groups: vec![user, 44], default: None, has_mounts: true }
}

fn apply(node: &Node, of_pod: Value, own: Value) -> Result<Applied, StartProblem> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "w-0", "namespace": "ns", "uid": "u" },
        "spec": {
            "securityContext": of_pod,
            "containers": [{ "name": "c", "securityContext": own }],
        },
    }))
    .unwrap();
    let users = Users::parse(
        "root:x:0:0::/root:/bin/sh\nmx:x:1000:1001:Name,,:/home/mx:/bin/sh\nbroken\n",
        "wheel:x:10:mx,root\nvideo:x:44:mx\nother:x:45:\n",
    );
    node.apply_with(&pod, &pod.spec.as_ref().unwrap().containers[0], &users)
}

fn identity(node: &Node, of_pod: Value, own: Value) -> (Option<u32>, Option<u32>, Vec<u32>) {
    let applied = apply(node, of_pod, own).unwrap();
    (applied.user, applied.group, applied.security.groups)
}

#[test]
fn users_and_groups_come_from_the_contexts_and_the_user_database() {
    let root = node(0);
    for (of_pod, own, expect) in [
        (json!({}), json!({}), (None, None, vec![])),
        (json!({ "runAsUser": 5 }), json!({}), (Some(5), Some(0), vec![])),
        (
            json!({ "runAsUser": 5 }),
            json!({ "runAsUser": 1000 }),
            (Some(1000), Some(1001), vec![10, 44]),
        ),
        (
            json!({ "runAsUser": 1000, "runAsGroup": 7, "supplementalGroups": [8], "fsGroup": 9 }),
            json!({}),
            (Some(1000), Some(7), vec![8, 9, 10, 44]),
        ),
        (
            json!({ "runAsUser": 1000, "fsGroup": 9, "supplementalGroupsPolicy": "Strict" }),
            json!({}),
            (Some(1000), Some(1001), vec![9]),
        ),
        (json!({ "fsGroup": 9 }), json!({}), (None, None, vec![9])),
    ] {
        assert_eq!(identity(&root, of_pod.clone(), own.clone()), expect, "{of_pod} {own}");
    }
    let default = Some(Identity { user: 33, group: 34 });
    let dropping = Node { default, ..root };
    assert_eq!(identity(&dropping, json!({}), json!({})), (Some(33), Some(34), vec![]));
    let named = identity(&dropping, json!({ "runAsUser": 0 }), json!({}));
    assert_eq!(named, (Some(0), Some(0), vec![10]));
}

#[test]
fn root_is_refused_where_it_is_forbidden() {
    let wait = |node: &Node, of_pod: Value, own: Value| match apply(node, of_pod, own) {
        Err(StartProblem::Retryable(message)) => message,
        other => panic!("{other:?}"),
    };
    let root = node(0);
    assert_eq!(
        wait(&root, json!({ "runAsNonRoot": true }), json!({})),
        "container has runAsNonRoot and image will run as root (pod: \"w-0_ns(u)\", container: c)"
    );
    assert_eq!(
        wait(&root, json!({ "runAsUser": 0 }), json!({ "runAsNonRoot": true })),
        "container's runAsUser breaks non-root policy (pod: \"w-0_ns(u)\", container: c)"
    );
    for (node, of_pod, own) in [
        (&root, json!({ "runAsNonRoot": true }), json!({ "runAsNonRoot": false })),
        (&root, json!({ "runAsNonRoot": true }), json!({ "runAsUser": 5 })),
        (&node(1000), json!({ "runAsNonRoot": true }), json!({})),
    ] {
        assert!(apply(node, of_pod, own).is_ok());
    }
}

#[test]
fn an_ordinary_users_node_has_only_its_own_identity() {
    let node = node(1000);
    for (of_pod, own) in [
        (json!({}), json!({})),
        (json!({ "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 44 }), json!({})),
        (json!({ "supplementalGroups": [44] }), json!({ "capabilities": { "add": ["SYS_NICE"] } })),
    ] {
        let applied = apply(&node, of_pod, own).unwrap();
        assert_eq!(
            (applied.user, applied.group, applied.security),
            (None, None, Security::default())
        );
    }
    for (of_pod, own, expect) in [
        (json!({ "runAsUser": 1001 }), json!({}), "run as user 1001"),
        (json!({ "runAsGroup": 5 }), json!({}), "run as group 5"),
        (json!({ "fsGroup": 5 }), json!({}), "run as group 5"),
        (json!({}), json!({ "privileged": true }), "be privileged"),
    ] {
        match apply(&node, of_pod, own) {
            Err(StartProblem::Permanent(message)) => {
                assert!(
                    message.starts_with(&format!(
                        "container c cannot {expect}, because mxjob runs as user 1000"
                    )),
                    "{message}"
                );
            }
            other => panic!("{expect}: {other:?}"),
        }
    }
}

#[test]
fn rights_are_limited_as_the_contexts_say() {
    let root = node(0);
    let rights = |own: Value| apply(&root, json!({}), own).unwrap().security;
    let plain = rights(json!({}));
    assert_eq!((plain.capabilities, plain.no_new_privileges), (Some(0xa804_25fb), false));
    assert_eq!(rights(json!({ "privileged": true })), Security::default());
    assert!(rights(json!({ "allowPrivilegeEscalation": false })).no_new_privileges);
    assert!(rights(json!({ "readOnlyRootFilesystem": true })).read_only_root);
    let drop = json!({ "capabilities": { "drop": ["ALL"] } });
    let user = apply(&node(1000), json!({}), drop).unwrap().security;
    assert_eq!((user.capabilities, user.no_new_privileges), (None, true));
}

#[test]
fn profiles_that_would_not_be_applied_are_refused() {
    let root = node(0);
    let type_of = |kind: &str| json!({ "type": kind });
    for own in [
        json!({ "seccompProfile": type_of("Unconfined") }),
        json!({ "seccompProfile": type_of("RuntimeDefault"), "privileged": true }),
        json!({ "appArmorProfile": type_of("RuntimeDefault") }),
    ] {
        assert!(apply(&root, json!({}), own.clone()).is_ok(), "{own}");
    }
    for own in [
        json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "x" } }),
        json!({ "appArmorProfile": { "type": "Localhost", "localhostProfile": "x" } }),
        json!({ "capabilities": { "add": ["FLY"] } }),
    ] {
        assert!(
            matches!(apply(&root, json!({}), own.clone()), Err(StartProblem::Permanent(_))),
            "{own}"
        );
    }
    let plain = Node { has_mounts: false, ..root };
    let read_only = json!({ "readOnlyRootFilesystem": true });
    assert!(matches!(apply(&plain, json!({}), read_only), Err(StartProblem::Permanent(_))));
}
