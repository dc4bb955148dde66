//! The command that prints parts of an installation again, as it was made.
//!
//! Advice that leaves the flags out would do harm: without `--namespace` the webhook's configuration calls another namespace's Service, and
//! the rights are given to another account.

use mxjob_controller::{Gang, PodGroups};

use super::{NAMESPACE, Part, Settings};

impl Settings {
    /// What an operator knows of how it was installed: all that decides about rights and the webhook.
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

    /// What `--gang-scheduler` of the operator makes of the word.
    pub(super) fn gang(&self) -> Gang {
        match self.gang_scheduler.as_str() {
            "none" => Gang::Off,
            "volcano" => Gang::PodGroups(PodGroups::Volcano),
            name => Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler: name.to_owned() }),
        }
    }

    /// `mxjob manifests --only PART` with the flags by which it prints the same objects. Not for [`Part::Operator`], whose image and the like
    /// an operator does not know.
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
