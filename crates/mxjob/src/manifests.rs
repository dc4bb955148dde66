//! `mxjob manifests`: what installs the operator on a cluster, on stdout.

use clap::{Args, ValueEnum};
use mxjob_machinery::names;
use mxjob_operator::manifests::{self, NAMESPACE, Part, Settings, VERSION};

use crate::cli::Format;
use crate::exit::Failure;
use crate::output;

/// `mxjob manifests`
#[derive(Debug, Args)]
pub(crate) struct ManifestsArgs {
    /// Print this part alone; may be repeated
    #[arg(long, value_name = "PART")]
    only: Vec<PartName>,
    /// The namespace that the operator runs in
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = namespace)]
    namespace: String,
    /// The image of the operator, in a registry that the cluster can reach
    #[arg(long, value_name = "IMAGE", default_value_t = format!("mxjob:{VERSION}"))]
    image: String,
    /// How many operators there are; one leads, and all of them answer the webhook
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    replicas: u32,
    /// Who starts a job's pods together or not at all: none, volcano, or the name of a scheduler with the coscheduling
    /// plugin
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = subdomain)]
    gang_scheduler: String,
    /// Look after the jobs of this namespace alone, with rights in it and nowhere else [default: all namespaces]
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    watch_namespace: Option<String>,
    /// Whether the operator checks new jobs and changes of a spec [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    webhook: bool,
    /// A Secret with the credentials for the image's registry; may be repeated
    #[arg(long, value_name = "NAME", value_parser = subdomain)]
    image_pull_secret: Vec<String>,
    /// A label of the nodes that the operator may run on; may be repeated [default: kubernetes.io/os=linux]
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    node_selector: Vec<(String, String)>,
    /// One more argument of `mxjob operator`, such as --arg=--log-level=debug; may be repeated
    #[arg(long = "arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    extra_args: Vec<String>,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

/// The parts, as they are called on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PartName {
    /// The operator's namespace
    Namespace,
    /// The definition of the MXJob
    Crd,
    /// The operator's service account and its rights
    Rbac,
    /// Roles for people: kubeflow-mxjobs-admin, -edit and -view
    Roles,
    /// The Deployment and what goes with it
    Operator,
    /// The Service and the configuration of the webhook
    Webhook,
}

/// What a whole installation without the webhook does not take away.
const LEFT_BEHIND: &str = "if the webhook was installed before, run `kubectl delete validatingwebhookconfiguration mxjob` first: \
                           without an operator that answers it, no job can be made";

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
        output::note(LEFT_BEHIND);
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

fn namespace(text: &str) -> Result<String, String> {
    checked(text, names::dns1123_label(text).first())
}

fn subdomain(text: &str) -> Result<String, String> {
    checked(text, names::dns1123_subdomain(text).first())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is no KEY=VALUE")?;
    checked(key, names::qualified_name(key).first())?;
    checked(value, names::label_value(value).first())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn checked(text: &str, fault: Option<&impl ToString>) -> Result<String, String> {
    fault.map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

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
    fn the_command_that_is_advised_prints_what_was_installed() {
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
                            let advised = manifests::parts(&args.settings(), &[part]);
                            assert_eq!(advised, manifests::parts(&settings, &[part]));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn flags_for_the_pods_are_what_they_say() {
        let settings = read(
            "mxjob manifests --image-pull-secret a --image-pull-secret b.c --node-selector kubernetes.io/arch=arm64 --arg --log-level=debug --arg=--workers=3",
        )
        .settings();
        assert_eq!(settings.image_pull_secrets, ["a", "b.c"]);
        assert_eq!(settings.extra_args, ["--log-level=debug", "--workers=3"]);
        let nodes: Vec<String> =
            settings.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(nodes, ["kubernetes.io/arch=\"arm64\"", "kubernetes.io/os=\"linux\""]);
        for wrong in ["arch", "=a", "a/b/c=d", "a=b c"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_part_has_the_same_name_here_and_there() {
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
