//! `mxjob manifests`: prints the manifests that install the operator on a cluster.

use clap::{Args, ValueEnum};
use mxjob_operator::manifests::{self, NAMESPACE, Part, Settings, VERSION};

use crate::exit::Failure;
use crate::output;
use crate::values::{Format, dns_label, dns_subdomain, label};

/// `mxjob manifests`
#[derive(Debug, Args)]
pub(crate) struct ManifestsArgs {
    /// Print only this part; may be repeated
    #[arg(long, value_name = "PART")]
    only: Vec<PartName>,
    /// Namespace of the operator
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = dns_label)]
    namespace: String,
    /// Image of the operator, in a registry that the cluster can reach
    #[arg(long, value_name = "IMAGE", default_value_t = format!("mxjob:{VERSION}"))]
    image: String,
    /// Number of operator pods; one is the leader, all of them serve the webhook
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    replicas: u32,
    /// Gang scheduler: none, volcano, or the name of a scheduler with the coscheduling plugin
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = dns_subdomain)]
    gang_scheduler: String,
    /// Manage the jobs of this namespace only, with rights in this namespace only [default: all
    /// namespaces]
    #[arg(long, value_name = "NAME", value_parser = dns_label)]
    watch_namespace: Option<String>,
    /// Validate new jobs and changed specs in an admission webhook [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    webhook: bool,
    /// Secret with credentials for the image's registry; may be repeated
    #[arg(long, value_name = "NAME", value_parser = dns_subdomain)]
    image_pull_secret: Vec<String>,
    /// Label of the nodes that the operator may run on; may be repeated [default:
    /// kubernetes.io/os=linux]
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    node_selector: Vec<(String, String)>,
    /// Additional argument of `mxjob operator`, for example --arg=--log-level=debug; may be
    /// repeated
    #[arg(long = "arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    extra_args: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

/// The names of the parts on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PartName {
    /// The operator's namespace
    Namespace,
    /// The CRD of the MXJob
    Crd,
    /// The operator's service account and its RBAC rules
    Rbac,
    /// Roles for users: kubeflow-mxjobs-admin, -edit and -view
    Roles,
    /// The Deployment, its PodDisruptionBudget and the Service for metrics
    Operator,
    /// The webhook's Service and configuration
    Webhook,
}

/// A note for installations without the webhook: an earlier webhook configuration is not removed.
const OLD_WEBHOOK: &str = "if the webhook was installed before, run `kubectl delete validatingwebhookconfiguration mxjob` first: \
                           without an operator that serves it, no job can be created";

/// Prints the manifests.
pub(crate) fn run(args: ManifestsArgs) -> Result<(), Failure> {
    let chosen: Vec<Part> = args.only.iter().map(|name| name.part()).collect();
    let output = args.output;
    let settings = args.settings();
    let parts = if chosen.is_empty() { settings.parts() } else { chosen };
    if !settings.webhook && parts == [Part::Webhook] {
        return Err(Failure::input("--only webhook and --webhook=false leave nothing to print"));
    }
    if !settings.webhook && parts.contains(&Part::Operator) {
        output::note(OLD_WEBHOOK);
    }
    match output {
        Format::Yaml => output::data(manifests::yaml(&settings, &parts).trim_end()),
        Format::Json => output::data(format_args!("{:#}", manifests::json(&settings, &parts))),
    }
    Ok(())
}

impl ManifestsArgs {
    fn settings(self) -> Settings {
        let mut settings = Settings {
            namespace: self.namespace,
            image: self.image,
            replicas: self.replicas,
            gang_scheduler: self.gang_scheduler,
            watch_namespace: self.watch_namespace,
            webhook: self.webhook,
            image_pull_secrets: self.image_pull_secret,
            extra_args: self.extra_args,
            ..Settings::default()
        };
        let nodes = self.node_selector.into_iter().map(|(key, value)| (key, value.into()));
        settings.node_selector.extend(nodes);
        settings
    }
}

impl PartName {
    fn part(self) -> Part {
        match self {
            Self::Namespace => Part::Namespace,
            Self::Crd => Part::Crd,
            Self::Rbac => Part::Rbac,
            Self::Roles => Part::Roles,
            Self::Operator => Part::Operator,
            Self::Webhook => Part::Webhook,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ManifestsArgs,
    }

    fn read(command: &str) -> ManifestsArgs {
        let words = command.strip_prefix("mxjob ").unwrap().split(' ');
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).args
    }

    #[test]
    fn suggested_command_prints_the_installed_part() {
        for namespace in [NAMESPACE, "own"] {
            for watch_namespace in [None, Some("team")] {
                for gang_scheduler in ["none", "volcano", "gangs.example.com"] {
                    for webhook in [true, false] {
                        let settings = Settings {
                            namespace: namespace.to_owned(),
                            watch_namespace: watch_namespace.map(str::to_owned),
                            gang_scheduler: gang_scheduler.to_owned(),
                            webhook,
                            image: "registry.example.com/mxjob:1".to_owned(),
                            replicas: 3,
                            ..Settings::default()
                        };
                        for part in Part::ALL.into_iter().filter(|part| *part != Part::Operator) {
                            let args = read(&settings.command(part));
                            let only: Vec<Part> =
                                args.only.iter().map(|only| only.part()).collect();
                            assert_eq!(only, [part]);
                            let suggested = manifests::parts(&args.settings(), &[part]);
                            assert_eq!(suggested, manifests::parts(&settings, &[part]));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn flags_for_the_pods_reach_the_settings() {
        let settings = read(
            "mxjob manifests --image-pull-secret a --image-pull-secret b.c --node-selector kubernetes.io/arch=arm64 --arg --log-level=debug --arg=--workers=3",
        )
        .settings();
        assert_eq!(settings.image_pull_secrets, ["a", "b.c"]);
        assert_eq!(settings.extra_args, ["--log-level=debug", "--workers=3"]);
        let nodes: Vec<String> =
            settings.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(nodes, ["kubernetes.io/arch=\"arm64\"", "kubernetes.io/os=\"linux\""]);
    }

    #[test]
    fn parts_have_the_same_names_on_the_command_line_and_in_the_crate() {
        let names = PartName::value_variants().iter();
        let named: Vec<(String, &str)> = names
            .map(|name| {
                let value = name.to_possible_value().unwrap();
                (value.get_name().to_owned(), name.part().word())
            })
            .collect();
        assert!(named.iter().all(|(here, there)| here == there), "{named:?}");
        assert_eq!(named.len(), Part::ALL.len());
    }
}
