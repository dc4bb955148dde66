//! How much of a container's output is kept.

use serde::{Deserialize, Serialize};

/// The limits of the log of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLimits {
    /// The size at which a new file is begun. A file can be larger by the records of one read.
    pub max_bytes: u64,
    /// The number of files. The oldest is removed before there are more.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// The kubelet's limits.
    fn default() -> Self {
        Self { max_bytes: 10 * 1024 * 1024, max_files: 5 }
    }
}
