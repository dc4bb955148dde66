//! The cluster around the jobs: its CRD of MXJobs, operators that still run, and webhooks that
//! older operators left.

use mxjob_api::{crd, mxjob};
use serde_json::Value;

use crate::cluster::{self, Cluster, RequestError};
use crate::finding::Finding;

/// Parts of the names and images of operators that managed MXJobs.
const OPERATORS: [&str; 2] = ["training-operator", "mxnet-operator"];
/// The Deployment of mxjob's own operator.
const OWN_OPERATOR: &str = "mxjob-operator";
/// Kinds that a training-operator may continue to manage.
const OTHER_KINDS: [&str; 5] = ["tfjob", "pytorchjob", "xgboostjob", "paddlejob", "mpijob"];

/// What is known about the cluster.
#[derive(Debug, Default)]
pub struct ClusterScan {
    /// How the cluster's CRD compares with ours; none if it could not be read or MXJobs are built
    /// in.
    definition: Option<crd::Verdict>,
    /// Running Deployments of older operators that manage MXJobs.
    operators: Vec<OldDeployment>,
    /// The namespace in which mxjob's own operator runs.
    own_operator: Option<String>,
    /// Webhooks that call an older operator.
    webhooks: Vec<Webhook>,
    /// Sentences about resources that could not be read.
    unreadable: Vec<String>,
    /// Clauses about those of them that must be known before jobs are adopted.
    unknown: Vec<String>,
}

/// A Deployment of an older operator.
#[derive(Debug, PartialEq, Eq)]
struct OldDeployment {
    namespace: String,
    name: String,
    image: String,
    /// Whether it has the flag `--enable-scheme`, with which it can leave MXJobs alone.
    has_schemes: bool,
}

/// An entry of a webhook configuration.
#[derive(Debug, PartialEq, Eq)]
struct Webhook {
    /// Resource and name of the configuration, as kubectl takes them.
    configuration: String,
    name: String,
    index: usize,
}

// === impl ClusterScan ===

impl ClusterScan {
    /// Reads the CRD, Deployments and webhook configurations. Resources that cannot be read become
    /// findings.
    pub async fn read(cluster: &impl Cluster) -> Self {
        let mut scan = Self::default();
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}.{}",
            mxjob::PLURAL,
            mxjob::GROUP
        );
        match cluster.get(&path).await {
            Ok(definition) => scan.definition = Some(crd::compare(&definition)),
            // `mxjob up` serves MXJobs without a CRD.
            Err(error) if error.is(404) => {}
            Err(error) => {
                scan.add_unreadable("the CRD of MXJobs", &error);
                let question = "whether the cluster's CRD of MXJobs is that of mxjob";
                let right = "get customresourcedefinitions.apiextensions.k8s.io";
                scan.add_unknown(question, right, &error);
            }
        }
        match cluster::list(cluster, "/apis/apps/v1/deployments").await {
            Ok(deployments) => {
                scan.operators = deployments.iter().filter_map(OldDeployment::of).collect();
                scan.own_operator = deployments.iter().find_map(own_operator_namespace);
            }
            Err(error) => {
                scan.add_unreadable("Deployments, to find older operators", &error);
                let right = "list deployments.apps in all namespaces";
                scan.add_unknown("whether an operator runs", right, &error);
            }
        }
        for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}s");
            match cluster::list(cluster, &path).await {
                Ok(all) => scan.webhooks.extend(all.iter().flat_map(|one| Webhook::of(kind, one))),
                Err(error) => scan.add_unreadable(&format!("{kind}s"), &error),
            }
        }
        scan
    }

    fn add_unreadable(&mut self, resource: &str, error: &RequestError) {
        self.unreadable.push(format!("Cannot read {resource}: {}.", error.message));
    }

    fn add_unknown(&mut self, question: &str, right: &str, error: &RequestError) {
        let reason = match error.code {
            Some(401 | 403) => format!("this requires the right to {right}"),
            _ => "the request failed".to_owned(),
        };
        self.unknown.push(format!("it is not known {question} ({reason})"));
    }

    /// The findings, dangers first. `are_adopted`: no pod lacks labels any more, so our own
    /// operator may run.
    pub(crate) fn findings(&self, are_adopted: bool) -> Vec<Finding> {
        let (mut dangers, mut notes) = (Vec::new(), Vec::new());
        if let Some(verdict) = &self.definition {
            let list = if verdict.is_usable() { &mut notes } else { &mut dangers };
            list.push(verdict.to_string());
        }
        dangers.extend(self.operators.iter().map(OldDeployment::sentence));
        dangers.extend(self.webhooks.iter().map(Webhook::sentence));
        dangers.extend(self.own_operator.iter().filter(|_| !are_adopted).map(|namespace| {
            format!(
                "Deployment {OWN_OPERATOR} in namespace {namespace} is already running, and treats pods without its labels as missing. Stop it until the jobs are adopted: kubectl -n {namespace} scale deployment {OWN_OPERATOR} --replicas 0"
            )
        }));
        notes.extend(self.unreadable.iter().cloned());
        dangers
            .into_iter()
            .map(Finding::danger)
            .chain(notes.into_iter().map(Finding::note))
            .collect()
    }

    /// Reasons not to adopt jobs now, as clauses. `are_adopted` as in [`findings`](Self::findings).
    pub(crate) fn obstacles(&self, are_adopted: bool) -> Vec<String> {
        let running = self.operators.iter().map(|operator| {
            format!("Deployment {} in namespace {} still runs", operator.name, operator.namespace)
        });
        let definition = self.definition.as_ref().filter(|verdict| !verdict.is_usable());
        let definition =
            definition.map(|_| "the cluster's CRD of MXJobs would drop fields".to_owned());
        let own = self.own_operator.iter().filter(|_| !are_adopted).map(|namespace| {
            format!(
                "Deployment {OWN_OPERATOR} in namespace {namespace} is already running and may be restarting jobs whose pods it does not know (stop it: kubectl -n {namespace} scale deployment {OWN_OPERATOR} --replicas 0)"
            )
        });
        running.chain(own).chain(definition).chain(self.unknown.iter().cloned()).collect()
    }
}

