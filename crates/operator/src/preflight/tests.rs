use super::*;

#[test]
fn a_missing_right_is_named_in_one_sentence_with_the_command_that_grants_it() {
    let need = |group, resource, name: Option<&str>| Need {
        group,
        resource,
        verbs: &[],
        scope: Scope::Jobs,
        name: name.map(str::to_owned),
    };
    let check = |need: Need, place: Option<&str>, verbs: &[&str], want: &str| {
        let want = format!(
            "the operator may not {want}; `mxjob manifests | kubectl apply -f -` grants what it needs"
        );
        assert_eq!(reviews::sentence(&need, place, verbs), want);
    };
    check(need("", "pods", None), Some(""), &["create"], "create pods in all namespaces");
    check(
        need("kubeflow.org", "mxjobs/status", None),
        Some("team"),
        &["get", "list", "patch"],
        "get, list or patch mxjobs.kubeflow.org/status in the namespace team",
    );
    check(
        need("apiextensions.k8s.io", "customresourcedefinitions", Some(CRD)),
        None,
        &["get"],
        "get customresourcedefinitions.apiextensions.k8s.io \"mxjobs.kubeflow.org\"",
    );
}
