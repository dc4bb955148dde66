//! The enumerated policies of a job, with their defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to do with a replica whose container exited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Restarted, whatever the exit code.
    Always,
    /// Restarted after a failure.
    OnFailure,
    /// A failure fails the job.
    #[default]
    Never,
    /// Exit codes from 128 on, and losses without an exit code, are restarted; 1 to 127 fail the
    /// job.
    ExitCode,
}

impl RestartPolicy {
    /// The spelling in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
            Self::ExitCode => "ExitCode",
        }
    }
}

/// Which pods to delete when the job has finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CleanPodPolicy {
    /// All pods of the job.
    All,
    /// Pods that have not finished.
    #[default]
    Running,
    /// No pods.
    None,
}

/// When a training job counts as succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SuccessPolicy {
    /// The scheduler decides if there is one, else all workers.
    #[default]
    #[serde(rename = "")]
    Default,
    /// Every worker must succeed, regardless of the scheduler.
    AllWorkers,
}

/// Which replicas a restart includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RestartScope {
    /// Only the failed replica.
    Replica,
    /// All replicas, after all of them are gone: a ps-lite rendezvous cannot readmit a lost node.
    Job,
}
