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
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = scheduler)]
    gang_scheduler: String,
    /// Look after the jobs of this namespace alone, with rights in it and nowhere else [default: all namespaces]
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    watch_namespace: Option<String>,
    /// Whether the operator checks new jobs and changes of a spec [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    webhook: bool,
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

/// Prints the manifests.
pub(crate) fn run(args: ManifestsArgs) -> Result<(), Failure> {
    let parts: Vec<Part> = args.only.iter().map(|name| name.part()).collect();
    let parts = if parts.is_empty() { &Part::ALL[..] } else { &parts[..] };
    if !args.webhook && parts == [Part::Webhook] {
        return Err(Failure::input("--only webhook and --webhook=false leave nothing to print"));
    }
    let settings = Settings {
        namespace: args.namespace,
        image: args.image,
        replicas: args.replicas,
        gang_scheduler: args.gang_scheduler,
        watch_namespace: args.watch_namespace,
        webhook: args.webhook,
        ..Settings::default()
    };
    match args.output {
        Format::Yaml => output::data(manifests::yaml(&settings, parts).trim_end()),
        Format::Json => output::data(format_args!("{:#}", manifests::json(&settings, parts))),
    }
    Ok(())
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

fn scheduler(text: &str) -> Result<String, String> {
    checked(text, names::dns1123_subdomain(text).first())
}

fn checked(text: &str, fault: Option<&impl ToString>) -> Result<String, String> {
    fault.map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
