//! What stands around the jobs of a cluster: the definition of MXJobs, operators that still run, and webhooks that they left.

use mxjob_api::{crd, mxjob};
use serde_json::Value;

use crate::cluster::Cluster;

/// Words in names and images of the operators that looked after MXJobs.
const OPERATORS: [&str; 2] = ["training-operator", "mxnet-operator"];
/// The name of our own operator.
const OURS: &str = "mxjob-operator";
/// Kinds that a training-operator may go on with.
const OTHER_KINDS: [&str; 5] = ["tfjob", "pytorchjob", "xgboostjob", "paddlejob", "mpijob"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// What to think of the cluster's definition; none if it could not be read.
    pub(super) definition: Option<crd::Verdict>,
    /// Deployments that look after MXJobs.
    pub(super) operators: Vec<Operator>,
    /// Where our own operator runs already.
    pub(super) ours: Option<String>,
    /// Webhooks that ask such an operator.
    pub(super) webhooks: Vec<Webhook>,
    /// What could not be looked at, and why.
    pub(super) unseen: Vec<String>,
    /// What of that must be known before jobs are adopted, in clauses.
    pub(super) unknown: Vec<String>,
}

/// A Deployment of an older operator.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) image: String,
    /// Whether it can be told to leave MXJobs alone.
    pub(super) has_schemes: bool,
}

/// An entry of a webhook configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Webhook {
    /// The configuration, as kubectl names it.
    pub(super) configuration: String,
    pub(super) name: String,
    pub(super) index: usize,
}

// === impl Surroundings ===

impl Surroundings {
    /// Looks at everything that we may look at.
    pub(super) async fn read(cluster: &Cluster) -> Self {
        let mut found = Self::default();
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}.{}",
            mxjob::PLURAL,
            mxjob::GROUP
        );
        match cluster.get(&path).await {
            Ok(definition) => found.definition = Some(crd::judge(&definition)),
            // Served without one, as `mxjob up` does.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                found.unseen("the definition of MXJobs", cluster, &error);
                let what = "whether the cluster's definition of MXJobs is that of mxjob";
                found.unknown(what, "get customresourcedefinitions.apiextensions.k8s.io", &error);
            }
        }
        match cluster.list("/apis/apps/v1/deployments").await {
            Ok(deployments) => {
                found.operators = deployments.iter().filter_map(Operator::of).collect();
                found.ours = deployments.iter().find_map(ours);
            }
            Err(error) => {
                found.unseen("whether an older operator still runs", cluster, &error);
                found.unknown(
                    "whether an operator runs",
                    "list deployments.apps in all namespaces",
                    &error,
                );
            }
        }
        for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}s");
            match cluster.list(&path).await {
                Ok(all) => found.webhooks.extend(all.iter().flat_map(|one| Webhook::of(kind, one))),
                Err(error) => found.unseen(&format!("the {kind}s"), cluster, &error),
            }
        }
        found
    }

    fn unseen(&mut self, what: &str, cluster: &Cluster, error: &kube::Error) {
        let why = match error {
            kube::Error::Api(status) => status.message.clone(),
            error => cluster.said(error).message,
        };
        self.unseen.push(format!("Could not look at {what}: {why}."));
    }

    fn unknown(&mut self, what: &str, right: &str, error: &kube::Error) {
        let why = match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                format!("that takes the right to {right}")
            }
            _ => "the cluster did not say".to_owned(),
        };
        self.unknown.push(format!("it is not known {what} ({why})"));
    }

    /// Sentences that need a decision, and sentences that are good to know. `are_adopted` says that no pod waits for its labels.
    pub(super) fn sentences(&self, are_adopted: bool) -> (Vec<String>, Vec<String>) {
        let (mut grave, mut known) = (Vec::new(), Vec::new());
        if let Some(verdict) = &self.definition {
            let list = if verdict.is_usable() { &mut known } else { &mut grave };
            list.push(verdict.to_string());
        }
        grave.extend(self.operators.iter().map(Operator::sentence));
        grave.extend(self.webhooks.iter().map(Webhook::sentence));
        grave.extend(self.ours.iter().filter(|_| !are_adopted).map(|namespace| {
            format!(
                "Deployment {OURS} in namespace {namespace} runs already, and to it pods without its labels are missing: stop it until the jobs are adopted, with: kubectl -n {namespace} scale deployment {OURS} --replicas 0"
            )
        }));
        known.extend(self.unseen.iter().cloned());
        (grave, known)
    }

    /// What must not be while jobs are adopted, and what must be known for that. Once no pod waits for its labels our own operator is in
    /// nobody's way.
    pub(super) fn obstacles(&self, are_adopted: bool) -> Vec<String> {
        let running = self.operators.iter().map(|operator| {
            format!("Deployment {} in namespace {} still runs", operator.name, operator.namespace)
        });
        let definition = self.definition.as_ref().filter(|verdict| !verdict.is_usable());
        let definition = definition
            .map(|_| "the cluster's definition of MXJobs would drop what is written".to_owned());
        let ours = self.ours.iter().filter(|_| !are_adopted).map(|namespace| {
            format!(
                "Deployment {OURS} in namespace {namespace} runs already and may be restarting jobs whose pods it does not know (kubectl -n {namespace} scale deployment {OURS} --replicas 0)"
            )
        });
        running.chain(ours).chain(definition).chain(self.unknown.iter().cloned()).collect()
    }
}