fn is_stopped(deployment: &Value) -> bool {
    deployment["spec"]["replicas"].as_i64() == Some(0)
}

/// The namespace of a Deployment that is mxjob's own operator and runs.
fn own_operator_namespace(deployment: &Value) -> Option<String> {
    let meta = &deployment["metadata"];
    (meta["name"] == OWN_OPERATOR && !is_stopped(deployment))
        .then(|| meta["namespace"].as_str().unwrap_or_default().to_owned())
}

// === impl OldDeployment ===

impl OldDeployment {
    /// A running Deployment of an older operator that manages MXJobs.
    fn of(deployment: &Value) -> Option<Self> {
        let meta = &deployment["metadata"];
        let text = |field: &str| meta[field].as_str().unwrap_or_default().to_owned();
        if is_stopped(deployment) {
            return None;
        }
        let containers = deployment["spec"]["template"]["spec"]["containers"].as_array()?;
        let is_one = |text: &str| OPERATORS.iter().any(|word| text.contains(word));
        let image = |container: &Value| container["image"].as_str().unwrap_or_default().to_owned();
        let by_image = containers.iter().find(|container| is_one(&image(container)));
        let container =
            by_image.or_else(|| containers.first().filter(|_| is_one(&text("name"))))?;
        let has_schemes = !(image(container).contains("mxnet-operator")
            || text("name").contains("mxnet-operator"));
        if has_schemes && (is_after_removal(&image(container)) || !manages_mxjobs(container)) {
            return None;
        }
        Some(Self {
            namespace: text("namespace"),
            name: text("name"),
            image: image(container),
            has_schemes,
        })
    }

    fn sentence(&self) -> String {
        let Self { namespace, name, image, has_schemes } = self;
        let stop = format!("kubectl -n {namespace} scale deployment {name} --replicas 0");
        let mut text = format!(
            "Deployment {name} in namespace {namespace} ({image}) manages MXJobs; two operators must never manage them at the same time. Stop it: {stop}"
        );
        if *has_schemes {
            let flags = OTHER_KINDS.map(|kind| format!("--enable-scheme={kind}")).join(" ");
            text = format!("{text}; or keep it for other kinds only, with the arguments: {flags}");
        }
        text
    }
}

/// Whether a training-operator's tag is of a release without MXJobs (1.9 and later).
fn is_after_removal(image: &str) -> bool {
    let Some((_, tag)) = image.rsplit_once(':') else { return false };
    let mut numbers = tag.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (1, 9) && tag.contains('.'))
}

/// Whether a training-operator's arguments include MXJobs. Without `--enable-scheme` it manages all
/// kinds.
fn manages_mxjobs(container: &Value) -> bool {
    let words: Vec<&str> = ["command", "args"]
        .into_iter()
        .filter_map(|field| container[field].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut kinds = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let flag = word.trim_start_matches('-');
        match flag.split_once('=') {
            Some(("enable-scheme", kind)) => kinds.push(kind),
            None if flag == "enable-scheme" && word.starts_with('-') => {
                kinds.extend(words.get(index + 1).copied());
            }
            _ => {}
        }
    }
    kinds.is_empty() || kinds.iter().any(|kind| kind.eq_ignore_ascii_case(mxjob::KIND))
}

// === impl Webhook ===

