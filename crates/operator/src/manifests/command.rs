//! The command that prints parts of an installation again, with the same flags.
//!
//! A command without the flags would do harm: without `--namespace` the webhook configuration would
//! call the Service of another namespace, and the rights would go to another ServiceAccount.

use mxjob_controller::{Gang, PodGroups};

use super::{NAMESPACE, Part, Settings};

impl Settings {
    /// The settings that a running operator knows: those that affect rights and the webhook.
    #[must_use]
    pub fn of_operator(
        own_namespace: &str,
        watch_namespace: Option<&str>,
        gang: &Gang,
        webhook: bool,
    ) -> Self {
        let gang_scheduler = match gang {
            Gang::Off | Gang::Native => "none",
            Gang::PodGroups(PodGroups::Volcano) => "volcano",
            Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler }) => scheduler,
        };
        Self {
            namespace: own_namespace.to_owned(),
            watch_namespace: watch_namespace.map(str::to_owned),
            gang_scheduler: gang_scheduler.to_owned(),
            webhook,
            ..Self::default()
        }
    }

    /// The value of the operator's `--gang-scheduler`.
    pub(super) fn gang(&self) -> Gang {
        match self.gang_scheduler.as_str() {
            "none" => Gang::Off,
            "volcano" => Gang::PodGroups(PodGroups::Volcano),
            name => Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler: name.to_owned() }),
        }
    }

    /// `mxjob manifests --only PART` with the flags to print the same objects. Not for
    /// [`Part::Operator`]: an operator does not know its image and similar settings.
    #[must_use]
    pub fn command(&self, part: Part) -> String {
        let mut command = format!("mxjob manifests --only {}", part.word());
        if self.namespace != NAMESPACE {
            command += &format!(" --namespace {}", self.namespace);
        }
        if let Some(namespace) = &self.watch_namespace {
            command += &format!(" --watch-namespace {namespace}");
        }
        if self.gang_scheduler != "none" {
            command += &format!(" --gang-scheduler {}", self.gang_scheduler);
        }
        if !self.webhook {
            command += " --webhook=false";
        }
        command
    }
}