fn is_stopped(deployment: &Value) -> bool {
    deployment["spec"]["replicas"].as_i64() == Some(0)
}

/// The namespace of our own operator, if this is it and it runs.
fn ours(deployment: &Value) -> Option<String> {
    let meta = &deployment["metadata"];
    (meta["name"] == OURS && !is_stopped(deployment))
        .then(|| meta["namespace"].as_str().unwrap_or_default().to_owned())
}

// === impl Operator ===

impl Operator {
    /// Whether a Deployment runs an operator that looks after MXJobs.
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
        if has_schemes && (is_after_removal(&image(container)) || !is_for_jobs(container)) {
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
            "Deployment {name} in namespace {namespace} ({image}) looks after MXJobs: two operators must never do so at once. Stop it with: {stop}"
        );
        if *has_schemes {
            let flags = OTHER_KINDS.map(|kind| format!("--enable-scheme={kind}")).join(" ");
            text = format!("{text}; or keep it for other kinds with the arguments: {flags}");
        }
        text
    }
}

/// Whether a training-operator is of a release without MXJobs (1.9 and later), as far as its tag tells.
fn is_after_removal(image: &str) -> bool {
    let Some((_, tag)) = image.rsplit_once(':') else { return false };
    let mut numbers = tag.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (1, 9) && tag.contains('.'))
}

/// Whether a training-operator's arguments leave MXJobs to it: all kinds where none is named.
fn is_for_jobs(container: &Value) -> bool {
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
    /// The entries of a configuration that are about MXJobs and are not ours.
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
                && is_about_jobs(webhook)
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
            "Webhook {name} of {configuration} asks an older operator about every MXJob; once that is stopped, no MXJob can be created or changed. Remove it with: kubectl patch {configuration} --type json -p '[{{\"op\":\"test\",\"path\":\"/webhooks/{index}/name\",\"value\":\"{name}\"}},{{\"op\":\"remove\",\"path\":\"/webhooks/{index}\"}}]'"
        )
    }
}

fn is_about_jobs(webhook: &Value) -> bool {
    let has = |rule: &Value, field: &str, wanted: &str| {
        let values = rule[field].as_array().map_or(&[][..], Vec::as_slice);
        values.iter().any(|value| value == wanted)
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
    fn operators_that_look_after_jobs_are_found() {
        let check = |name: &str, image: &str, args: &[&str], replicas, want: bool| {
            let found = Operator::of(&deployment(name, image, args, replicas));
            assert_eq!(found.is_some(), want, "{name} {image} {args:?} {replicas:?}");
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
    fn how_to_keep_an_operator_for_other_kinds_is_said() {
        let of = |image: &str| Operator::of(&deployment("o", image, &[], None)).unwrap().sentence();
        let said = of("kubeflow/training-operator:v1-855e096");
        assert!(said.contains("kubectl -n kubeflow scale deployment o --replicas 0"), "{said}");
        assert!(said.contains("--enable-scheme=tfjob --enable-scheme=pytorchjob"), "{said}");
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
