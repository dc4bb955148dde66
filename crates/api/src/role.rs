//! Roles of replicas and the job modes they belong to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a job, which decides its roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JobMode {
    /// Distributed training: scheduler, servers and workers, or workers alone.
    #[default]
    MXTrain,
    /// TVM auto-tuning: tracker, servers and tuner.
    MXTune,
}

impl JobMode {
    /// Both modes, in the order in which messages list them.
    pub const ALL: [Self; 2] = [Self::MXTrain, Self::MXTune];

    /// The spelling in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MXTrain => "MXTrain",
            Self::MXTune => "MXTune",
        }
    }

    /// The mode with exactly this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// The roles a job of this mode may have, in canonical order.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::MXTrain => &[Role::Scheduler, Role::Server, Role::Worker],
            Self::MXTune => &[Role::TunerTracker, Role::TunerServer, Role::Tuner],
        }
    }
}

impl fmt::Display for JobMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The role of a replica. The variants are in canonical order: roles that others connect to come
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Rendezvous of a training job.
    Scheduler,
    /// Parameter server.
    Server,
    /// Trains.
    Worker,
    /// Rendezvous of a tuning job.
    TunerTracker,
    /// Runs measurements on a device.
    TunerServer,
    /// Searches.
    Tuner,
}

impl Role {
    /// Every role, in canonical order.
    pub const ALL: [Self; 6] = [
        Self::Scheduler,
        Self::Server,
        Self::Worker,
        Self::TunerTracker,
        Self::TunerServer,
        Self::Tuner,
    ];

    /// The canonical spelling, as used in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "Scheduler",
            Self::Server => "Server",
            Self::Worker => "Worker",
            Self::TunerTracker => "TunerTracker",
            Self::TunerServer => "TunerServer",
            Self::Tuner => "Tuner",
        }
    }

    /// The spelling in names, labels and the environment.
    pub fn lower(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Server => "server",
            Self::Worker => "worker",
            Self::TunerTracker => "tunertracker",
            Self::TunerServer => "tunerserver",
            Self::Tuner => "tuner",
        }
    }

    /// The role with this name in any letter case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text))
    }

    /// The mode this role belongs to.
    pub fn mode(self) -> JobMode {
        match self {
            Self::Scheduler | Self::Server | Self::Worker => JobMode::MXTrain,
            Self::TunerTracker | Self::TunerServer | Self::Tuner => JobMode::MXTune,
        }
    }

    /// Whether a job can use at most one replica of it, since only index 0 is ever addressed.
    pub fn is_single(self) -> bool {
        matches!(self, Self::Scheduler | Self::TunerTracker | Self::Tuner)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_case_insensitive() {
        for role in Role::ALL {
            for text in
                [role.as_str().to_owned(), role.lower().to_owned(), role.as_str().to_uppercase()]
            {
                assert_eq!(Role::parse(&text), Some(role), "{text}");
            }
        }
        assert_eq!(Role::parse("Master"), None);
        assert_eq!(Role::parse(""), None);
    }

    #[test]
    fn each_role_belongs_to_exactly_the_mode_that_lists_it() {
        for mode in JobMode::ALL {
            assert_eq!(JobMode::parse(mode.as_str()), Some(mode));
            assert!(mode.roles().iter().all(|role| role.mode() == mode));
        }
        assert_eq!(JobMode::parse("mxtrain"), None);
    }
}
