//! The enumerated policies of a job, with their defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to a replica whose container ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Started again, whatever the exit code.
    Always,
    /// Started again after a failure.
    OnFailure,
    /// A failure fails the job.
    #[default]
    Never,
    /// Exit codes from 128 on, and losses without a code, are started again; 1 to 127 fail the job.
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

/// Which pods go when the job has finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CleanPodPolicy {
    /// All pods of the job.
    All,
    /// Those that have not finished.
    #[default]
    Running,
    /// None.
    None,
}

/// When a training job counts as succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SuccessPolicy {
    /// The scheduler decides where there is one, else all workers.
    #[default]
    #[serde(rename = "")]
    Default,
    /// Every worker must succeed, whatever the scheduler does.
    AllWorkers,
}

/// How far a restart reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RestartScope {
    /// The failed replica alone.
    Replica,
    /// All replicas, after all of them are gone: a ps-lite rendezvous cannot take a lost node back.
    Job,
}