impl Webhook {
    /// The entries of a configuration that call an older operator for MXJobs.
    fn of(kind: &str, configuration: &Value) -> Vec<Self> {
        let configuration_name = configuration["metadata"]["name"].as_str().unwrap_or_default();
        let webhooks = configuration["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
        let service = |webhook: &Value| {
            let service = &webhook["clientConfig"]["service"]["name"];
            service.as_str().unwrap_or_default().to_owned()
        };
        let is_one = |webhook: &&Value| {
            OPERATORS
                .iter()
                .any(|word| service(webhook).contains(word) || configuration_name.contains(word))
                && matches_mxjobs(webhook)
        };
        let entries = webhooks.iter().enumerate().filter(|(_, webhook)| is_one(webhook));
        entries
            .map(|(index, webhook)| Self {
                configuration: format!("{kind} {configuration_name}"),
                name: webhook["name"].as_str().unwrap_or_default().to_owned(),
                index,
            })
            .collect()
    }

    fn sentence(&self) -> String {
        let Self { configuration, name, index } = self;
        format!(
            "Webhook {name} of {configuration} calls an older operator for every MXJob; once that operator is stopped, no MXJob can be created or changed. Remove it: kubectl patch {configuration} --type json -p '[{{\"op\":\"test\",\"path\":\"/webhooks/{index}/name\",\"value\":\"{name}\"}},{{\"op\":\"remove\",\"path\":\"/webhooks/{index}\"}}]'"
        )
    }
}

fn matches_mxjobs(webhook: &Value) -> bool {
    let has = |rule: &Value, field: &str, name: &str| {
        let values = rule[field].as_array().map_or(&[][..], Vec::as_slice);
        values.iter().any(|value| value == name)
    };
    let rules = webhook["rules"].as_array().map_or(&[][..], Vec::as_slice);
    rules
        .iter()
        .any(|rule| has(rule, "apiGroups", mxjob::GROUP) && has(rule, "resources", mxjob::PLURAL))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(name: &str, image: &str, args: &[&str], replicas: Option<i32>) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "kubeflow"},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "c", "image": image, "command": ["/manager"], "args": args},
            ]}}},
        })
    }

    #[test]
    fn running_operators_that_manage_mxjobs_are_found() {
        let check = |name: &str, image: &str, args: &[&str], replicas, expected: bool| {
            let found = OldDeployment::of(&deployment(name, image, args, replicas));
            assert_eq!(found.is_some(), expected, "{name} {image} {args:?} {replicas:?}");
        };
        let image = "kubeflow/training-operator:v1-855e096";
        check("training-operator", image, &[], None, true);
        check("x", "registry.example/kubeflow/training-operator@sha256:1", &[], Some(1), true);
        check("training-operator", "mirror/operator:1", &[], Some(1), true);
        check("mxnet-operator", "kubeflow/mxnet-operator:v1.0.0-20200625", &[], None, true);
        check("training-operator", image, &[], Some(0), false);
        check("training-operator", "kubeflow/training-operator:v1.9.0", &[], None, false);
        check("training-operator", "kubeflow/training-operator:v1.8.1", &[], None, true);
        check(
            "training-operator",
            image,
            &["--enable-scheme=tfjob", "--enable-scheme=mpijob"],
            None,
            false,
        );
        check("training-operator", image, &["-enable-scheme", "TFJob"], None, false);
        check(
            "training-operator",
            image,
            &["--enable-scheme=tfjob", "--enable-scheme=MXJob"],
            None,
            true,
        );
        check("mxjob-operator", "ghcr.io/x/mxjob:1", &[], None, false);
        check("web", "nginx", &[], None, false);
    }

    #[test]
    fn sentence_names_the_flags_that_keep_other_kinds() {
        let of =
            |image: &str| OldDeployment::of(&deployment("o", image, &[], None)).unwrap().sentence();
        let sentence = of("kubeflow/training-operator:v1-855e096");
        assert!(
            sentence.contains("kubectl -n kubeflow scale deployment o --replicas 0"),
            "{sentence}"
        );
        assert!(
            sentence.contains("--enable-scheme=tfjob --enable-scheme=pytorchjob"),
            "{sentence}"
        );
        assert!(!of("kubeflow/mxnet-operator:v1").contains("--enable-scheme"));
    }

    #[test]
    fn webhooks_of_an_older_operator_are_found() {
        let hook = |name: &str, resource: &str, service: &str| {
            json!({
                "name": name, "clientConfig": {"service": {"name": service, "namespace": "kubeflow"}},
                "rules": [{"apiGroups": ["kubeflow.org"], "resources": [resource]}],
            })
        };
        let configuration =
            |name: &str, hooks: Value| json!({"metadata": {"name": name}, "webhooks": hooks});
        let old = configuration(
            "validator.training-operator.kubeflow.org",
            json!([
                hook("tf", "tfjobs", "training-operator"),
                hook("mx", "mxjobs", "training-operator")
            ]),
        );
        let found = Webhook::of("validatingwebhookconfiguration", &old);
        assert_eq!(
            found.iter().map(|hook| (hook.name.as_str(), hook.index)).collect::<Vec<_>>(),
            [("mx", 1)]
        );
        assert!(found[0].sentence().contains(r#"{"op":"remove","path":"/webhooks/1"}"#));
        let ours = configuration(
            "mxjob",
            json!([hook("validate.mxjobs.kubeflow.org", "mxjobs", "mxjob-webhook")]),
        );
        assert_eq!(Webhook::of("validatingwebhookconfiguration", &ours), []);
    }
}
